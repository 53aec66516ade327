"""The section "Draw a game" of docs/drawing.md: its examples compile and draw, its names exist."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from pufferenv.drawing._drawing import DisplayList
from pufferenv.drawing.renderer import Renderer
from tests.games.test_drawing import texts
from tests.support.checkouts import my_game
from tests.support.paths import ROOT

DOCUMENT = (ROOT / "docs" / "drawing.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## Draw a game\n(.*?)^## ", DOCUMENT, re.M | re.S)[1]
EXAMPLES = re.findall(r"^```c\n(.*?)^```", SECTION, re.M | re.S)
HEADER = (ROOT / "pufferenv" / "draw.h").read_text(encoding="utf-8")
CONTRACT = (ROOT / "pufferenv" / "env.h").read_text(encoding="utf-8")


def pixels(words, size):
    """Draw words, numbers and texts of commands, into a grey picture of a view of size x size."""
    encoded = [np.array([w], np.float32 if isinstance(w, float) else np.uint32) for w in words]
    image = np.zeros((800, 800, 1), np.uint8)
    DisplayList(np.concatenate([*(w.view(np.uint32) for w in encoded), [0]]), (0, 0, *size)).raster(
        image
    )
    return image[..., 0]


def text(content):
    """Draw a text of size 1 at (1, 2) of a view of 8 x 8; 100 pixels are 1 unit."""
    padded = content.encode() + bytes(-len(content) % 4)
    words = np.frombuffer(padded, np.uint32).tolist()
    head = [8 | (7 + len(words)) << 8, 0xFFFFFFFF, 1.0, 2.0, 1.0, -1.0, len(content)]
    return pixels([*head, *words], (8, 8))


@pytest.fixture
def undrawn(tmp_path, monkeypatch):
    """A game without a drawing, of which the examples make a drawn one."""
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    header = my_game(tmp_path)
    content = header.read_text().partition("\nstatic void env_draw")[0]
    content = re.sub(r"^#define PUF_(VIEW|PACE|KEYS).*\n(    .*\n)*", "", content, flags=re.M)
    header.write_text(content)
    return header


def with_examples(header, view, draw):
    """Put `view` above the #include and `draw` at the end; -> an env and its Renderer."""
    include = '#include "pufferenv/env.h"\n'
    content = header.read_text()
    assert include in content
    header.write_text(content.replace(include, view + include) + "\n" + draw)
    env = pufferenv.make(header, 1)
    env.reset()
    return env, Renderer(games.drawing(env.game), env.game_spec.packed, 100)


def test_the_smallest_example_draws_any_game(undrawn, capfd):
    """It is also what the error shows that a game without a drawing gets; gcc finds no fault."""
    view, draw, _ = EXAMPLES
    with pytest.raises(games.NotDrawn) as caught:
        games.drawing(games.load(undrawn))
    assert f"\n\n{draw}\n" in str(caught.value)
    assert f"`{view.partition('//')[0].strip()}`" in str(caught.value)
    env, renderer = with_examples(undrawn, view, draw)
    assert capfd.readouterr().err == ""
    (frame,) = renderer.frames(env._engine, [0])
    assert frame.shape == (100, 100, 3)
    assert frame[0, 0].tolist() == [0x0B, 0x10, 0x20]  # PUF_NIGHT
    assert frame.max() > 0xD0  # the text
    assert texts(renderer.lists(env._engine, [0])[0]) == ["my_game"]
    assert renderer.pace == 15


def test_the_example_of_one_agents_view_moves_the_picture(undrawn):
    view, draw, look = EXAMPLES
    here = f"    const float x = 2, y = 3;\n    {look}"
    env, renderer = with_examples(
        undrawn, view, draw.replace("    puf_rect", here + "    puf_rect")
    )
    everybodys, own = (renderer.lists(env._engine, [0], agent)[0] for agent in (-1, 0))
    assert everybodys.view == (0, 0, 10, 10)
    assert own.view == (-3, -2, 10, 10)


def test_functions_colours_and_formats_are_those_of_draw_h():
    functions = set(re.findall(r"\b(puf_[a-z]+)\b", SECTION)) - {"puf_line_"}
    defined = set(re.findall(r"\b(puf_[a-z]+)\(", HEADER))
    assert functions <= defined
    assert {"puf_rect", "puf_round", "puf_disc", "puf_ring", "puf_line", "puf_path"} <= functions
    colours = re.findall(r"^#define (PUF_[A-Z]+) 0x", HEADER, re.M)
    assert set(re.findall(r"`(PUF_[A-Z]+)`", SECTION)) - {"PUF_VIEW", "PUF_KEYS"} == set(colours)
    formats = re.search(r"`(%d [^`]*)`", SECTION)[1]
    assert formats in " ".join(HEADER.replace("//", " ").split()).replace(" and %%", " %%")


def test_the_error_of_a_drawing_without_a_view_is_that_of_env_h():
    (message,) = re.findall(r"`(env_draw needs [^`]*)`", SECTION)
    assert message in CONTRACT


def right_end(content):
    """Return the right end of a text, in its sizes from its left end."""
    return (np.nonzero(text(content) > 128)[1].max() + 1) / 100 - 1


def test_characters_are_as_large_as_the_section_says():
    rows = np.nonzero(text("H") > 128)[0]
    assert rows.max() == pytest.approx(199, abs=1)  # on the baseline
    assert (rows.max() + 1 - rows.min()) / 100 == pytest.approx(0.73, abs=0.01)
    for digit in "0123456789":
        assert right_end(digit + "|") - right_end("|") == pytest.approx(0.7, abs=0.02)
    for content in ("step 1", "40 of 99"):
        assert right_end(content) == pytest.approx(0.6 * len(content), abs=0.08 * len(content))


def test_what_is_thinner_than_a_pixel_is_fainter():
    thin, thinner = (
        pixels([3 | 7 << 8, 0xFFFFFFFF, 1.0, 1.0, 1.0, width, 0.0], (800, 800)).max()
        for width in (0.5, 0.25)
    )
    assert 255 > thin > thinner > 0
