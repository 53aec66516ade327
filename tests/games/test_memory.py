"""memory: when the cue is shown, and how the answer is rewarded."""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from tests.support.learning import play, train

LOOK, ANSWER = -2, -1  # the last two entries of an observation


def episodes(answer, count=400, **config):
    """Play 32 games that end with `answer(cues)`; return observations, reward and log of each."""
    env = pufferenv.make("memory", 32, seed=1, debug=True, **config)
    obs, _ = env.reset()
    random = np.random.default_rng(0)
    histories, played = [[row] for row in obs.copy()], []
    while len(played) < count:
        cues = np.array([history[0][:-2].argmax() for history in histories])
        waits = obs[:, ANSWER] == 0
        actions = np.where(waits, random.integers(0, env.heads[0].n, 32), answer(cues))
        obs, rewards, terminated, truncated, infos = env.step(actions.astype(np.int32))
        assert not truncated.any()
        assert (terminated == ~waits).all()
        assert (rewards[waits] == 0).all()
        for i in range(32):
            if terminated[i]:
                log = {name: infos["final_info"][name][i] for name in ("score", "length")}
                played.append((np.stack(histories[i]), rewards[i], log))
                histories[i] = []
            histories[i].append(obs[i].copy())
    return played


def test_the_cue_is_shown_first_and_the_answer_asked_for_last():
    lengths, cues = set(), set()
    for seen, _, log in episodes(lambda cues: cues, cues=3, shortest=2, delay=5):
        assert log["length"] == len(seen)
        lengths.add(len(seen))
        cues.add(int(seen[0, :3].argmax()))
        np.testing.assert_array_equal(seen[:, LOOK], np.arange(len(seen)) == 0)
        np.testing.assert_array_equal(seen[:, ANSWER], np.arange(len(seen)) == len(seen) - 1)
        assert seen[0, :3].sum() == 1
        assert seen[-1, :3].sum() == 0
        assert set(seen[1:-1, :3].sum(1)) <= {0, 1}
    assert lengths == {4, 5, 6, 7}  # the delay, the cue before it and the answer after it
    assert cues == {0, 1, 2}


def test_the_cue_as_answer_pays_one_and_any_other_minus_one():
    for _, reward, log in episodes(lambda cues: cues):
        assert (reward, log["score"]) == (1, 1)
    for _, reward, log in episodes(lambda cues: (cues + 1) % 4):
        assert (reward, log["score"]) == (-1, 0)


def test_who_remembers_nothing_is_right_once_in_four_times():
    scores = [log["score"] for _, _, log in episodes(lambda cues: 0 * cues + 2, count=4000)]
    assert abs(np.mean(scores) - 0.25) < 0.03


@pytest.mark.parametrize(("distract", "shown"), [(0, 0), (0.5, 0.5), (1, 1)])
def test_distracting_symbols_come_as_often_as_asked_and_say_nothing_of_the_cue(distract, shown):
    played = episodes(lambda cues: cues, count=1000, distract=distract)
    symbols = np.concatenate([seen[1:-1, :-2] for seen, _, _ in played])
    assert abs(symbols.sum(1).mean() - shown) < 0.02
    repeats = np.concatenate([seen[1:-1, :-2] @ seen[0, :-2] for seen, _, _ in played])
    assert abs(repeats.mean() - shown / 4) < 0.02


def test_a_shortest_delay_above_the_longest_is_refused():
    with pytest.raises(ValueError, match="memory refuses this config: shortest must be at most"):
        pufferenv.make("memory", 1, shortest=5, delay=4)


DELAY = 32  # of the training's longest episodes, twice its horizon


@pytest.mark.slow
@pytest.mark.parametrize("network", ["mingru", "lstm"])
def test_a_recurrent_policy_remembers_across_rows(network):
    """All these episodes are longer than a row, so the state is carried from row to row."""
    assert games.defaults("memory")["train"]["horizon"] < DELAY
    fresh, trained = train("memory", 1_500_000, {"policy": {"name": network}})
    assert play(fresh, "memory", 1000, shortest=DELAY, delay=DELAY)["score"].mean < 0.35
    assert play(trained, "memory", 1000, shortest=DELAY, delay=DELAY)["score"].mean > 0.9


@pytest.mark.slow
def test_a_policy_without_memory_stays_at_chance():
    _, trained = train("memory", 1_500_000, {"policy": {"name": "mlp"}})
    assert abs(play(trained, "memory", 1000)["score"].mean - 0.25) < 0.08
