"""The rasterizer: areas, edges, layouts and blending, compared with a slow one in numpy."""

from __future__ import annotations

import hashlib
import math
import shutil
import subprocess
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferenv.drawing._drawing import DisplayList
from pufferenv.toolchain.incremental import compiler
from tests.support import slow_raster
from tests.support.display_lists import (
    NIGHT,
    WHITE,
    disc,
    display_list,
    fill,
    key,
    path,
    picture,
    rect,
    ring,
    text,
)
from tests.support.paths import ROOT

BLACK = 0x000000FF
GROUND = rect(-1, -1, 9999, 9999, BLACK)
RNG = np.random.default_rng(0)


def uniform(low: float, high: float) -> float:
    return float(RNG.uniform(low, high))


def cover(*commands, side=20):
    """Return how much of each pixel white shapes cover (H, W), 0 to 1; a unit is a pixel."""
    shown = display_list(GROUND, *commands, view=(0, 0, side, side))
    return picture(shown, side, channels=1)[..., 0] / 255.0


# --- area ---------------------------------------------------------------------------------------


def a_rect(size):
    x, y, width, height = uniform(4, 8), uniform(4, 8), uniform(0.5, 1) * size, size
    return rect(x, y, width, height), width * height


def a_round_rect(size):
    x, y, width, height = uniform(4, 8), uniform(4, 8), uniform(0.6, 1) * size, size
    radius = uniform(0, width / 2)
    return rect(x, y, width, height, radius=radius), width * height - (4 - math.pi) * radius**2


def a_disc(size):
    return disc(uniform(9, 11), uniform(9, 11), size / 2), math.pi * size**2 / 4


def a_ring(size):
    inner, width = size / 4, uniform(0.2, 1) * size / 4
    area = math.pi * ((inner + width) ** 2 - inner**2)
    return ring(uniform(9, 11), uniform(9, 11), inner, width), area


def a_line(width):
    (ax, ay), (bx, by) = ((uniform(4, 16), uniform(4, 16)) for _ in range(2))
    return path([(ax, ay), (bx, by)], width), math.hypot(
        bx - ax, by - ay
    ) * width + math.pi * width**2 / 4


def a_dot(width):
    return path([(uniform(9, 11), uniform(9, 11))], width), math.pi * width**2 / 4


def a_triangle(size):
    points = [(uniform(4, 8), uniform(4, 8)) for _ in range(3)]
    points = [(6 + (x - 6) * size / 4, 6 + (y - 6) * size / 4) for x, y in points]
    (ax, ay), (bx, by), (cx, cy) = points
    return fill(points), abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2


SHAPES = [a_rect, a_round_rect, a_disc, a_ring, a_line, a_dot, a_triangle]


@pytest.mark.parametrize("size", [0.3, 0.7, 1, 1.4, 2, 3, 5, 8])
@pytest.mark.parametrize("make", SHAPES, ids=lambda make: make.__name__)
def test_a_shape_covers_as_much_as_its_area(make, size):
    """Compare the sum over all pixels with the area: of 40 shapes at once, and of each."""
    covered, areas = [], []
    for _ in range(40):
        shape, area = make(size)
        covered.append(cover(shape).sum())
        areas.append(area)
    assert sum(covered) == pytest.approx(sum(areas), rel=0.02, abs=40 * 0.004)
    # One shape: bytes round, and a curved or slanted edge is right on average over its pixels.
    np.testing.assert_allclose(covered, areas, rtol=0.06, atol=0.45 * min(1, size))


@pytest.mark.parametrize("width", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("at", [5.0, 5.25, 5.5, 5.9])
def test_a_line_thinner_than_a_pixel_covers_its_width(width, at):
    for shape in (rect(0, at - width / 2, 20, width), path([(0, at), (20, at)], width)):
        columns = cover(shape)[:, 3:17].sum(0)
        np.testing.assert_allclose(columns, width, atol=2.1 / 255)
    np.testing.assert_allclose(
        cover(path([(at, 0), (at, 20)], width))[3:17].sum(1), width, atol=2.1 / 255
    )


def test_edges_on_whole_pixels_are_sharp():
    square = fill([(14, 4), (18, 4), (18, 8), (14, 8)])
    image = cover(rect(3, 4, 5, 6), path([(12, 4), (12, 12)], 2), square)
    expected = np.zeros((20, 20))
    expected[4:10, 3:8] = expected[4:12, 11:13] = expected[4:8, 14:18] = 1
    np.testing.assert_array_equal(image[4:8], expected[4:8])
    np.testing.assert_array_equal(image[:, :9], expected[:, :9])


def test_nothing_of_size_zero_is_seen():
    empty = [rect(5, 5, 0, 4), rect(5, 5, 4, 0), disc(5, 5, 0), ring(5, 5, 3, 0), ring(5, 5, 0, 0)]
    empty += [path([(5, 5), (9, 9)], 0), path([(5, 5)], 0), fill([(5, 5), (9, 9), (5, 5)])]
    empty += [text(5, 5, 0, "text"), text(5, 5, 5, ""), disc(5, 5, 3, 0xFFFFFF00)]
    assert cover(*empty).max() == 0


# --- a slow rasterizer ---------------------------------------------------------------------------

places = st.floats(-3, 23, width=16)
sizes = st.floats(0, 8, width=16)
colours = st.integers(0, 2**32 - 1)
# Points that turn to one side only: a polygon crosses itself nowhere.
angles = st.lists(st.floats(0, 6.25, width=16), min_size=3, max_size=7, unique=True).map(sorted)


def corners(x, y, size, turns):
    return [(x + size * math.cos(a), y + size * math.sin(a)) for a in turns]


shapes = st.one_of(
    st.builds(rect, places, places, sizes, sizes, colours, sizes),
    st.builds(disc, places, places, sizes, colours),
    st.builds(ring, places, places, sizes, sizes, colours),
    st.builds(
        lambda x0, y0, x1, y1, width, colour: path([(x0, y0), (x1, y1)], width, colour),
        *(places, places, places, places, st.floats(0.5, 8, width=16), colours),
    ),
    st.builds(
        lambda x, y, size, turns, colour: fill(corners(x, y, size, turns), colour),
        *(places, places, sizes, angles, colours),
    ),
)


@given(st.lists(shapes, min_size=1, max_size=6), st.integers(5, 30), st.integers(5, 30))
@settings(max_examples=60, deadline=None)
def test_pictures_are_those_of_a_slow_rasterizer(commands, width, height):
    """Compare with means over 16 x 16 points, which are 1/16 of a pixel off at straight edges."""
    shown = display_list(*commands, view=(-1, -1, 22, 22))
    ours = picture(shown, width, height).astype(np.float64)
    slow = slow_raster.raster(shown, width, height)
    error = np.abs(ours - slow)
    assert error.max() <= 16 + 20 * len(commands)
    assert error.mean() <= 1 + 1.5 * len(commands)


@pytest.mark.parametrize(
    "points",
    [
        [(2, 2), (18, 4), (9, 9), (16, 18), (3, 15)],  # not convex
        [(10 + 9 * math.sin(k * 2.513), 10 - 9 * math.cos(k * 2.513)) for k in range(5)],
        [(2, 2), (18, 2), (18, 18), (2, 18), (2, 2), (6, 6), (14, 6), (14, 14), (6, 14), (6, 6)],
        [(2, 2), (18, 2), (18, 18), (2, 18), (2, 2), (6, 6), (6, 14), (14, 14), (14, 6), (6, 6)],
        [(-40, 10), (10, -30), (60, 10), (10, 55)],  # mostly outside
        [(-2000, 9.5), (3000, 10.25), (3000, 12), (-2000, 12)],
    ],
    ids=["arrow", "star", "twice", "hole", "outside", "far"],
)  # fmt: skip
def test_polygons_are_filled_where_they_wind(points):
    shown = display_list(GROUND, fill(points), view=(0, 0, 20, 20))
    ours, slow = picture(shown, 40), slow_raster.raster(shown, 40, 40)
    error = np.abs(ours - slow)
    assert error.max() <= 60 and (error > 20).sum() <= 5 * 3  # pixels where edges cross
    assert ours.max() == 255


@pytest.mark.parametrize("least", [1e-45, 1e-40, 1e-38, 1e-30, 1e-21])
def test_an_edge_that_hardly_rises_changes_nothing(least):
    level = fill([(0, 0), (9, 0), (9, 9), (0, 9)])
    rises = fill([(0, 0), (9, least), (9, 9), (0, 9)])
    assert (cover(rises) == cover(level)).all()
    assert (cover(fill([(0, least), (9, 0), (0, 0)])) == 0).all()


def test_paths_of_many_points_are_those_of_a_slow_rasterizer():
    curve = [
        (10 + 0.03 * k * math.cos(k / 15), 10 + 0.03 * k * math.sin(k / 15)) for k in range(900)
    ]
    staircase = [(1 + k // 2 * 0.5, 2 + (k + 1) // 2 * 0.5) for k in range(60)]
    for points, width in ((curve, 0.8), (staircase, 0.2)):
        shown = display_list(GROUND, path(points, width), view=(0, 0, 20, 20))
        error = np.abs(picture(shown, 24) - slow_raster.raster(shown, 24, 24))
        assert error.max() < 100 and error.mean() < 2


TOOTH = ((0, 0), (0, 1), (1, 1), (1, 0))


def test_more_segments_than_fit_in_one_row_are_all_drawn():
    """Draw a comb of 400 teeth, as a path and as a polygon: upright strokes a pixel wide."""
    side, teeth = 800, 400
    comb = [(2.0 * (k // 2) + 0.5, (k + 1) // 2 % 2 * 800.0) for k in range(2 * teeth)]
    edge = [(2 * k + right, 700 * down) for k in range(teeth) for right, down in TOOTH]
    stripes = np.arange(side) % 2 == 0
    for shape in (path(comb, 1), fill([*edge, (800, -1), (0, -1)])):
        image = cover(shape, side=side)
        for row in (10, 345, 690):
            np.testing.assert_allclose(image[row], stripes, atol=1 / 255)


# --- blending ------------------------------------------------------------------------------------


def test_a_translucent_path_has_one_colour_at_its_joints_and_crossings():
    half = 0xFFFFFF80
    image = cover(path([(3, 3), (15, 3), (15, 12), (3, 12), (8, 3), (12, 16)], 2.5, half))
    assert image.max() == pytest.approx(128 / 255, abs=1 / 255)
    assert (np.abs(image - 128 / 255) < 1 / 255).sum() > 60


@pytest.mark.parametrize("alpha", [0, 1, 77, 128, 254, 255])
def test_colours_are_blended_by_alpha_and_coverage(alpha):
    shown = display_list(
        rect(0, 0, 8, 8, 0x102030FF), rect(1, 1, 3.25, 2, 0xC08040_00 | alpha), view=(0, 0, 8, 8)
    )
    image = picture(shown, 8).astype(int)
    for x, part in ((2, 1), (4, 0.25)):
        below, above = np.array([16, 32, 48]), np.array([192, 128, 64])
        expected = below + (above - below) * alpha / 255 * part
        np.testing.assert_allclose(image[2, x], expected, atol=1)
    assert image[0, 0].tolist() == [16, 32, 48]


# --- images --------------------------------------------------------------------------------------


def a_list(view=(0, 0, 32, 24)) -> DisplayList:
    """Return a list with every kind of shape, opaque and translucent, some of it outside."""
    return display_list(
        rect(0, 0, 32, 24, 0x151C33FF),
        rect(1.3, 1.1, 6, 3.7, 0xFF5D6CFF), rect(9, 1, 7.5, 4, 0xFF9F43C0, 1.25),
        rect(18.1, 1.2, 9, 0.07, WHITE), rect(18, 2, 0.4, 0.3, 0x36D1E8FF, 0.2),
        disc(22, 4, 1.9, 0xFFD45CFF), disc(24, 4.5, 1.9, 0x43DD9480), disc(27, 2, 0.06),
        ring(29, 4, 1.5, 0.4, 0xA67CFFFF), ring(29, 9, 0.2, 1.8, 0xA67CFF90),
        path([(1, 7), (4, 11), (7, 7), (7, 12), (2, 12)], 0.9, 0x4F8DFFB0),
        path([(9, 7), (15, 7), (15, 11)], 0.05), path([(17, 9)], 1.5, 0xFF7AC6FF),
        fill([(19, 7), (25, 8.5), (20, 12)], 0xFF5D6CFF),
        fill([(9, 9), (13, 12), (13, 9), (9, 12)], 0x36D1E8A0),
        key(1), text(1, 15.3, 2.1, "Score 1,234"), text(31, 15.4, 1.4, "right {~}", 0x8190B5FF, 1),
        text(16, 23, 6.5, "Big & g", 0xEEF2FFC0, 0), text(1, 17.2, 0.7, "small print: 0123456789"),
        key(0), text(1, 18.3, 0.7, "on whole pixels"), text(1, 20, 1, b"\x00\x80?"),
        rect(-5, 20, 8, 9, 0xFF9F4380), disc(33, 24, 4, 0xFF5D6C60),
        fill([(-9, 22), (5, 30), (40, 23.5)]),
        view=view,
    )  # fmt: skip


def test_every_layout_gets_the_same_colours():
    shown = a_list()
    rgb, rgba = picture(shown, 96, 80), picture(shown, 96, 80, 4)
    planes = np.zeros((3, 80, 96), np.uint8)
    shown.raster(planes.transpose(1, 2, 0))
    padded = np.full((80, 100, 5), 77, np.uint8)
    shown.raster(padded[:, 2:98, 1:4])
    turned = np.zeros((96, 80, 3), np.uint8)
    shown.raster(turned.transpose(1, 0, 2))
    np.testing.assert_array_equal(rgba[..., :3], rgb)
    assert (rgba[..., 3] == 255).all()
    np.testing.assert_array_equal(planes.transpose(1, 2, 0), rgb)
    np.testing.assert_array_equal(padded[:, 2:98, 1:4], rgb)
    assert (padded[:, :, [0, 4]] == 77).all() and (padded[:, [0, 1, 98, 99]] == 77).all()
    np.testing.assert_array_equal(turned.transpose(1, 0, 2), rgb)
    grey = picture(shown, 96, 80, 1)[..., 0]
    np.testing.assert_allclose(grey, rgb @ [0.299, 0.587, 0.114], atol=4)


def test_a_part_of_the_world_is_a_part_of_the_picture():
    """Show the quarter at the lower left in its own picture: the same pixels."""
    whole, part = picture(a_list(), 128, 96), picture(a_list((0, 12, 16, 12)), 64, 48)
    difference = np.abs(part.astype(int) - whole[48:, :64])
    assert difference.max() <= 1 and (difference > 0).mean() < 0.005  # places are rounded


def test_a_view_of_another_shape_is_in_the_middle_of_night():
    white = display_list(rect(-50, -50, 200, 200), view=(0, 0, 20, 10))
    image = picture(white, 40, 30)
    night = [NIGHT >> shift & 255 for shift in (24, 16, 8)]
    assert (image[5:25] == 255).all()
    assert (image[:5] == night).all() and (image[25:] == night).all()
    narrow = picture(display_list(rect(-50, -50, 200, 200), view=(0, 0, 7, 20)), 40, 20)
    assert (narrow[:, 17:24] == 255).all()  # 7 of 40 pixels, from a whole pixel on
    assert (narrow[:, :17] == night).all() and (narrow[:, 24:] == night).all()


def test_what_the_list_leaves_empty_is_night():
    image = picture(display_list(disc(5, 5, 1)), 16)
    assert image[15, 15].tolist() == [NIGHT >> shift & 255 for shift in (24, 16, 8)]


def test_one_pixel_and_the_largest_side_are_drawn():
    one = picture(display_list(rect(0, 0, 16, 16, 0x336699FF)), 1)
    assert one[0, 0].tolist() == [51, 102, 153]
    shapes = [rect(0, 0, 16, 16, BLACK), disc(8, 8, 7), ring(8, 8, 3, 2), text(0, 9, 9, "wide")]
    shapes += [path([(0, 0), (16, 16)], 1), fill([(0, 0), (16, 0), (8, 9)])]
    for size in ((8192, 3), (3, 8192)):
        assert picture(display_list(*shapes), *size).max() >= 254


# First 16 digits of the sha256 of pictures of `a_list`. A change of the rasterizer changes them:
# look at the games, and record these and those of tests/games/test_drawing.py again.
GOLDEN = {
    (640, 480, 3): "328801c76a72f03d",
    (160, 160, 4): "bb283d2c10685fe0",
    (84, 84, 1): "84dfe62c56d196e4",
    (33, 7, 3): "cb50fff0f585a377",
}  # fmt: skip


@pytest.mark.parametrize("size", list(GOLDEN), ids=str)
def test_pictures_are_the_same_bytes_on_every_machine(size):
    image = picture(a_list(), *size)
    assert hashlib.sha256(image.tobytes()).hexdigest()[:16] == GOLDEN[size]


# --- threads and memory --------------------------------------------------------------------------


def test_threads_draw_at_a_time():
    shown, images = a_list(), [np.zeros((120, 160, 3), np.uint8) for _ in range(8)]

    def draw(image: np.ndarray) -> None:
        for _ in range(50):
            shown.raster(image)

    threads = [threading.Thread(target=draw, args=(image,)) for image in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for image in images:
        np.testing.assert_array_equal(image, picture(shown, 160, 120))


def test_a_small_stack_is_enough():
    """Draw at the greatest width in a thread with 256 kB of stack."""
    image, done = np.zeros((40, 8192, 1), np.uint8), []
    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: done.append(a_list().raster(image)))
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert done == [None] and image.max() > 200


def test_the_rasterizer_calls_no_allocator_and_no_math_library(tmp_path):
    """Look at what its objects need: square roots are instructions, with or without a fallback."""
    if shutil.which("nm") is None:
        pytest.skip("there is no nm on PATH")
    names = ("raster", "list", "pixels", "box", "path", "fill", "text")
    files = [str(ROOT / f"pufferenv/drawing/{name}.c") for name in names]
    flags = ["-std=c17", "-O2", "-fPIC", "-ffp-contract=off", "-fno-math-errno", f"-I{ROOT}", "-c"]
    subprocess.run([*compiler(), *flags, *files], cwd=tmp_path, check=True)
    listed = subprocess.run(
        ["nm", "-u", *(f"{name}.o" for name in names)],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    needed = {line.split()[-1].lstrip("_") for line in listed.splitlines() if " U " in line}
    own = {name for name in needed if name.startswith("puf_")}
    allowed = {"memcpy", "memset", "memmove", "sqrtf", "floorf", "stack_chk_fail"}
    assert own and needed - own <= allowed | {"GLOBAL_OFFSET_TABLE_"}
