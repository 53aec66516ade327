"""royale: its rules, read from what agents observe of themselves and of each other.

Lengths are in the game's units. The arena's side is 8 per cell, ceil(3/4 sqrt(players)) cells, 2 at
least: 16 for two players, 48 for 64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import pufferenv
from tests.support.learning import play, train

NONE, MELEE, SHOT = 0, 1, 2
HEALTH, AMMO = 0, 1
MOVES = np.array([[0, 0]] + [[np.cos(a), np.sin(a)] for a in np.arange(8) * np.pi / 4])


class Seen(NamedTuple):
    """Observations (..., 33) in the game's units."""

    health: np.ndarray
    ammo: np.ndarray
    pause: np.ndarray
    place: np.ndarray  # (..., 2)
    to_zone: np.ndarray  # (..., 2)
    radius: np.ndarray
    left: np.ndarray  # share of the players
    others: np.ndarray  # (..., 4, 4) way (2), distance, health; distance 8: no player
    things: np.ndarray  # (..., 2, 3) way (2), distance; distance 4: nothing

    @classmethod
    def of(cls, obs, side):
        obs = obs.astype(np.float64)
        edge = np.hypot(obs[..., 6], obs[..., 7])  # d / (d + 2)
        others = obs[..., 11:27].reshape(*obs.shape[:-1], 4, 4).copy()
        things = obs[..., 27:].reshape(*obs.shape[:-1], 2, 3).copy()
        for seen, sight in ((others, 8), (things, 4)):
            seen[..., 2] = (1 - seen[..., 2]) * sight
            seen[..., :2] *= seen[..., 2:3] + 2
        return cls(
            health=(obs[..., 0] + 1) / 2,
            ammo=np.round((obs[..., 1] + 1) * 6).astype(int),
            pause=np.round(obs[..., 2] * 6).astype(int),
            place=(obs[..., 3:5] + 1) * side / 2,
            to_zone=obs[..., 6:8] * (2 / (1 - edge))[..., None],
            radius=(obs[..., 8] + 1) * side / 2,
            left=(obs[..., 10] + 1) / 2,
            others=others,
            things=things,
        )


def duel(envs=1, seed=1, **config):
    """Make envs of two agents in an arena of 16 x 16, without bots and with a harmless zone."""
    config = {"agents": 2, "bots": 0, "shrink": 100_000, "max_steps": 100_000} | config
    env = pufferenv.make("royale", envs, seed=seed, debug=True, **config)
    obs, _ = env.reset()
    return env, obs


def towards(way):
    """Return the move that is closest to the way (..., 2)."""
    move = 1 + np.round(np.arctan2(way[..., 1], way[..., 0]) / (np.pi / 4)).astype(int) % 8
    return np.where(np.hypot(way[..., 0], way[..., 1]) < 0.3, 0, move)


def legal(mask, random):
    """Return a random legal action for each row of masks (A, 12)."""
    moves = random.integers(0, 9, len(mask))
    attacks = (random.random((len(mask), 3)) * mask[:, 9:]).argmax(1)
    return np.stack([moves, attacks], 1).astype(np.int32)


@pytest.fixture(scope="module")
def match():
    """Play 500 steps of 4 games of 64 agents: (obs, masks, alive) before and after, actions, ..."""
    env = pufferenv.make("royale", 4, seed=2, debug=True, bots=0, max_steps=1000)
    obs, _ = env.reset()
    random = np.random.default_rng(0)
    steps = []
    for _ in range(500):
        before = obs.copy(), env.action_masks.copy(), env.alive.copy()
        actions = legal(env.action_masks, random)
        obs, rewards, terminated, _, infos = env.step(actions)
        over = "final_info" in infos and infos["final_info"]["_length"].reshape(4, 64).any(1)
        over = np.broadcast_to(over, 4).repeat(64)
        after = obs.copy(), env.action_masks.copy(), env.alive.copy()
        steps.append((before, actions, rewards.copy(), terminated.copy(), over, after))
    return steps


def test_agents_see_the_four_nearest_others_and_themselves(match):
    for (obs, _, alive), *_ in match[::7]:
        seen = Seen.of(obs, 48)
        for game in range(4):
            live = np.arange(64 * game, 64 * game + 64)[alive[64 * game : 64 * game + 64]]
            ways = seen.place[live][None] - seen.place[live][:, None]
            distances = np.hypot(ways[..., 0], ways[..., 1]) + np.eye(len(live)) * 1e3
            order = np.argsort(distances, 1)[:, :4]
            nearest = np.take_along_axis(distances, order, 1)
            nearest = np.pad(nearest, ((0, 0), (0, 4)), constant_values=8)[:, :4]
            others = seen.others[live]
            np.testing.assert_allclose(others[..., 2], np.minimum(nearest, 8), atol=2e-4)
            for k in range(order.shape[1]):
                there = nearest[:, k] < 7.999
                way = np.take_along_axis(ways, order[:, k, None, None], 1)[:, 0]
                np.testing.assert_allclose(others[there, k, :2], way[there], atol=1e-3)
                health = seen.health[live][order[:, k]]
                np.testing.assert_allclose(others[there, k, 3], health[there], atol=1e-6)
            nobody = others[..., 2] > 7.9999
            assert (others[nobody][:, [0, 1, 3]] == 0).all()
            assert np.allclose(seen.left[live], len(live) / 64)


def test_what_is_seen_of_many_players_is_the_same_as_of_few():
    """The nearest of many players are found by cells, those of few by comparing all players."""
    env = pufferenv.make("royale", 1, seed=3, agents=500, bots=0)
    obs, _ = env.reset()
    seen = Seen.of(obs, 17 * 8)
    ways = seen.place[None] - seen.place[:, None]
    distances = np.hypot(ways[..., 0], ways[..., 1]) + np.eye(500) * 1e3
    nearest = np.sort(distances, 1)[:, :4]
    np.testing.assert_allclose(seen.others[..., 2], np.minimum(nearest, 8), atol=1e-3)


def test_a_move_is_half_a_unit_within_the_walls(match):
    for (obs, _, alive), actions, _, _, over, (new, _, still) in match:
        both = alive & still & ~over
        before, after = Seen.of(obs[both], 48), Seen.of(new[both], 48)
        goal = np.clip(before.place + 0.5 * MOVES[actions[both, 0]], 0, 48)
        np.testing.assert_allclose(after.place, goal, atol=1e-4)


def test_masks_allow_attacks_outside_of_pauses_and_shots_with_ammo(match):
    for (obs, mask, alive), *_ in match:
        seen = Seen.of(obs[alive], 48)
        assert mask[alive][:, :10].all()
        np.testing.assert_array_equal(mask[alive][:, 10], seen.pause == 0)
        np.testing.assert_array_equal(mask[alive][:, 11], (seen.pause == 0) & (seen.ammo > 0))


def test_attacks_cost_a_pause_and_shots_one_ammo(match):
    for (obs, _, alive), actions, _, _, over, (new, _, still) in match:
        both = alive & still & ~over
        before, after = Seen.of(obs[both], 48), Seen.of(new[both], 48)
        attack = actions[both, 1]
        pause = np.choose(attack, [np.maximum(before.pause - 1, 0), 3, 6])
        np.testing.assert_array_equal(after.pause, pause)
        ammo = before.ammo - (attack == SHOT)
        found = after.ammo != ammo
        np.testing.assert_array_equal(after.ammo[found], np.minimum(ammo[found] + 4, 12))
        assert (before.things[found, AMMO, 2] <= 1.5).all()


def test_health_falls_by_hits_and_the_zone_and_rises_by_what_is_found(match):
    found, changes = 0, set()
    for (obs, _, alive), _, _, _, over, (new, _, still) in match:
        both = alive & still & ~over
        before, after = Seen.of(obs[both], 48), Seen.of(new[both], 48)
        gain = after.health - before.health
        found += (gain > 0.05).sum()
        assert (before.things[gain > 1e-6, HEALTH, 2] <= 1.5).all()
        assert (gain <= 0.4 + 1e-6).all()
        plain = before.things[:, HEALTH, 2] > 1.5
        changes |= set(np.round(gain[plain], 3))
    assert found > 0
    hits = {0.4 * melee + 0.3 * shots for melee in range(3) for shots in range(4)}
    assert changes <= {-round(hit + zone, 3) for hit in hits for zone in (0, 0.02)}
    assert {0.0, -0.02, -0.3, -0.4} <= changes


def test_the_zone_hurts_who_is_outside_and_kills_in_fifty_steps():
    env = pufferenv.make(
        "royale", 4, seed=4, debug=True, bots=0, shrink=1, hold=10_000, max_steps=90
    )
    obs, _ = env.reset()
    stay = np.zeros((256, 2), np.int32)
    obs = env.step(stay)[0]
    first = Seen.of(obs, 48)
    np.testing.assert_allclose(first.radius, 0.3 * 48, rtol=1e-5)
    outside = np.hypot(*first.to_zone.T) > first.radius + 1e-2
    inside = np.hypot(*first.to_zone.T) < first.radius - 1e-2
    start = first.health
    fixed = first.things[:, HEALTH, 2] > 1.01  # the agent has nothing to pick up
    for step in range(1, 49):
        obs, rewards, *_ = env.step(stay)
        assert env.alive[fixed].all()
        seen = Seen.of(obs, 48)
        lost = start - seen.health
        np.testing.assert_allclose(lost[outside & fixed], 0.02 * step, atol=1e-4)
        np.testing.assert_allclose(lost[inside & fixed], 0, atol=1e-6)
        fixed &= seen.things[:, HEALTH, 2] > 1.01
    assert outside.sum() > 50
    assert inside.sum() > 20
    for _ in range(3):
        rewards, terminated = env.step(stay)[1:3]
        if terminated.any():
            died = terminated & fixed
            np.testing.assert_array_equal(died, outside & fixed)
            assert (rewards[died] == -0.5).all()
            break
    assert not env.alive[outside & fixed].any()
    assert env.alive[inside & fixed].all()


def test_the_zone_shrinks_holds_and_closes():
    env = pufferenv.make("royale", 1, seed=5, bots=0, shrink=20, hold=30, close=40)
    obs, _ = env.reset()
    radii = []
    for _ in range(95):
        seen = Seen.of(obs[env.alive], 48)
        radii.append(seen.radius[0] / 48)
        moves = np.zeros((64, 2), np.int32)
        moves[env.alive, 0] = towards(seen.to_zone)
        obs = env.step(moves)[0]
    expected = np.interp(np.arange(95), [0, 20, 50, 90], [1.1, 0.3, 0.3, 0])
    np.testing.assert_allclose(radii, expected, atol=1e-5)


def test_melee_takes_two_fifths_pauses_and_wins_the_game():
    env, obs = duel()
    actions = np.zeros((2, 2), np.int32)
    while True:  # agent 0 walks to agent 1 with its fists; it misses from afar
        seen = Seen.of(obs, 16)
        way = seen.place[1] - seen.place[0]
        if np.hypot(*way) < 1.15 and seen.pause[0] == 0:
            break
        far = np.hypot(*way) >= 1.25
        actions[0] = towards(way) if far else 0, MELEE if far else NONE
        obs, rewards, *_ = env.step(actions)
        assert (rewards == 0).all()
    health = [1.0]
    actions[0] = 0, MELEE
    for step in range(9):
        obs, rewards, terminated, truncated, infos = env.step(actions)
        assert not truncated.any()
        if step == 8:
            break
        hit = step % 4 == 0  # in between the choice is illegal and does nothing
        health.append(health[-1] - 0.4 * hit)
        np.testing.assert_allclose(Seen.of(obs, 16).health, [1, health[-1]], atol=1e-6)
        np.testing.assert_allclose(rewards, [0.2 * hit, 0], atol=1e-6)
        np.testing.assert_array_equal(env.action_masks[:, 10], [step % 4 == 3, True])
    assert terminated.all()
    # rewards: the last fifth of health, a kill, outliving the others, the win; and a death
    np.testing.assert_allclose(rewards, [0.1 + 0.5 + 1 + 1, -0.5], atol=1e-5)
    logged = infos["final_info"]
    assert logged["melee_kills"][0] == logged["winner_kills"][0] == 1
    assert logged["shot_kills"][0] == logged["zone_deaths"][0] == 0
    assert logged["fought"][0] == 1
    assert logged["damage"][0] == pytest.approx(1 / 2)


def test_shots_hit_the_less_the_farther_and_never_beyond_range():
    env, obs = duel(envs=2000)
    seen = Seen.of(obs, 16)
    shooter = np.arange(0, 4000, 2)
    distance = np.hypot(*(seen.place[shooter + 1] - seen.place[shooter]).T)
    fixed = (seen.things[shooter, AMMO, 2] > 1.01) & (seen.things[shooter + 1, HEALTH, 2] > 1.01)
    hits = np.zeros(2000)
    actions = np.zeros((4000, 2), np.int32)
    actions[shooter, 1] = SHOT
    for _ in range(14):  # shots in steps 0 and 7
        obs, rewards, *_ = env.step(actions)
        hits += rewards[shooter] > 0
        assert (rewards[shooter][rewards[shooter] > 0] == np.float32(0.15)).all()
    assert (Seen.of(obs, 16).ammo[shooter][fixed] == 2).all()
    health = Seen.of(obs, 16).health[shooter + 1]
    np.testing.assert_allclose(health[fixed], 1 - 0.3 * hits[fixed], atol=1e-6)
    assert (hits[distance > 6] == 0).all()
    for low in range(6):
        here = (distance > low) & (distance < low + 1)
        chance = 1 - distance[here] / 8
        spread = np.sqrt((2 * chance * (1 - chance)).sum())
        assert here.sum() > 10
        assert abs(hits[here].sum() - (2 * chance).sum()) < 4 * spread


def test_ammo_runs_out():
    env, obs = duel(seed=9)
    assert (Seen.of(obs, 16).ammo == 4).all()
    shots = 0
    while env.action_masks[0, 11] or Seen.of(obs, 16).pause[0]:
        shots += env.action_masks[0, 11]
        obs = env.step(np.array([[0, SHOT], [0, NONE]], np.int32))[0]
        assert env.alive.all()
    assert shots == 4
    np.testing.assert_array_equal(env.action_masks[:, 10:], [[1, 0], [1, 1]])


@pytest.mark.parametrize("agents", [2, 3, 64, 200])
def test_every_death_is_a_kill_or_the_zones_and_one_is_left_at_most(agents):
    env = pufferenv.make(
        "royale", 3, seed=6, debug=True, agents=agents, bots=0, hold=100, close=100
    )
    env.reset()
    random = np.random.default_rng(1)
    ended, steps, lived = 0, np.zeros(3), np.zeros(3)
    for _ in range(1000):
        lived += env.alive.reshape(3, agents).sum(1)
        steps += 1
        alive = env.alive.reshape(3, agents).sum(1)
        _, rewards, terminated, truncated, infos = env.step(legal(env.action_masks, random))
        assert not truncated.any()
        if "final_info" not in infos:
            continue
        log = infos["final_info"]
        for game in np.unique(np.flatnonzero(log["_length"]) // agents):
            at = game * agents
            kills, by_zone = log["melee_kills"][at] + log["shot_kills"][at], log["zone_deaths"][at]
            assert agents - kills - by_zone in (0, 1)
            assert log["fought"][at] == pytest.approx(kills / (kills + by_zone))
            assert log["survival"][at] == pytest.approx(lived[game] / steps[game] / agents)
            assert terminated[at : at + agents].sum() == alive[game]
            assert (rewards[at : at + agents] >= 1).sum() == agents - kills - by_zone
            assert log["length"][at] == steps[game]
            steps[game] = lived[game] = 0
            ended += 1
    assert ended >= 3


def test_a_dead_player_stays_dead(match):
    for (_, _, alive), _, _, terminated, over, (_, _, still) in match:
        assert not (still & ~alive & ~over).any()
        np.testing.assert_array_equal(terminated[~over], (alive & ~still)[~over])


def test_bots_are_players_but_not_agents_and_outlive_an_agent_that_does_nothing():
    env = pufferenv.make("royale", 16, seed=7, debug=True, agents=8, bots=24)
    obs, _ = env.reset()
    assert obs.shape == (128, 33)
    assert np.allclose(Seen.of(obs, 5 * 8).left, 1)
    for _ in range(900):
        env.step(np.zeros((128, 2), np.int32))
    log = env.log()
    assert log["episodes"][0] >= 16
    assert log["score"][0] < 0.5
    assert log["fought"][0] > 0.3


def test_without_bots_the_score_is_one_half():
    env = pufferenv.make("royale", 2, seed=8, bots=0, hold=10, close=10)
    env.reset()
    for _ in range(200):
        env.step(np.zeros((128, 2), np.int32))
    assert env.log()["score"] == (0.5, 0, 0.5, 0.5)


def test_a_step_limit_truncates_the_living():
    env = pufferenv.make("royale", 2, seed=8, debug=True, max_steps=5)
    env.reset()
    for step in range(1, 11):
        _, _, terminated, truncated, _ = env.step(np.zeros((128, 2), np.int32))
        assert not terminated.any()
        assert (truncated == (step % 5 == 0)).all()


@pytest.mark.slow
def test_agents_learn_to_stay_in_the_zone_to_fight_and_to_outlive_bots():
    fresh, trained = train("royale", 5_000_000)
    before, after = play(fresh, "royale", 100), play(trained, "royale", 100)
    assert before["fought"].mean < 0.6
    assert after["fought"].mean > 0.8
    assert after["accuracy"].mean > 1.5 * before["accuracy"].mean
    assert after["score"].mean > before["score"].mean + 0.05
