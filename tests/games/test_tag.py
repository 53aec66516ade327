"""tag: moving, spawning, catching and sight, read from what agents observe of themselves.

Lengths are in the game's units: the room's side is 5 per root of the number of agents.
"""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from tests.support.learning import play, train

HUNTERS, PREY, EVERY = 4, 12, 10  # the defaults
AGENTS, SIDE = HUNTERS + PREY, 20.0
MOVES = np.array([[0, 0]] + [[np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4])
SPEED = np.where(np.arange(AGENTS) < HUNTERS, 0.45, 0.5)[:, None]


def places(obs):
    """Return the positions (A, 2) of the agents, from observations (A, 19)."""
    return (obs[:, 1:3].astype(np.float64) + 1) * SIDE / 2


def chase(env, obs):
    """Return actions with which hunters move to the nearest prey and prey stays."""
    place, actions = places(obs), np.zeros(env.num_envs, np.int32)
    prey = HUNTERS + np.flatnonzero(env.alive[HUNTERS:])
    for hunter in range(HUNTERS):
        if len(prey):
            ways = place[prey] - place[hunter]
            way = ways[np.hypot(*ways.T).argmin()]
            if np.hypot(*way) > 0.3:
                actions[hunter] = 1 + round(np.arctan2(way[1], way[0]) / (np.pi / 4)) % 8
    return actions


@pytest.fixture(scope="module")
def steps():
    """Play one game per seed: (obs, alive, actions, rewards, terminated, obs, alive) per step."""
    games = []
    for seed in range(8):
        env = pufferenv.make("tag", 1, seed=seed, debug=True, max_steps=10_000)
        obs, _ = env.reset()
        random = np.random.default_rng(seed)
        games.append([])
        while True:
            before, alive = obs.copy(), env.alive.copy()
            wild = random.integers(0, 9, AGENTS)
            actions = np.where(random.random(AGENTS) < 0.5, chase(env, obs), wild).astype(np.int32)
            obs, rewards, terminated, truncated, infos = env.step(actions)
            assert not truncated.any()
            games[-1].append((before, alive, actions, rewards.copy(), terminated.copy(), obs.copy(),
                              env.alive.copy()))  # fmt: skip
            if "final_info" in infos:
                break
    return games


def test_agents_move_at_their_speed_within_the_walls(steps):
    for game in steps:
        for obs, alive, actions, _, _, new, still in game[:-1]:
            goal = np.clip(places(obs) + SPEED * MOVES[actions], 0, SIDE)
            np.testing.assert_allclose(places(new)[alive & still], goal[alive & still], atol=1e-4)


def test_prey_enters_one_by_one_and_hunters_are_there_from_the_start(steps):
    for game in steps:
        caught = 0
        for step, (_, alive, _, _, terminated, *_) in enumerate(game):
            entered = min(PREY, 1 + step // EVERY)
            assert alive[:HUNTERS].all()
            assert not alive[HUNTERS + entered :].any()
            assert alive[HUNTERS:].sum() == entered - caught
            caught += terminated[HUNTERS:].sum()
        assert caught == PREY


def test_prey_in_reach_is_caught_by_the_nearest_hunter_and_nobody_else_is(steps):
    catches = 0
    for game in steps:
        for obs, alive, actions, rewards, terminated, *_ in game[:-1]:
            place = np.clip(places(obs) + SPEED * MOVES[actions], 0, SIDE)
            expected = np.zeros(AGENTS)
            distances = np.linalg.norm(place[None, :HUNTERS] - place[:, None], axis=2)
            if (np.abs(distances[HUNTERS:] - 0.8) < 1e-4).any():
                continue  # too close to tell
            caught = alive & (np.arange(AGENTS) >= HUNTERS) & (distances.min(1) < 0.8)
            np.testing.assert_array_equal(terminated, caught)
            np.add.at(expected, distances[caught].argmin(1), 1)
            expected[caught] -= 1
            np.testing.assert_array_equal(rewards, expected)
            catches += caught.sum()
    assert catches > 50


def test_the_game_is_over_when_all_prey_is_caught():
    env = pufferenv.make("tag", 1, seed=3, debug=True, max_steps=10_000)
    obs, _ = env.reset()
    caught = lived = length = 0
    while caught < PREY:
        lived += env.alive[HUNTERS:].sum()
        length += 1
        obs, rewards, terminated, truncated, infos = env.step(chase(env, obs))
        caught += (rewards[HUNTERS:] == -1).sum()
        assert rewards[:HUNTERS].sum() == -rewards[HUNTERS:].sum()
        assert ("final_info" in infos) == (caught == PREY)
    assert terminated[:HUNTERS].all()
    assert not truncated.any()
    log = {name: infos["final_info"][name][0] for name in ("score", "catches", "entered", "length")}
    assert log == {"score": 1, "catches": PREY, "entered": PREY, "length": length}
    assert infos["final_info"]["survival"][0] == pytest.approx(lived / PREY)


def test_a_step_limit_truncates():
    env = pufferenv.make("tag", 1, seed=4, debug=True, max_steps=25)
    env.reset()
    for step in range(1, 51):
        alive = env.alive.copy()
        _, _, terminated, truncated, infos = env.step(np.zeros(AGENTS, np.int32))
        if step % 25 == 0:
            np.testing.assert_array_equal(truncated, alive & ~terminated)
            assert infos["final_info"]["entered"][0] == 3
            assert infos["final_info"]["length"][0] == 25
        else:
            assert not truncated.any()


def test_agents_see_their_role_and_the_nearest_of_both(steps):
    for obs, alive, *_ in (step for game in steps for step in game[::5]):
        place = places(obs)
        for me in np.flatnonzero(alive):
            hunts = me < HUNTERS
            assert obs[me, 0] == (1 if hunts else -1)
            others = alive & (np.arange(AGENTS) != me)
            rivals = np.flatnonzero(others & ((np.arange(AGENTS) < HUNTERS) != hunts))
            friends = np.flatnonzero(others & ((np.arange(AGENTS) < HUNTERS) == hunts))
            for group, first, count in ((rivals, 4, 3), (friends, 13, 2)):
                ways = place[group] - place[me]
                far = np.hypot(*ways.T)
                expected = np.zeros((count, 3))
                for k, i in enumerate(np.argsort(far)[:count]):
                    expected[k] = [*ways[i] / (far[i] + 3), 3 / (far[i] + 3)]
                seen = obs[me, first : first + 3 * count].reshape(count, 3)
                np.testing.assert_allclose(seen, expected, atol=1e-4)


def test_observations_are_within_one(steps):
    for obs, alive, *_ in (step for game in steps for step in game):
        assert np.abs(obs[alive]).max() <= 1


@pytest.mark.slow
def test_hunters_learn_to_corner_prey():
    fresh, trained = train("tag", 2_000_000)
    assert play(fresh, "tag", 200)["score"].mean < 0.6
    after = play(trained, "tag", 200)
    assert after["score"].mean > 0.9
    assert after["survival"].mean < play(fresh, "tag", 200)["survival"].mean / 2
