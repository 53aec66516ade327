"""Properties of every game's drawing: what it shows, and that showing it changes nothing."""

from __future__ import annotations

import hashlib
import re
import subprocess

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from pufferenv._installation import NATIVE
from pufferenv.drawing.keys import KeyMap
from pufferenv.drawing.renderer import Renderer
from pufferenv.toolchain import targets
from tests.games.test_every_game import actions_of

NAMES = [name for name in games.names() if games.load(name).draws]
STEPS = 60
SIZES = (600, 160)  # widths of the pictures below, in pixels
MOST_WORDS = 10_000  # of a list under the default config
KEY, AGENT, RECT, DISC, RING, LINE, FILL, TEXT = range(1, 9)  # PufOp of draw.h
WORDS = {KEY: 2, AGENT: 2, RECT: 7, DISC: 5, RING: 6}  # of commands whose length is fixed

# First 12 digits of the sha256 of the pictures, at both sizes: at the start; after STEPS steps of
# `actions_of`; and then as the last live agent sees it. They are the same for every compiler and
# CPU. When a drawing or the rasterizer changes, look at docs/contact_sheet.png; the failing test
# prints the new row for this table.
GOLDEN = {
    "breakout": ("3247a06bdf7e", "a9984c1ddbea", "a9984c1ddbea"),
    "cartpole": ("a159a4d04d40", "210f960188f5", "210f960188f5"),
    "memory": ("39af7c63d431", "b32d6dffabb4", "c089e883997b"),
    "probe": ("6844f7103de7", "33cf9e3d8c31", "df10ad56ea3b"),
    "royale": ("d27597703223", "6d7f36056ec8", "76439c5c3b65"),
    "snake": ("8d34f1b25297", "3cda6dbf5ac4", "b93500b99374"),
    "squared": ("83a6510e9142", "11b0a61bc522", "11b0a61bc522"),
    "tag": ("0cf00bcd15bf", "f67fd145d06b", "9eab1550cced"),
}


class Drawn:
    """A vector env and its renderers."""

    def __init__(self, name, num_envs=1, seed=1, debug=False, **config):
        self.env = pufferenv.make(name, num_envs, seed=seed, debug=debug, **config)
        self.drawing = games.drawing(self.env.game)
        self.packed = self.env.game_spec.packed
        self.renderers = [Renderer(self.drawing, self.packed, size) for size in SIZES]
        self.step = 0
        self.obs, _ = self.env.reset()

    def play(self, steps):
        for _ in range(steps):
            self.obs, *_ = self.env.step(actions_of(self.env, self.step))
            self.step += 1
        return self

    @property
    def agents(self):
        """Live agents of the first env."""
        return np.flatnonzero(self.env.alive[: self.env.env_agents]).tolist()

    def list(self, agent=-1, env=0):
        return self.drawing.draw(self.env._engine, env, self.packed, agent)

    def hash(self, agent=-1):
        digest = hashlib.sha256()
        for renderer in self.renderers:
            (frame,) = renderer.frames(self.env._engine, [0], [agent])
            assert frame.min() < frame.max()
            digest.update(frame.tobytes())
        return digest.hexdigest()[:12]


def commands(words):
    """Yield (op, colour or number, arguments as floats, arguments as integers) of a list."""
    floats, at = words.view(np.float32), 0
    while op := int(words[at]) & 255:
        count = int(words[at]) >> 8
        yield op, int(words[at + 1]), floats[at + 2 : at + count], words[at + 2 : at + count]
        at += count
    assert at == len(words) - 1  # the END is last


def check(shown):
    """Assert that a list has only legal commands, at finite places; -> the number of shapes."""
    shapes = 0
    for op, _, floats, integers in commands(shown.words):
        assert KEY <= op <= TEXT
        assert 2 + len(floats) == WORDS.get(op, 2 + len(floats))
        if op in (KEY, AGENT):
            continue
        if op == TEXT:
            assert 0 < integers[4] <= 4 * (len(integers) - 5)
            text = integers[5:].tobytes()[: integers[4]]
            assert text.isascii() and text.decode().isprintable()
            floats = floats[:4]
        assert np.isfinite(floats).all()
        shapes += 1
    assert np.isfinite(shown.view).all()
    return shapes


def numbers(shown, wanted):
    """Return the numbers of the KEY or AGENT commands of a list."""
    return [
        np.uint32(n).view(np.int32).item() for op, n, *_ in commands(shown.words) if op == wanted
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_list_is_short_finite_and_has_shapes(name):
    drawn = Drawn(name)
    for _ in range(STEPS):
        for agent in (-1, *drawn.agents):
            shown = drawn.list(agent)
            assert check(shown) >= 3
            assert len(shown.words) <= MOST_WORDS
        drawn.play(1)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_shows_a_part_of_the_world_of_the_declared_shape(name):
    drawn = Drawn(name).play(5)
    view, shown = drawn.drawing.view(drawn.packed), drawn.list().view
    assert shown[2:] == pytest.approx(view[2:])


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_the_same_bytes_everywhere(name):
    drawn = Drawn(name)
    start = drawn.hash()
    later = drawn.play(STEPS).hash()
    assert (start, later, drawn.hash(drawn.agents[-1])) == GOLDEN.get(name)


@pytest.mark.parametrize("name", NAMES)
def test_drawing_changes_nothing(name):
    """Draw each step of a run, as everybody and as each agent sees it; a twin is not drawn."""
    drawn, twin = Drawn(name, 3, seed=5), pufferenv.make(name, 3, seed=5)
    twin.reset()
    for step in range(STEPS):
        for env in range(3):
            for agent in range(-1, min(8, twin.env_agents)):
                drawn.list(agent, env)
        drawn.renderers[1].frames(drawn.env._engine, range(3))
        drawn.play(1)
        obs, *_ = twin.step(actions_of(twin, step))
        assert obs.tobytes() == drawn.obs.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_state_gives_the_same_list(name):
    drawn, twin = (Drawn(name, seed=3).play(20) for _ in range(2))
    for agent in (-1, *drawn.agents[:3]):
        assert drawn.list(agent).words.tobytes() == twin.list(agent).words.tobytes()


def without_drawing(text):
    """Remove all that is about drawing from a header: three macros, and all below env_close.

    PUF_VIEW is defined at its end, where nothing sees it but the flag in the game's table that says
    whether the game draws.
    """
    macros = r"^#define PUF_(VIEW|PACE|KEYS)\b(.*\\\n)*.*\n"
    kept, count = re.subn(macros, lambda m: "\n" * m[0].count("\n"), text, flags=re.MULTILINE)
    assert count >= 2
    last = re.search(r"^static void env_close\(Env \*env\) \{(.*\}|(.*\n)*?\})", kept, re.MULTILINE)
    assert last and "env_draw(" in kept[last.end() :]
    return kept[: last.end()] + "\n#define PUF_VIEW(c)\n"


@pytest.mark.parametrize("name", NAMES)
def test_the_simulation_is_compiled_to_the_same_object_without_its_drawing(name, tmp_path):
    header = targets.header_of(name)
    text = header.read_text()
    step = targets.game_step(header, NATIVE)
    objects = []
    for folder, content in (("drawn", text), ("plain", without_drawing(text))):
        place = tmp_path / folder
        place.mkdir()
        (place / "game.h").write_text(content)
        command = [
            '-DPUF_GAME="game.h"' if word.startswith("-DPUF_GAME=") else word
            for word in step.command
            if word not in ("-shared", "-lm", "-Wl,-z,defs")
        ]
        command += ["-Wno-unused", "-I.", "-c", "-o", "game.o"]
        subprocess.run(command, cwd=place, check=True)
        objects.append((place / "game.o").read_bytes())
    assert objects[0] == objects[1]


@pytest.mark.parametrize("name", NAMES)
def test_keys_and_pace_are_legal(name):
    drawn = Drawn(name)
    env = drawn.env
    keys = KeyMap(drawn.drawing.keys, env.heads, env.axes, game=name, widest=env.game)
    assert keys
    assert all(row.label for row in drawn.drawing.keys)
    assert 1 <= drawn.drawing.pace(drawn.packed) <= 60


@pytest.mark.parametrize("name", [name for name in NAMES if pufferenv.make(name).env_agents > 1])
def test_every_live_agent_is_marked_for_clicks_and_no_dead_one(name):
    drawn = Drawn(name)
    for _ in range(STEPS):
        assert set(numbers(drawn.list(), AGENT)) - {-1} == set(drawn.agents)
        drawn.play(1)


@pytest.mark.parametrize("name", NAMES)
def test_every_config_field_draws_at_its_ends(name):
    fields = games.load(name).config_fields
    configs = [{f.name: getattr(f, end)} for f in fields for end in ("min", "max")]
    configs += [{f.name: getattr(f, end) for f in fields} for end in ("min", "max")]
    for config in configs:
        try:
            drawn = Drawn(name, 1, seed=3, debug=True, **config)
        except ValueError:
            continue  # refused; test_every_game checks the reason
        for _ in range(3):
            for agent in (-1, *drawn.agents[:2]):
                check(drawn.list(agent))
            for renderer in drawn.renderers:
                assert renderer.frames(drawn.env._engine, [0]).max() > 0x20  # not all PUF_NIGHT
            drawn.play(4)


# --- single games ---------------------------------------------------------------------------------


def texts(shown):
    return [
        integers[5:].tobytes()[: integers[4]].decode()
        for op, _, _, integers in commands(shown.words)
        if op == TEXT
    ]


def paths(shown):
    """Yield (key, agent, points (n, 2)) of each line of a list; agent 2^32 - 1: it shows none."""
    key, agent = 0, 0xFFFFFFFF
    for op, number, floats, _ in commands(shown.words):
        key, agent = number if op == KEY else key, number if op == AGENT else agent
        if op == LINE:
            yield key, agent, floats[1:].reshape(-1, 2).copy()


def test_a_snake_that_respawns_has_a_new_key_and_one_that_lives_keeps_its_key():
    drawn = Drawn("snake", seed=4, respawn=0, max_steps=100_000)
    lives = dict.fromkeys(range(16), 0)
    keys = {}
    for _ in range(300):
        drawn.obs, _, terminated, *_ = drawn.env.step(actions_of(drawn.env, drawn.step))
        drawn.step += 1
        now = {agent: key for key, agent, points in paths(drawn.list()) if agent < 16}
        for agent, key in now.items():
            if agent in keys:
                assert (key != keys[agent]) == terminated[agent]
            lives[agent] += terminated[agent]
        keys = now
    assert min(lives.values()) > 1


def test_a_snakes_path_follows_its_head():
    """From one step to the next, each point of a path moves to where the point before it was."""
    drawn = Drawn("snake", seed=4, snakes=4, size=64)
    before, compared = {}, 0
    for _ in range(100):
        now = {key: points for key, agent, points in paths(drawn.list()) if agent < 4}
        for key, points in now.items():
            if key in before:
                old = before[key]
                assert len(points) - len(old) in (0, 1)
                assert np.abs(points[0] - old[0]).sum() == 1
                assert (points[1:] == old[: len(points) - 1]).all()
                compared += 1
        before = now
        drawn.play(1)
    assert compared > 100


def test_a_snake_sees_its_own_window_with_its_head_in_the_middle_and_ahead_up():
    """The discs of food in an agent's view are where the food of its observation is."""
    drawn, seen = Drawn("snake", seed=6), 0
    for _ in range(60):
        for agent in drawn.agents:
            shown = drawn.list(agent)
            assert shown.view == (-5, -5, 11, 11)
            food = {(y, x) for y, x in np.argwhere(drawn.obs[agent] == 2).tolist()}
            discs = set()
            for op, _, floats, _ in commands(shown.words):
                if op == DISC and abs(floats[2] - 0.27) < 1e-6:
                    discs.add((int(floats[1] + 4.5), int(floats[0] + 4.5)))
            assert discs == food
            seen += len(food)
            (own,) = [points for _, at, points in paths(shown) if at == agent]
            assert own[0].tolist() == [0.5, 0.5]
            assert len(own) == 1 or own[1].tolist() == [0.5, 1.5]  # its neck is behind it
        drawn.play(1)
    assert seen > 100


def test_breakout_shows_score_wall_balls_and_bricks():
    drawn = Drawn("breakout", seed=2)
    lost, score = 0, 0.0
    while lost < 2:  # stays where it is, so it misses
        drawn.obs, rewards, *_ = drawn.env.step(np.zeros(1, np.int32))
        score += rewards[0]
        lost = round(5 - (drawn.obs[0, 7] * 2 + 3))
        shown = drawn.list()
        assert texts(shown) == [f"{score:.0f}", "of 864", "wall 1 of 2"]
        assert numbers(shown, KEY) == [1, 7 - lost]  # the paddle, and a ball that is a new thing
        rows = list(commands(shown.words))
        balls = [c for op, c, f, _ in rows if op == DISC and f[1] < 0]
        assert balls.count(0xFFD45CFF) == 5 - lost
        bricks = [f for op, _, f, _ in rows if op == RECT and f[2] == np.float32(0.92)]
        assert len(bricks) == drawn.obs[0, 10:].sum()
    assert score > 0


def test_cartpole_draws_the_pole_at_its_angle_and_the_cart_at_its_place():
    drawn = Drawn("cartpole", seed=2).play(7)
    x, _, theta, _ = drawn.obs[0].astype(float)
    pole = [points for _, _, points in paths(drawn.list())][-1]
    assert pole[0, 0] == pytest.approx(2.8 + x, abs=1e-5)
    assert pole[1] - pole[0] == pytest.approx([np.sin(theta), -np.cos(theta)], abs=1e-5)


def test_squared_draws_the_agent_and_the_target_in_their_cells():
    drawn = Drawn("squared", seed=2, size=5).play(1)
    rows = list(commands(drawn.list().words))
    (ty, tx), (ay, ax) = (np.argwhere(drawn.obs[0] == value)[0] for value in (2, 1))
    discs = [f for op, _, f, _ in rows if op == DISC]
    assert discs[-1][:2] == pytest.approx([0.5 + 2 * (tx + 0.5), 1.5 + 2 * (ty + 0.5)])
    box = [f for op, _, f, _ in rows if op == RECT][-1]
    assert box[:2] + box[2:4] / 2 == pytest.approx([0.5 + 2 * (ax + 0.5), 1.5 + 2 * (ay + 0.5)])
    assert texts(drawn.list()) == ["step 1 of 15"]
