"""snake: eating, growing, dying and respawning, read from the windows that snakes observe."""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from tests.support.learning import play, random_scores, train

EMPTY, FOOD, SOLID, HEAD = 0, 2, -1, -2
STRAIGHT, LEFT, RIGHT = 0, 1, 2
AHEAD = ([4, 5, 5], [5, 4, 6])  # row and column of the next cell, by turn


def next_cells(obs):
    """Return the content (A, 3) of the cell that each turn leads to, in windows (A, 11, 11)."""
    return obs[:, AHEAD[0], AHEAD[1]]


def forage(obs, random):
    """Eat food next to the head, else move to a harmless cell, mostly straight ahead."""
    cells = next_cells(obs)
    taste = (cells == FOOD) * 4 + (cells >= 0) * 2 + random.random(cells.shape)
    taste[:, STRAIGHT] += 0.5
    return taste.argmax(1).astype(np.int32)


@pytest.fixture(scope="module")
def steps():
    """Play 600 steps of a crowded board: (obs, alive, actions, rewards, terminated, alive)."""
    env = pufferenv.make(
        "snake", 4, seed=1, debug=True, snakes=30, size=24, food=40, respawn=3, max_steps=10_000
    )
    obs, _ = env.reset()
    random = np.random.default_rng(0)
    played = []
    for _ in range(600):
        before, alive = obs.copy(), env.alive.copy()
        wild = random.random(120) < 0.1
        actions = np.where(wild, random.integers(0, 3, 120), forage(obs, random)).astype(np.int32)
        obs, rewards, terminated, *_ = env.step(actions)
        played.append((before, alive, actions, rewards.copy(), terminated.copy(), env.alive.copy()))
    return played


def test_food_pays_one_death_costs_one_and_nothing_else_counts(steps):
    ate = died = clashed = 0
    for obs, alive, actions, rewards, terminated, after in steps:
        cell = next_cells(obs)[np.arange(120), actions]
        np.testing.assert_array_equal(alive & ~after, terminated)  # 3 steps until it enters again
        assert (rewards[terminated] == -1).all()
        lived = alive & ~terminated
        assert (rewards[lived] == (cell == FOOD)[lived]).all()
        assert terminated[alive & (cell == HEAD)].all()
        assert (rewards[~alive] == 0).all()
        ate += (rewards == 1).sum()
        died += terminated.sum()
        clashed += (terminated & (cell >= EMPTY)).sum()  # on a free cell: another head came too
    assert ate > 500
    assert died > 100
    assert clashed > 5


def test_bodies_and_walls_kill_unless_the_cell_is_a_tail_that_moves_on(steps):
    met, lived = 0, 0
    for obs, alive, actions, _, terminated, _ in steps:
        solid = alive & (next_cells(obs)[np.arange(120), actions] == SOLID)
        met += solid.sum()
        lived += (solid & ~terminated).sum()
    assert met > 50
    assert lived < met / 4


def test_a_window_turns_with_the_snake():
    """Food stays in place; the window is turned so that up is the snake's direction."""
    env = pufferenv.make("snake", 32, seed=9, debug=True, snakes=1, size=16, food=60)
    obs, _ = env.reset()
    random = np.random.default_rng(4)
    compared = np.zeros(3, int)
    for _ in range(40):
        before, actions = obs.copy(), forage(obs, random)
        obs, _, terminated, *_ = env.step(actions)
        for a in np.flatnonzero(env.alive & ~terminated & before.any((1, 2))):
            if not (before[a] == HEAD).any():
                continue  # it respawned in this step
            turned = np.rot90(before[a], {STRAIGHT: 0, LEFT: -1, RIGHT: 1}[actions[a]])
            food = turned[:-1] == FOOD
            food[4, 5] = False  # the cell that it came to, now in the middle
            assert (obs[a][1:][food] == FOOD).all()
            compared[actions[a]] += food.any()
    assert (compared > 50).all()


def test_a_snake_runs_into_the_wall_after_as_many_steps_as_there_are_cells():
    env = pufferenv.make("snake", 64, seed=2, debug=True, snakes=1, size=8, food=1, respawn=5)
    obs, _ = env.reset()
    free = (np.cumprod(obs[:, 4::-1, 5] >= EMPTY, axis=1)).sum(1)  # cells ahead, 5 at most
    for step in range(6):
        died = env.step(np.zeros(64, np.int32))[2]
        np.testing.assert_array_equal(died[free < 5], (free == step)[free < 5])


@pytest.mark.parametrize("respawn", [0, 1, 4])
def test_a_snake_enters_again_when_its_time_is_over(respawn):
    env = pufferenv.make(
        "snake", 32, seed=3, debug=True, snakes=1, size=16, food=1, respawn=respawn
    )
    env.reset()
    dead_for = np.full(32, -1)
    lives = 0
    for _ in range(300):
        _, rewards, terminated, *_ = env.step(np.zeros(32, np.int32))
        assert (rewards[terminated] == -1).all()
        dead_for[terminated] = 0
        back = (dead_for >= 0) & env.alive
        assert (dead_for[back] == respawn).all()
        lives += back.sum()
        dead_for[back] = -1
        dead_for[dead_for >= 0] += 1
    assert lives > 500


def test_snakes_grow_by_what_they_eat():
    """In one life per game a snake has three cells and one for each food."""
    env = pufferenv.make(
        "snake", 64, seed=4, debug=True, snakes=1, size=32, food=60, respawn=10_000, max_steps=300
    )
    obs, _ = env.reset()
    random = np.random.default_rng(1)
    eaten, lived = np.zeros(64), np.zeros(64)
    for _ in range(299):
        lived += env.alive
        obs, rewards, *_ = env.step(forage(obs, random))
        eaten += rewards == 1
    infos = env.step(forage(obs, random))[-1]
    log = infos["final_info"]
    settled = lived < 299  # a snake that died before the last step
    grown = settled & (lived > 6)
    assert grown.sum() > 10
    assert eaten.max() > 10
    np.testing.assert_array_equal(log["longest"][grown], 3 + eaten[grown])
    np.testing.assert_array_equal(log["food"][settled], eaten[settled])
    np.testing.assert_array_equal(log["score"][settled], eaten[settled])
    np.testing.assert_array_equal(log["deaths"], settled)
    np.testing.assert_array_equal(log["lives"], np.ones(64))


def test_a_dead_snake_leaves_food_behind():
    """A snake of three cells that hits a wall leaves two cells, one of them food."""
    env = pufferenv.make("snake", 256, seed=5, debug=True, snakes=1, size=8, food=1, respawn=0)
    env.reset()
    checked = 0
    eaten, age = np.zeros(256), np.zeros(256)
    first_life = np.ones(256, bool)
    for _ in range(12):
        obs, rewards, terminated, *_ = env.step(np.zeros(256, np.int32))
        age += 1
        eaten += rewards == 1
        fresh = terminated & first_life & (age > 3) & (eaten == 0)
        for window in obs[fresh]:
            rows, columns = np.nonzero(window != SOLID)
            if np.ptp(rows) == np.ptp(columns) == 7:  # the whole board is in sight
                assert (window == FOOD).sum() == 2
                checked += 1
        first_life &= ~terminated
    assert checked > 10


def test_the_board_is_refilled_with_food():
    env = pufferenv.make("snake", 16, seed=6, debug=True, snakes=1, size=8, food=5)
    obs, _ = env.reset()
    random = np.random.default_rng(2)
    for _ in range(200):
        for window in obs[env.alive]:
            rows, columns = np.nonzero(window != SOLID)
            if np.ptp(rows) == np.ptp(columns) == 7:
                assert (window == FOOD).sum() >= 5
        obs = env.step(forage(obs, random))[0]


def test_an_episode_is_truncated_at_its_step_limit_for_who_is_alive():
    env = pufferenv.make("snake", 4, seed=7, debug=True, max_steps=40)
    env.reset()
    for step in range(1, 81):
        _, _, terminated, truncated, infos = env.step(np.zeros(64, np.int32))
        if step % 40 == 0:
            assert truncated.any()
            assert not (truncated & terminated).any()
            log = infos["final_info"]
            assert (log["length"] == 40).all()
            np.testing.assert_allclose(log["score"], log["food"] / log["lives"])
        else:
            assert not truncated.any()


def test_a_board_too_small_is_refused():
    with pytest.raises(ValueError, match="snake refuses this config: size"):
        pufferenv.make("snake", 1, snakes=16, size=15)


def test_random_play_eats_about_one_food_per_life():
    mean, _, least, most = random_scores("snake", 16, 1024, seed=8)
    assert 0.8 < mean < 1.2
    assert 0 < least < most < 2


@pytest.mark.slow
def test_snakes_learn_to_eat_and_to_live():
    fresh, trained = train("snake", 2_000_000)
    before, after = play(fresh, "snake", 100), play(trained, "snake", 100)
    assert before["score"].mean < 2
    assert after["score"].mean > 8
    assert after["deaths"].mean < before["deaths"].mean / 2
