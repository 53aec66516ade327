"""wrap: the transitions of an external env are in the rows, once and in order, in every backend."""

from __future__ import annotations

import functools
import itertools
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pufferlib
from pufferenv.external.game import ExternalGame
from pufferenv.row_env import RowEnv
from tests.support import external_envs
from tests.support.external_envs import (
    LIVE,
    RECORDED,
    TERMINAL,
    TRUNCATED,
    Nested,
    RecordingEnv,
    Village,
    first_seeds,
    record,
)

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")
POISON = -12345.0  # a value that no env returns


def vector_of(mode, count=3):
    return SyncVectorEnv([RecordingEnv] * count, autoreset_mode=mode)


KINDS = {
    "single": (RecordingEnv, 6),
    "immortal": (functools.partial(RecordingEnv, end=0.0), 6),
    "village": (Village, 3),
    "births": (functools.partial(Village, fresh=True), 3),
    **{mode.value: (functools.partial(vector_of, mode), 6) for mode in AutoresetMode},
}


def game_of(kind, backend="serial", **options):
    make, num_envs = KINDS[kind]
    if kind == "births":
        options["agents"] = 4
    return ExternalGame(make, backend=backend, **options), num_envs


def play(env, steps, each=lambda env: None, groups=1, seed=5):
    """Step with random actions, stored as by a sampler; yield the rows of each batch."""
    random = np.random.default_rng(seed)
    arrays = env.arrays
    action = arrays["pool_action"].reshape(-1, arrays["pool_action"].shape[-1])
    bounds = [env.num_envs * g // groups for g in range(groups + 1)]
    arrays["pool_version"].fill(-1)
    finals = {}
    for _ in range(steps):
        for begin, end in itertools.pairwise(bounds):
            some = slice(begin * env.env_agents, end * env.env_agents)
            count = some.stop - some.start
            arrays["action"][some] = random.integers(0, 3, (count, 1))
            arrays["bootstrap_slot"][some] = -1
            live = np.flatnonzero(arrays["alive"][some]) + some.start
            action[arrays["slot"][live]] = arrays["action"][live]
            arrays["pool_version"].reshape(-1)[arrays["slot"][live]] = 0
            env.step(begin, end)
            for k in range(env.engine.num_final):
                finals[int(arrays["final_slot"][k])] = arrays["final_observation"][k].copy()
            env.engine.clear_finals()
            each(env)
        while env.engine.num_full >= env.batch_rows:
            rows = env.engine.batch()
            yield rows, finals
            arrays["pool_version"][rows] = -1
            env.engine.release()


@pytest.mark.parametrize("backend", ["serial", "threads"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_was_lived_is_in_one_slot_once_and_in_order(kind, backend):
    game, num_envs = game_of(kind, backend, num_workers=2)
    RECORDED.clear()
    ends = []
    with RowEnv(game, num_envs, horizon=5, batch_rows=4, seed=3, check=True) as env:
        arrays = env.arrays
        for rows, finals in play(env, 120, groups=2):
            for row in rows:
                for t in range(env.horizon):
                    seen = tuple(arrays["pool_observation"][row, t].tolist())
                    step = RECORDED.pop(seen)
                    assert arrays["pool_action"][row, t, 0] == step.action
                    assert arrays["pool_reward"][row, t] == np.float32(step.reward)
                    assert arrays["pool_done"][row, t] == step.done
                    ends.append(step.done)
                    if step.done == TRUNCATED:
                        final = finals.pop(row * env.horizon + t)
                        assert tuple(final.tolist()) == step.after
                    if t + 1 == env.horizon:
                        continue
                    following = tuple(arrays["pool_observation"][row, t + 1].tolist())
                    if step.done == LIVE and not arrays["pool_segment_start"][row, t + 1]:
                        assert following == step.after
                    else:
                        assert following[3] == 0  # first of a life
        remaining = arrays["pool_observation"][arrays["pool_version"] == 0]
        assert sorted(map(tuple, remaining.tolist())) == sorted(RECORDED)
    assert set(ends) == ({LIVE} if kind == "immortal" else {LIVE, TERMINAL, TRUNCATED})


@pytest.mark.parametrize("kind", ["single", "village", "NextStep"])
def test_logs_are_those_of_whole_episodes(kind):
    game, num_envs = game_of(kind)
    RECORDED.clear()
    with RowEnv(game, num_envs, horizon=50, batch_rows=600, seed=3) as env:
        assert not list(play(env, 40))
        log = env.log()
    episodes: dict[tuple[float, float], list[tuple[float, external_envs.Transition]]] = {}
    for seen, step in RECORDED.items():
        episodes.setdefault((seen[0], seen[2]), []).append((seen[3], step))  # by env and episode
    whole = [  # episodes in which every life that began has ended
        [step for _, step in steps]
        for steps in episodes.values()
        if sum(at == 0 for at, _ in steps) == sum(step.done != LIVE for _, step in steps)
    ]
    scores = [sum(step.reward for step in steps) for steps in whole]
    assert log["episodes"][0] == len(scores) > 5
    assert log["score"][2:] == (min(scores), max(scores))
    assert log["score"][0] == pytest.approx(np.mean(scores))
    if kind != "village":
        assert log["length"][3] == max(map(len, whole))


def test_an_observation_goes_straight_to_its_slot():
    """In the steady state the mailbox is unused: slots are written before the engine steps."""
    with RowEnv(game_of("immortal")[0], 6, horizon=8, seed=1) as env:
        box = env.engine._mailbox.arrays["obs"]
        slots = env.arrays["pool_observation"].reshape(-1, 4)
        for t in range(7):
            box[:] = POISON
            env.engine.send()
            for agent, slot in enumerate(env.arrays["slot"]):
                assert slots[slot + 1].tolist() == [slots[slot][0], 0, 0, t + 1], agent
            env.engine.receive()
            assert (box == POISON).all()
        env.step()  # every row is full, so the mailbox is used
        assert (box[:, 3] == 8).all()


def pool_of(kind, backend, num_workers, groups=1):
    game, num_envs = game_of(kind, backend, num_workers=num_workers)
    RECORDED.clear()
    taken = []
    with RowEnv(game, num_envs, horizon=4, batch_rows=6, seed=9) as env:
        for rows, _ in play(env, 60, groups=groups):
            for name in (
                "pool_observation",
                "pool_action",
                "pool_reward",
                "pool_done",
                "pool_segment_start",
            ):
                taken.append(env.arrays[name][rows].copy())
        taken += [env.arrays["final_observation"].copy(), env.arrays["alive"].copy()]
    return taken


@pytest.mark.parametrize("kind", ["single", "village", "births", "SameStep"])
def test_a_result_does_not_depend_on_who_plays(kind):
    expected = pool_of(kind, "serial", None)
    for backend, workers in (("threads", 2), ("processes", 1), ("processes", 2)):
        for one, other in zip(expected, pool_of(kind, backend, workers), strict=True):
            np.testing.assert_array_equal(one, other)


def test_groups_may_cut_across_workers():
    expected = pool_of("single", "serial", None, groups=3)
    for one, other in zip(expected, pool_of("single", "processes", 2, groups=3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_nest_of_spaces_is_told_and_asked_as_it_is():
    env = pufferlib.wrap(Nested, 3, seed=2)
    assert env.single_observation_space == Nested.observation_space
    assert env.single_action_space == Nested.action_space
    obs, _ = env.reset()
    assert env.observation_space.contains(obs)
    for _ in range(30):
        actions = env.action_space.sample()
        before = {name: value.copy() for name, value in obs.items()}
        obs, rewards, terminated, truncated, infos = env.step(actions)
        for i in range(3):
            key = (*before["who"][i], float(before["life"][i]), float(before["step"][i, 0, 0]))
            step = RECORDED[key]
            assert step.action == actions["choice"][i, 0]
            assert rewards[i] == np.float32(step.reward)
            assert (terminated[i], truncated[i]) == (
                step.done == TERMINAL,
                step.done == TRUNCATED,
            )
            last = infos["final_obs"] if step.done else obs
            assert (*last["who"][i], last["life"][i], last["step"][i, 0, 0]) == step.after
    env.close()


@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_a_vector_env_of_each_autoreset_mode_is_as_gymnasiums(mode):
    ours = pufferlib.wrap(RecordingEnv, 4, seed=7, autoreset_mode=mode)
    seeds = [int(s) for s in first_seeds(7, 4)]
    gym_mode = {m.name.lower(): m for m in AutoresetMode}[mode]
    theirs = SyncVectorEnv([RecordingEnv] * 4, autoreset_mode=gym_mode)
    assert ours.metadata["autoreset_mode"] is gym_mode
    obs, _ = ours.reset()
    RECORDED.clear()
    np.testing.assert_array_equal(obs, theirs.reset(seed=seeds)[0])
    random = np.random.default_rng(0)
    for _ in range(40):
        actions = random.integers(0, 3, 4)
        RECORDED.clear()
        a = ours.step(actions)
        RECORDED.clear()
        b = theirs.step(actions)
        for one, other in zip(a[:4], b[:4], strict=True):
            np.testing.assert_array_equal(one, other)
        done = a[2] | a[3]
        if mode == "same_step" and done.any():
            final = np.stack(list(b[4]["final_obs"][done]))
            np.testing.assert_array_equal(a[4]["final_obs"][done], final)
        if mode == "disabled" and done.any():
            options = {"reset_mask": done}
            one, other = ours.reset(options=options)[0], theirs.reset(options=options)[0]
            np.testing.assert_array_equal(one[done], other[done])


@pytest.mark.parametrize("mode", ["next_step", "disabled"])
def test_a_whole_vector_env_begins_episodes_in_the_same_step_only(mode):
    make = functools.partial(vector_of, AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match="autoreset_mode='same_step' only; for another"):
        pufferlib.wrap(make, 3, autoreset_mode=mode)


def test_threads_play_where_the_envs_were_made():
    homes = {}

    class Home(RecordingEnv):
        def __init__(self):
            super().__init__(end=0.0)
            homes[id(self)] = threading.current_thread()

        def step(self, action):
            assert threading.current_thread() is homes[id(self)]
            return super().step(action)

    env = pufferlib.wrap(Home, 4, backend="threads", num_workers=2)
    env.reset()
    env.step(np.zeros(4, np.int64))
    assert len(set(homes.values())) == 3  # two workers, and the main thread for the inspected env
    env.close()


def test_lived_is_what_the_other_tests_take_it_for():
    env = RecordingEnv(end=0.0)
    env.reset(seed=3)
    env.step(2)
    assert {
        (3.0, 0.0, 0.0, 0.0): external_envs.Transition(2, 221.0, LIVE, (3.0, 0.0, 0.0, 1.0))
    } == RECORDED


def test_a_vector_env_that_is_written_as_one_is_played_like_single_envs():
    """Gymnasium's numpy CartPole takes one seed, and shows new episodes a step later."""
    make = functools.partial(
        gymnasium.make_vec, "CartPole-v1", 3, vectorization_mode="vector_entry_point"
    )
    env, twin = pufferlib.wrap(make, seed=4), make()
    assert (env.num_envs, env.game.name) == (3, "CartPole-v1")
    obs, _ = env.reset()
    np.testing.assert_array_equal(obs, twin.reset(seed=int(first_seeds(4, 1)[0]))[0])
    random, between = np.random.default_rng(0), np.zeros(3, np.bool_)
    for _ in range(60):
        actions = random.integers(0, 2, 3)
        obs, rewards, terminated, truncated, infos = env.step(actions)
        seen, gains, ends, cuts, _ = twin.step(actions)
        np.testing.assert_array_equal(rewards, np.where(between, 0, gains))
        np.testing.assert_array_equal(terminated | truncated, ends | cuts)
        between = ends | cuts
        np.testing.assert_array_equal(env.alive, ~between)  # no agent acts between episodes
        np.testing.assert_array_equal(obs[~between], seen[~between])
        if between.any():
            np.testing.assert_array_equal(infos["final_obs"][between], seen[between])
    assert env.log()["episodes"][0] > 3


class Relay(Village):
    """Has one agent at a time, which dies in its third step, when a new one enters."""

    def reset(self, seed=None, options=None):
        super().reset(seed, options)
        self.agents = self.agents[:1]
        return self._observations(self.agents), {}

    def step(self, actions):
        (name,) = self.agents
        _, self.seen[name] = record(self.seen[name], 0, LIVE)
        dead = self.seen[name][3] == 3
        seen = self._observations([name])
        if dead:
            self.agents = []
            self._enter(f"agent_{int(name[6:]) + 1}")
            seen |= self._observations(self.agents)
        return seen, {name: 0.0}, {name: dead}, {name: False}, {name: {}}


def test_who_follows_one_that_died_in_the_same_step_is_shown_what_it_sees_itself():
    env = pufferlib.wrap(functools.partial(Relay, places=1, fresh=True), 1, agents=1, seed=1)
    obs, _ = env.reset()
    first = int(obs[0, 1])
    for t in range(1, 10):
        obs, _, terminated, _, _ = env.step(np.zeros(1, np.int64))
        assert env.alive[0]
        assert terminated[0] == (t % 3 == 0)
        assert obs[0, [1, 3]].tolist() == [first + t // 3, t % 3]
