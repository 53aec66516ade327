"""Autoreset modes: scripted cases, and squared compared with Gymnasium's SyncVectorEnv."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import (
    ClipReward,
    DictInfoToList,
    NormalizeObservation,
    NormalizeReward,
    RecordEpisodeStatistics,
)

import pufferenv
from pufferenv.game_config import env_seeds
from tests.support.games import load_game

SIZE = 4  # of squared's grid: an episode has 12 steps at most
STAY, DOWN, UP, RIGHT, LEFT = range(5)


class Squared(gymnasium.Env):
    """ocean/squared.h in Python, seeded with the same number as the C env."""

    metadata = {}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (SIZE, SIZE), np.uint8)
    action_space = gymnasium.spaces.Discrete(5)

    def rand(self):  # splitmix64
        mask = (1 << 64) - 1
        self.state = (self.state + 0x9E3779B97F4A7C15) & mask
        z = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return z ^ (z >> 31)

    def grid(self):
        seen = np.zeros(SIZE * SIZE, np.uint8)
        seen[self.target], seen[self.agent] = 2, 1
        return seen.reshape(SIZE, SIZE)

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.state = seed
        cells = SIZE * SIZE
        self.tick, self.agent = 0, SIZE // 2 * SIZE + SIZE // 2
        below = ((self.rand() >> 32) * (cells - 1)) >> 32
        self.target = (self.agent + 1 + below) % cells
        return self.grid(), {}

    def step(self, action):
        move = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)][action]
        row, column = self.agent // SIZE + move[0], self.agent % SIZE + move[1]
        self.tick += 1
        off = not (0 <= row < SIZE and 0 <= column < SIZE)
        if not off:
            self.agent = row * SIZE + column
        found = not off and self.agent == self.target
        late = not off and not found and self.tick >= 3 * SIZE
        score = -1.0 if off else float(found)
        info = {"score": score, "length": float(self.tick)} if off or found or late else {}
        return self.grid(), score, off or found, late, info


def pair(mode, num_envs=8, seed=7):
    """Return our squared and Gymnasium's vector env of the one above, reset with the same seed."""
    ours = pufferenv.make("squared", num_envs, seed=seed, autoreset_mode=mode, size=SIZE)
    theirs = SyncVectorEnv([Squared] * num_envs, autoreset_mode=mode)
    np.testing.assert_array_equal(
        ours.reset()[0], theirs.reset(seed=env_seeds(seed, num_envs).tolist())[0]
    )
    return ours, theirs


def actions_for(rng, num_envs):
    """Return actions that mostly stay, so that episodes end in all three ways."""
    return np.where(rng.random(num_envs) < 0.5, STAY, rng.integers(0, 5, num_envs))


def assert_fields_equal(ours, theirs):
    """Compare log fields with their masks; entries that a mask excludes may be anything."""
    assert set(ours) == set(theirs)
    for key in ("score", "length") if ours else ():
        mask = theirs[f"_{key}"]
        np.testing.assert_array_equal(ours[f"_{key}"], mask)
        np.testing.assert_array_equal(ours[key][mask], theirs[key][mask])


# --- against Gymnasium -----------------------------------------------------------------------
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_every_step_is_as_gymnasiums_own_vector_env_has_it(mode):
    ours, theirs = pair(mode)
    rng = np.random.default_rng(0)
    ends = np.zeros(2, int)
    for _ in range(400):
        actions = actions_for(rng, 8)
        *mine, infos = ours.step(actions)
        *wanted, their_infos = theirs.step(actions)
        for got, want in zip(mine, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
        ends += [wanted[2].sum(), wanted[3].sum()]
        if mode is AutoresetMode.NEXT_STEP:
            assert_fields_equal(infos, their_infos)
            continue
        assert set(infos) == set(their_infos)
        if infos:
            mask = their_infos["_final_obs"]
            np.testing.assert_array_equal(infos["_final_obs"], mask)
            np.testing.assert_array_equal(
                infos["final_obs"][mask], np.stack(their_infos["final_obs"][mask])
            )
            np.testing.assert_array_equal(infos["_final_info"], mask)
            assert_fields_equal(infos["final_info"], their_infos["final_info"])
    assert (ends > 20).all()


def test_disabled_resets_what_the_mask_says_as_gymnasiums_own_vector_env_does():
    ours, theirs = pair(AutoresetMode.DISABLED)
    rng = np.random.default_rng(0)
    for _ in range(400):
        actions = actions_for(rng, 8)
        *mine, infos = ours.step(actions)
        *wanted, their_infos = theirs.step(actions)
        for got, want in zip(mine, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
        assert_fields_equal(infos, their_infos)
        over = mine[2] | mine[3]
        if over.any():
            options = {"reset_mask": over}
            again = ours.reset(options=options)[0]
            assert options["reset_mask"] is over
            np.testing.assert_array_equal(again, theirs.reset(options={"reset_mask": over})[0])


# --- scripted --------------------------------------------------------------------------------
def walk(mode, moves):
    """Play one env of one agent; return life, age, reward, ends and final observation per step."""
    env = pufferenv.make(load_game("script"), 1, autoreset_mode=mode, agents=1)
    seen = [tuple(env.reset()[0][0, 2:])]
    for move in moves:
        observations, rewards, terminations, truncations, infos = env.step([[0, move, 0]])
        shown = (*observations[0, 2:], *rewards, *terminations, *truncations)
        if "final_obs" in infos:
            shown += (tuple(infos["final_obs"][0, 2:]), infos["final_info"]["length"][0])
        seen.append(shown)
    return seen


def test_same_step_shows_the_next_episode_at_once_and_the_last_observation_beside_it():
    assert walk("same_step", [0, 1, 0, 2, 0]) == [
        (1, 0),
        (1, 1, 0, False, False),
        (2, 0, 1, True, False, (1, 2), 2),
        (2, 1, 0, False, False),
        (3, 0, 1, False, True, (2, 2), 2),
        (3, 1, 0, False, False),
    ]


def test_next_step_shows_the_last_observation_and_spends_a_step_on_the_reset():
    assert walk("next_step", [0, 1, 2, 0, 2, 0, 0]) == [
        (1, 0),
        (1, 1, 0, False, False),
        (1, 2, 1, True, False),
        (2, 0, 0, False, False),  # this step's action ended nothing: it only reset
        (2, 1, 0, False, False),
        (2, 2, 1, False, True),
        (3, 0, 0, False, False),
        (3, 1, 0, False, False),
    ]


def test_disabled_waits_until_it_is_reset():
    assert walk("disabled", [0, 1, 0, 2]) == [
        (1, 0),
        (1, 1, 0, False, False),
        (1, 2, 1, True, False),
        (1, 2, 0, False, False),
        (1, 2, 0, False, False),
    ]


def test_a_death_is_terminal_for_the_dead_alone_and_a_cut_keeps_its_final_observation():
    env = pufferenv.make(load_game("script"), 1, agents=3)
    env.reset()
    step = np.zeros((3, 3), np.int32)
    step[:, 0] = [0, 1, 2]  # agent 1 dies, agent 2's life is cut short
    observations, rewards, terminations, truncations, infos = env.step(step)
    assert rewards.tolist() == [0, 1000, 2000]
    assert terminations.tolist() == [False, True, False]
    assert truncations.tolist() == [False, False, True]
    assert env.alive.tolist() == [True, False, False]
    assert observations[1:].any() == np.False_  # the dead see zeros
    assert infos["_final_obs"].tolist() == [False, False, True]
    assert infos["final_obs"][2, 1:].tolist() == [2, 1, 1]
    assert "final_info" not in infos  # the episode goes on
    *_, terminations, truncations, infos = env.step(np.zeros((3, 3), np.int32))
    assert not terminations.any()
    assert not truncations.any()
    assert infos == {}
    step[:, 0], step[0, 1] = [0, 4, 0], 1  # agent 1 enters as the episode ends: a life without step
    _, _, terminations, truncations, infos = env.step(step)
    assert terminations.tolist() == infos["_final_obs"].tolist() == [True, False, False]
    assert env.alive.all()
    assert infos["final_info"]["length"].tolist() == [3, 3, 3]
    assert infos["_final_info"].all()


def test_a_game_that_never_ends_shows_its_log_where_it_records():
    for mode in ("same_step", "next_step"):
        env = pufferenv.make(load_game("endless"), 2, autoreset_mode=mode, period=3)
        env.reset()
        infos = [env.step([1, 0])[4] for _ in range(6)]
        fields = [info.get("final_info", info) for info in infos]
        assert ["score" in field for field in fields] == [False, False, True] * 2
        assert fields[5]["score"].tolist() == [3, 0]
        assert not any("final_obs" in info for info in infos)


def test_action_masks_stand_in_every_info():
    env = pufferenv.make(load_game("masked"), 1, copy=True)
    _, infos = env.reset()
    seen = [infos["action_mask"][0].tolist()]
    for t in range(2):
        infos = env.step([[3, t % 3]] * 2)[4]
        seen.append(infos["action_mask"][0].tolist())
        assert infos["_action_mask"].all()
    assert seen == [
        [True, True, True, True, True, False, False],
        [False, True, True, True, False, True, False],
        [False, False, True, True, False, False, True],
    ]


# --- reset_mask --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (
            [True] * 4,
            TypeError,
            r"options\['reset_mask'\] is list; it must be a numpy array of bool",
        ),
        (np.ones(4, np.int8), TypeError, "is int8; it must be a numpy array of bool"),
        (np.ones(3, np.bool_), ValueError, r"has shape \(3,\); it must have \(4,\)"),
        (np.zeros(4, np.bool_), ValueError, "all False: nothing to reset"),
        (
            np.array([True, True, True, False]),
            ValueError,
            r"some agents of env 1 \(agents 2 to 3\): an env is reset with all its agents",
        ),
    ],
)
def test_a_wrong_reset_mask_is_refused(mask, error, message):
    env = pufferenv.make(load_game("script"), 2, autoreset_mode="disabled", agents=2)
    env.reset()
    with pytest.raises(error, match=message):
        env.reset(options={"reset_mask": mask})


def test_a_reset_mask_needs_the_disabled_mode_and_a_first_whole_reset():
    with pytest.raises(ValueError, match=r"needs autoreset_mode='disabled'.*SameStep"):
        pufferenv.make("squared", 2).reset(options={"reset_mask": np.ones(2, np.bool_)})
    env = pufferenv.make("squared", 2, autoreset_mode="disabled")
    with pytest.raises(ResetNeeded, match="must reset all envs: leave out reset_mask"):
        env.reset(options={"reset_mask": np.array([True, False])})


def test_a_masked_reset_with_a_seed_makes_only_those_envs_afresh():
    env = pufferenv.make(load_game("script"), 3, autoreset_mode="disabled", agents=2, seed=1)
    env.reset()
    stay = np.zeros((6, 3), np.int32)
    env.step(stay)
    before = env.step(stay)[0].copy()
    mask = np.repeat([False, True, False], 2)
    after = env.reset(seed=5, options={"reset_mask": mask})[0]
    np.testing.assert_array_equal(after[~mask], before[~mask])
    assert (after[mask, 0] == int(env_seeds(5, 3)[1]) & 0x7FFFFFFF).all()
    assert (after[mask, 2:] == [1, 0]).all()


# --- Gymnasium's wrappers ------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
def test_record_episode_statistics_counts_what_it_counts_for_gymnasium(mode):
    ours, theirs = (RecordEpisodeStatistics(env) for env in pair(mode))
    rng = np.random.default_rng(0)
    for _ in range(200):
        actions = actions_for(rng, 8)
        mine, wanted = ours.step(actions)[4], theirs.step(actions)[4]
        assert ("episode" in mine) == ("episode" in wanted)
    assert ours.episode_count == theirs.episode_count > 50
    assert list(ours.return_queue) == list(theirs.return_queue)
    assert list(ours.length_queue) == list(theirs.length_queue)


def test_normalize_observation_runs_in_its_mode():
    ours, theirs = (NormalizeObservation(env) for env in pair(AutoresetMode.NEXT_STEP))
    rng = np.random.default_rng(0)
    for _ in range(50):
        actions = actions_for(rng, 8)
        np.testing.assert_array_equal(ours.step(actions)[0], theirs.step(actions)[0])


def test_other_wrappers_run():
    env = pair(AutoresetMode.SAME_STEP)[0]
    env = DictInfoToList(NormalizeReward(ClipReward(env, 0, 1)))
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    lengths = []
    for _ in range(30):
        _, rewards, terminations, truncations, infos = env.step(actions_for(rng, 8))
        assert (rewards >= 0).all()
        for info, over in zip(infos, terminations | truncations, strict=True):
            assert ("final_obs" in info) == over
            lengths += [info["final_info"]["length"]] if over else []
    assert len(lengths) > 8
    assert max(lengths) <= 3 * SIZE


@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_over_says_which_envs_wait_for_their_reset(mode):
    env = pufferenv.make(load_game("script"), 3, autoreset_mode=mode, agents=2)
    waits = mode != "same_step"
    assert env.needs_reset.tolist() == [False] * 3
    env.reset()
    ends = np.zeros((6, 3), np.int32)
    ends[0:4, 0] = 1  # all of envs 0 and 1 die, and only env 1's episode ends with that
    ends[2, 1] = 1
    env.step(ends)
    assert env.needs_reset.tolist() == [False, waits, False]
    env.step(ends * 0)
    assert env.needs_reset.tolist() == [False, mode == "disabled", False]
    if mode == "disabled":
        env.reset(options={"reset_mask": np.repeat(env.needs_reset, env.env_agents)})
    assert not env.needs_reset.any()
