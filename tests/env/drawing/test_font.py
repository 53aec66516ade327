"""Text: the atlas of the package, compared with the font that it is made from."""

from __future__ import annotations

import numpy as np
import pytest

from pufferenv.drawing.font import GLYPHS, read_font
from tests.support.display_lists import display_list, key, picture, rect, text

BLACK = rect(-1, -1, 9999, 9999, 0x000000FF)
FINE = 8  # pixels of the reference per pixel
SIGNS = "".join(map(chr, range(33, 127)))


def drawn(*commands, width, height=None):
    """Return how much of each pixel white text covers (H, W), 0 to 1; a unit is a pixel."""
    height = height or width
    shown = display_list(BLACK, *commands, view=(0, 0, width, height))
    return picture(shown, width, height, 1)[..., 0] / 255.0


def reference(string: str, size: float, x: float, y: float, side: int) -> np.ndarray:
    """Return the same by Pillow and FreeType, from the font in matplotlib's package."""
    matplotlib = pytest.importorskip("matplotlib", reason="it has DejaVu Sans Bold")
    pillow = pytest.importorskip("PIL.Image", reason="it draws the reference")
    from PIL import ImageDraw, ImageFont

    path = matplotlib.get_data_path() + "/fonts/ttf/DejaVuSans-Bold.ttf"
    font = ImageFont.truetype(path, size * FINE, layout_engine=ImageFont.Layout.BASIC)
    large = pillow.new("L", (side * FINE, side * FINE), 0)
    ImageDraw.Draw(large).text((x * FINE, y * FINE), string, 255, font, anchor="ls")
    return np.asarray(large).reshape(side, FINE, side, FINE).mean((1, 3)) / 255


@pytest.mark.parametrize("size", [10, 17, 32, 60])
def test_every_glyph_is_that_of_the_font(size):
    side, errors = 2 * size, []
    pen = size // 4, size + size // 3
    for sign in SIGNS:
        ours = drawn(text(*pen, size, sign), width=side)
        theirs = reference(sign, size, *pen, side)
        error = np.abs(ours - theirs)
        errors.append(error.max())
        assert ours.sum() == pytest.approx(theirs.sum(), rel=0.17, abs=0.4), sign
        assert error.max() < 0.55, sign  # a point of a sharp corner
    assert np.mean(errors) < 0.3


def test_letters_follow_each_other_as_the_font_says():
    string, size = "Score 1,234 of 864", 24
    ours = drawn(text(5, 40, size, string), width=300)
    theirs = reference(string, size, 5, 40, 300)
    assert np.abs(ours.sum(0).cumsum() - theirs.sum(0).cumsum()).max() < 25  # of 1,600: 1 letter
    last = [np.nonzero(image.sum(0) > 0.3)[0].max() for image in (ours, theirs)]
    assert abs(last[0] - last[1]) <= 2  # kerning, which ours leaves out


@pytest.mark.parametrize("size", [1, 1.6, 2.2, 3, 4, 5, 7])
def test_small_text_has_the_ink_of_the_font(size):
    string = "Score 1234"
    ours = drawn(text(3, 10, size, string), width=60).sum()
    assert ours == pytest.approx(reference(string, size, 3, 10, 60).sum(), rel=0.2)


def test_text_too_small_to_see_is_left_out():
    assert drawn(text(3, 10, 0.5, "Score"), width=20).max() == 0


def columns(image: np.ndarray) -> tuple[int, int]:
    inked = np.nonzero(image.max(0) > 0.1)[0]
    return int(inked.min()), int(inked.max())


def test_align_places_the_left_end_the_middle_or_the_right_end():
    string = "HIIH"  # as far from its ends on both sides
    images = [drawn(text(60, 40, 20, string, align=align), width=120) for align in (-1, 0, 1)]
    left, middle, right = map(columns, images)
    width = left[1] - left[0]
    assert 60 < left[0] <= 64
    assert 56 <= right[1] < 60
    assert abs(middle[0] + middle[1] - 119) <= 1
    assert abs(right[1] - right[0] - width) <= 1 and abs(middle[1] - middle[0] - width) <= 1


@pytest.mark.parametrize("byte", [0, 10, 31, 127, 128, 255])
def test_an_unknown_byte_is_a_question_mark(byte):
    unknown = drawn(text(3, 20, 20, b"a" + bytes([byte]) + b"b"), width=60)
    np.testing.assert_array_equal(unknown, drawn(text(3, 20, 20, "a?b"), width=60))


def test_text_that_moves_is_drawn_between_pixels_and_other_text_on_whole_ones():
    still = [drawn(text(3, y, 12, "Hi"), width=30) for y in (19.6, 20.0, 20.4)]
    np.testing.assert_array_equal(still[0], still[1])
    np.testing.assert_array_equal(still[2], still[1])
    assert still[1][20].max() == 0 and still[1][19].max() > 0.9  # a sharp baseline
    moving = [drawn(key(1), text(3, y, 12, "Hi"), width=30) for y in (19.6, 20.0, 20.4)]
    np.testing.assert_array_equal(moving[1], still[1])
    assert 0.3 < moving[2][20].max() < 0.5


def test_text_is_cut_off_at_the_edges_of_the_picture():
    whole = drawn(text(20, 40, 30, "Word"), width=120)
    for x, y, part in ((-20, 0, whole[:, 40:80]), (-60, -20, whole[20:60, 80:])):
        size = part.shape[::-1]
        shown = display_list(BLACK, text(20 + x - 20, 40 + y, 30, "Word"), view=(0, 0, *size))
        ours = picture(shown, *size, 1)[..., 0] / 255.0
        np.testing.assert_allclose(ours, part, atol=1.01 / 255)


def test_the_atlas_has_all_glyphs_with_room_around_them():
    font = read_font()
    assert len(font.glyphs) == GLYPHS == 95
    assert font.glyphs["width"][0] == 0  # a blank
    for glyph in font.glyphs[1:]:
        x, y, width, height = (int(glyph[name]) for name in ("x", "y", "width", "height"))
        box = font.distances[y : y + height, x : x + width]
        assert box.shape == (height, width) and box.max() > 128
        frame = np.concatenate([box[0], box[-1], box[:, 0], box[:, -1]])
        assert frame.max() < 128 - 0.7 * 127  # at least 0.7 of the reach from the outline
        assert 0.2 < glyph["advance"] < 1.2
