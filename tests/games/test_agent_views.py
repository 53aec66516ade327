"""The drawings of royale, tag, memory and probe: what they show of a state, and to whom."""

from __future__ import annotations

import numpy as np
import pytest

from tests.games.test_drawing import (
    AGENT,
    DISC,
    FILL,
    KEY,
    LINE,
    RECT,
    RING,
    Drawn,
    commands,
    numbers,
    texts,
)

RED, ORANGE, YELLOW, CYAN = 0xFF5D6CFF, 0xFF9F43FF, 0xFFD45CFF, 0x36D1E8FF
GREY, WHITE = 0x8190B5FF, 0xEEF2FFFF


def shapes(shown, wanted, colour=None):
    """Return the floats (n, F) of the shapes of one kind, and of one colour if it is given."""
    found = [f for op, c, f, _ in commands(shown.words) if op == wanted and colour in (None, c)]
    return np.array(found)


def things(shown):
    """Return {key: agent} of the keyed things of a list."""
    key, agent, found = 0, -1, {}
    for op, number, *_ in commands(shown.words):
        if op == AGENT:
            agent = number if number < 2**31 else -1
        elif op == KEY:
            key = number
        elif key:
            found[key] = agent
    return found


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["memory", "probe"])
def test_the_picture_of_an_agent_depends_on_nothing_but_its_observation(name):
    """Envs in different states that observe the same are drawn by the same list."""
    lists, repeated = {}, 0
    for seed in range(6):
        drawn = Drawn(name, 8, seed=seed)
        for _ in range(50):
            for env in range(8):
                seen = drawn.obs[env * drawn.env.env_agents].tobytes()
                words = drawn.list(0, env).words.tobytes()
                repeated += seen in lists
                assert lists.setdefault(seen, words) == words
            drawn.play(1)
    assert len(set(lists.values())) == len(lists)  # and different observations by others
    assert repeated > 1000 or name == "probe"  # whose observations are all different


def test_memory_shows_the_cue_to_everybody_all_the_time_and_asks_at_the_end():
    drawn = Drawn("memory", seed=3, cues=6, distract=0)
    cue = drawn.obs[0, :6].argmax()
    asked = 0
    for _ in range(100):
        if drawn.obs[0, 6] == 1:  # LOOK
            cue = drawn.obs[0, :6].argmax()
            assert texts(drawn.list())[0] == "remember this"
        shown = drawn.list()
        mark = [f for f in shapes(shown, RECT, 0xEEF2FF40) if f[1] > 7]
        assert len(mark) == 1
        assert mark[0][0] + mark[0][2] / 2 == pytest.approx(6 + 1.2 * (cue - 2.5), abs=1e-4)
        if drawn.obs[0, 7] == 1:  # ANSWER
            assert "?" in texts(shown)
            assert texts(drawn.list(0)) == ["?"]
            asked += 1
        else:
            assert texts(drawn.list(0)) == []
        drawn.play(1)
    assert asked >= 2


@pytest.mark.parametrize("cues", [2, 8, 9, 32, 33, 64])
def test_memory_shows_all_choices_within_the_picture(cues):
    drawn = Drawn("memory", cues=cues)
    places = set()
    for op, _, f, _ in commands(drawn.list().words):
        if op in (RECT, DISC, RING, FILL, LINE):
            points = f[1:] if op == LINE else f if op == FILL else f[:2]
            points = points.reshape(-1, 2)
            assert (points >= 0).all() and (points <= (12, 9)).all()
            if points[0, 1] > 7:
                places.add((float(points[0, 0]), float(points[0, 1])))
    assert len(places) >= cues


# --- probe ----------------------------------------------------------------------------------------


def test_probe_writes_agent_life_and_step_of_everyone_who_has_lived():
    config = {"agents": 9, "die": 0.2, "respawn": 0.5, "spawn": 0.2, "absent": 0.5}
    drawn = Drawn("probe", 1, seed=2, **config)
    for _ in range(40):
        lines = texts(drawn.list())
        for agent in drawn.agents:
            at = lines.index(f"agent {agent}")
            _, _, life, step = drawn.obs[agent]
            assert lines[at + 1 : at + 3] == [f"life {life:.0f}", f"step {step:.0f}"]
            mine = texts(drawn.list(agent))
            assert mine == [f"tag {drawn.obs[agent, 0]:.0f}", *lines[at : at + 3]]
        drawn.play(1)


def test_probe_gives_a_new_life_a_new_key():
    drawn = Drawn("probe", seed=3, agents=16, die=0.3, respawn=1)
    before, lives = things(drawn.list()), drawn.obs[:, 2].copy()
    for _ in range(20):
        drawn.play(1)
        now = things(drawn.list())
        assert len(now) == 16
        kept = {agent for key, agent in now.items() if before.get(key) == agent}
        assert kept == set(np.flatnonzero(drawn.obs[:, 2] == lives))
        before, lives = now, drawn.obs[:, 2].copy()


@pytest.mark.parametrize("agents", [1, 2, 3, 10, 1023, 1024])
def test_probes_cells_fill_the_picture_and_do_not_overlap(agents):
    drawn = Drawn("probe", agents=agents)
    shown = drawn.list()
    cells = [f for f in shapes(shown, RECT) if f[2] == np.float32(0.92)]
    corners = {(round(float(f[0]), 2), round(float(f[1]), 2)) for f in cells}
    assert len(corners) == agents
    _, _, width, height = shown.view
    assert all(0 < x < width - 0.9 and 0 < y < height - 0.9 for x, y in corners)
    assert (width - 1) ** 2 < agents


# --- tag ------------------------------------------------------------------------------------------


def test_tag_shows_hunters_prey_and_where_prey_was_caught():
    """Places are compared with the observed ones, and crosses with the dead among the entered."""
    drawn = Drawn("tag", seed=4, hunters=60, prey=40, every=1, max_steps=100)
    side, crosses = 50, 0
    for _ in range(90):
        shown = drawn.list()
        places = (drawn.obs[:, 1:3] + 1) / 2 * side * (1, -1)
        for colour, radius, agents in ((RED, 0.45, range(60)), (CYAN, 0.34, range(60, 100))):
            live = [a for a in drawn.agents if a in agents]
            discs = shapes(shown, DISC, colour)
            assert np.allclose(discs[:, 2], radius) if live else len(discs) == 0
            for disc, agent in zip(discs, reversed(live), strict=True):
                assert disc[:2] == pytest.approx(places[agent], abs=1e-3)
        (caught,) = [int(t.split()[1]) for t in texts(shown) if t.startswith("caught")]
        assert len(shapes(shown, LINE)) == 2 * caught
        crosses = max(crosses, caught)
        assert set(things(shown)) == {1 + a for a in drawn.agents}
        drawn.play(1)
    assert crosses >= 3


def test_tag_gives_prey_that_enters_a_key_that_was_not_there_before():
    drawn = Drawn("tag", seed=5, hunters=1, prey=8, every=3, max_steps=1000)
    keys = set(things(drawn.list()))
    for _ in range(20):
        alive = set(drawn.agents)
        drawn.play(1)
        now = set(things(drawn.list()))
        assert now - keys == {1 + a for a in set(drawn.agents) - alive}
        keys = now
    assert len(keys) > 5


@pytest.mark.parametrize(("name", "around"), [("tag", 6), ("royale", 8)])
def test_an_agent_sees_its_surroundings_and_is_marked_in_their_middle(name, around):
    drawn = Drawn(name, seed=6).play(3)
    side = {"tag": 20, "royale": 56}[name]
    first = {"tag": 1, "royale": 3}[name]
    for agent in drawn.agents[::5]:
        x, y = (drawn.obs[agent, first : first + 2] + 1) / 2 * side * (1, -1)
        shown = drawn.list(agent)
        assert shown.view[:2] == pytest.approx((x - around, y - around), abs=1e-3)
        assert shown.view[2:] == (2 * around, 2 * around)
        (mark,) = shapes(shown, RING, WHITE)
        assert mark[:2] == pytest.approx((x, y), abs=1e-3)
        assert WHITE not in [c for op, c, *_ in commands(drawn.list().words) if op == RING]


# --- royale ---------------------------------------------------------------------------------------


def test_royale_shows_every_live_player_and_its_health_if_it_was_hurt():
    drawn = Drawn("royale", seed=7)
    hurt = 0
    for _ in range(40):
        shown = drawn.list()
        found = {key: agent for key, agent in things(shown).items() if key > 1 and key % 2}
        assert {agent for agent in found.values() if agent >= 0} == set(drawn.agents)
        left = round((drawn.obs[drawn.agents[0], 10] + 1) / 2 * 72)
        assert len(found) == left
        assert texts(shown)[0] == f"{left} left"
        health = (drawn.obs[drawn.agents, 0] + 1) / 2
        bars = [f[2] / 1.6 for f in shapes(shown, RECT) if f[4] == np.float32(0.17) and f[2] < 1.6]
        for value in health[health < 0.999]:
            assert min(abs(np.array(bars) - value)) < 1e-4
            hurt += 1
        drawn.play(1)
    assert hurt > 50


def test_royale_shows_the_zone_where_agents_observe_it():
    drawn = Drawn("royale", seed=8, shrink=20, hold=20, close=10)
    phases = set()
    for _ in range(52):
        agent = drawn.agents[0]
        seen = drawn.obs[agent].astype(float)
        place = (seen[3:5] + 1) / 2 * 56
        edge = np.hypot(*seen[6:8])
        centre = place + seen[6:8] * 2 / (1 - edge)
        shown = drawn.list()
        (zone,) = shapes(shown, RING, CYAN)
        assert zone[:2] == pytest.approx(centre * (1, -1), abs=0.02)
        assert zone[2] == pytest.approx((seen[8] + 1) / 2 * 56, abs=1e-3)
        phases.add(texts(shown)[2].split()[1])
        drawn.play(1)
        if not drawn.agents:
            break
    assert phases >= {"shrinks", "holds", "closes"}


def test_royale_draws_a_line_from_whoever_shot_and_a_ring_around_a_melee():
    """Two agents side by side attack; the first shoots, the second strikes."""
    config = {"agents": 2, "bots": 0, "shrink": 100_000, "max_steps": 100_000}
    for seed in range(50):
        drawn = Drawn("royale", seed=seed, **config)
        if (1 - drawn.obs[:, 13]).max() * 8 < 1.1:  # distance of the other
            break
    place = (drawn.obs[:, 3:5] + 1) / 2 * 16 * (1, -1)
    drawn.obs, *_ = drawn.env.step(np.array([[0, 2], [0, 1]], np.int32))
    (line,) = shapes(drawn.list(), LINE, YELLOW)
    assert line[1:] == pytest.approx(place.ravel(), abs=1e-3)
    (ring,) = shapes(drawn.list(), RING, ORANGE)
    assert ring[:2] == pytest.approx(place[1], abs=1e-3)
    drawn.obs, *_ = drawn.env.step(np.zeros((2, 2), np.int32))
    assert len(shapes(drawn.list(), LINE, YELLOW)) == len(shapes(drawn.list(), RING, ORANGE)) == 0


def test_royale_shows_an_agent_its_ammo_and_health():
    drawn = Drawn("royale", seed=9).play(30)
    for agent in drawn.agents:
        shown = drawn.list(agent)
        x, y = shown.view[:2]
        top = [f for f in shapes(shown, RECT) if abs(f[1] - y - 0.4) + abs(f[3] - 0.7) < 1e-4]
        health, ammo = (drawn.obs[agent, :2] + 1) / 2 * (1, 12)
        assert len(top) == 2 + round(ammo)
        assert top[1][2] == pytest.approx(6 * health, abs=1e-3)
        assert x < top[0][0]


def test_bots_of_royale_are_grey_and_no_agents():
    drawn = Drawn("royale", seed=9, agents=2, bots=30)
    shown = drawn.list()
    assert len(shapes(shown, DISC, GREY)) == 30
    assert set(numbers(shown, AGENT)) == {0, 1, -1}
