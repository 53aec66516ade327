"""What puf_text writes, also of what env_load made."""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from tests.games.test_drawing import texts
from tests.support.paths import GAME_HEADERS


def test_texts_are_formatted_as_draw_h_says():
    """Like printf where it is known. Halves are rounded away from 0, and an unknown format ends it.

    The header passes invalid pointers after unknown formats, which must not be followed.
    """
    env = pufferenv.make(GAME_HEADERS / "text_draw.h", 1)
    env.reset()
    shown = games.drawing(env.game).draw(env._engine, 0, env.game_spec.packed)
    assert texts(shown) == [
        "0|-7|2147483647|-2147483648",
        "   42|00042|  -42|-0042|12345",
        "4294967295|  7",
        "-1234567890123|1234567890123",
        "az|word|",
        "1.500000|3|-0.3|1234.568|1.000000",
        "  3.14|-03.14|100.00|-0.0",
        "nan|huge|-huge",
        "100%|3|-4|0.500000|?",
        *["?"] * 4,
        "x" * 96,
        "",
    ]


@pytest.mark.parametrize("pixels", [0, 200])
def test_env_draw_sees_what_env_load_made(pixels):
    """As a list, and, when it is observed, as pixels of the same digits."""
    env = pufferenv.make(GAME_HEADERS / "loaded.h", 3, pixels=pixels)
    obs, _ = env.reset()
    if pixels:
        assert obs.max() > 0xC0
        return
    for _ in range(5):
        env.step(np.zeros(3, np.int32))
    shown = games.drawing(env.game).draw(env._engine, 2, env.game_spec.packed)
    assert texts(shown) == ["0", "1", "4", "9", "16", "25"]
