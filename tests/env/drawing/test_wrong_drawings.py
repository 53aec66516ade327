"""Games that draw what cannot be shown: the errors that name the mistake."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from pufferenv.drawing._drawing import DisplayListError
from pufferenv.drawing.renderer import Renderer
from tests.support.checkouts import my_game
from tests.support.paths import GAME_HEADERS

# Each draws well for agent 0, and for everybody else after `after` steps no more.
WRONG = {
    "nan_draw": "draws puf_disc(nan, 5, 1) with a place that is not finite, or a size that is not "
    "finite or below 0",
    "negative_draw": "draws puf_disc(5, 5, -1) with a place that is not finite, or a size that is "
    "not finite or below 0",
    "long_draw": "draws a list of more than 16777216 words",
    "empty_look": "shows an area of 0 x 1 at 5, 5: puf_look needs finite numbers, and sizes above "
    "0",
    "nan_look": "shows an area of 1 x 1 at nan, 5: puf_look needs finite numbers, and sizes above "
    "0",
}


def played(name, steps):
    env = pufferenv.make(GAME_HEADERS / f"{name}.h", 2, after=3)
    env.reset()
    for _ in range(steps):
        env.step(np.zeros(4, np.int32))
    return env, Renderer(games.drawing(env.game), env.game_spec.packed, 40)


@pytest.mark.parametrize("name", WRONG)
def test_a_picture_that_cannot_be_shown_is_an_error_that_names_game_env_and_agent(name):
    env, renderer = played(name, 4)
    for agents, seen_by in ((None, "env 1"), ([1], "env 1, agent 1")):
        with pytest.raises(DisplayListError, match=f"^{name} {re.escape(WRONG[name])}: {seen_by}$"):
            renderer.frames(env._engine, [1], agents)


@pytest.mark.parametrize("name", WRONG)
def test_what_can_be_shown_is_drawn_before_and_after_an_error(name):
    env, renderer = played(name, 3)
    before = renderer.frames(env._engine, [0, 1])
    assert (before == (0x15, 0x1C, 0x33)).all()  # PUF_PANEL
    env.step(np.zeros(4, np.int32))
    with pytest.raises(DisplayListError):
        renderer.frames(env._engine, [0, 1])
    np.testing.assert_array_equal(renderer.frames(env._engine, [0, 1], [0, 0]), before)


def test_an_agent_that_the_game_does_not_have_is_refused():
    env, renderer = played("nan_draw", 0)
    for agent in (-2, 2, 1000):
        with pytest.raises(ValueError, match=rf"agent {agent} is not in \[-1, 2\): an env of nan_"):
            renderer.frames(env._engine, [0], [agent])


@pytest.mark.parametrize(
    ("macro", "error"),
    [
        ("PUF_VIEW(c) 0, 5", "my_game: PUF_VIEW is 0, 5; width and height must be above 0"),
        ("PUF_VIEW(c) 5, -1", "my_game: PUF_VIEW is 5, -1; width and height must be above 0"),
        ("PUF_VIEW(c) 5, 5\n#define PUF_PACE(c) 0", "PUF_PACE is 0 steps per second, and must be"),
    ],
)
def test_a_view_or_a_pace_of_nothing_is_an_error_that_names_the_macro(
    tmp_path, monkeypatch, macro, error
):
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    header = my_game(tmp_path)
    text = re.sub(r"#define PUF_PACE.*\n", "", header.read_text())
    header.write_text(re.sub(r"#define PUF_VIEW.*\n", f"#define {macro}\n", text))
    env = pufferenv.make(header, 1)
    with pytest.raises(DisplayListError, match=re.escape(error)):
        Renderer(games.drawing(env.game), env.game_spec.packed)


SHAPE = "draws a shape with a place that is not finite, or a size that is not finite or below 0"
FAULTS = {
    "nan_draw": SHAPE,
    "negative_draw": SHAPE,
    "long_draw": "draws a list of more than 2^24 words",
    "empty_look": "shows an area that is empty or not finite",
    "nan_look": "shows an area that is empty or not finite",
}


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_an_observed_picture_that_cannot_be_drawn_is_a_fault_of_game_env_agent_and_step(
    name, debug
):
    header = GAME_HEADERS / f"{name}.h"
    env = pufferenv.make(header, 2, after=3, pixels=8, pixel_channels=3, debug=debug)
    env.reset()
    for _ in range(3):
        obs, *_ = env.step(np.zeros(4, np.int32))
    assert (obs == np.array([0x15, 0x1C, 0x33]).reshape(1, 3, 1, 1)).all()  # PUF_PANEL
    where = "env 0, agent 1, step 4"
    with pytest.raises(RuntimeError, match=f"^{name} {re.escape(FAULTS[name])}: {where}$"):
        env.step(np.zeros(4, np.int32))
