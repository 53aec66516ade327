"""Display lists between two steps; agents found in a list."""

from __future__ import annotations

import numpy as np
import pytest

from pufferenv.drawing._drawing import DisplayList, DisplayListError
from tests.support.display_lists import (
    NIGHT,
    agent,
    command,
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

VIEW = (0, 0, 100, 50)
FAR = 12  # per cent of the view's width


def shapes(shown: DisplayList) -> list[tuple[int, int, list[float]]]:
    """Return op, colour and floats of every command that is neither key nor agent."""
    found, at = [], 0
    while op := int(shown.words[at]) & 255:
        size = int(shown.words[at]) >> 8
        if op > 2:
            numbers = shown.words[at + 2 : at + size].view(np.float32).tolist()
            found.append((op, int(shown.words[at + 1]), numbers))
        at += size
    return found


def numbers(shown: DisplayList) -> list[list[float]]:
    return [floats for _, _, floats in shapes(shown)]


def test_a_thing_with_a_key_moves_and_changes_its_size_and_colour():
    before = display_list(key(7), disc(10, 20, 1, 0x000000FF), view=VIEW)
    after = display_list(key(7), disc(14, 16, 3, 0xFF8000FF), view=VIEW)
    ((_, colour, floats),) = shapes(before.interpolated(after, 0.25))
    assert floats == [11, 19, 1.5]
    assert colour == 0x402000FF


@pytest.mark.parametrize(
    ("make", "at"),
    [
        (lambda v: rect(v, 2, v + 1, v - 1, radius=v), lambda v: [v, 2, v + 1, v - 1, v]),
        (lambda v: ring(v, -v, v, 2 * v), lambda v: [v, -v, v, 2 * v]),
        (lambda v: path([(v, 1), (3, v)], v + 1), lambda v: [v + 1, v, 1, 3, v]),
        (lambda v: fill([(v, 1), (3, v), (0, 0)]), lambda v: [v, 1, 3, v, 0, 0]),
    ],
)  # fmt: skip
def test_every_number_of_a_shape_is_interpolated(make, at):
    before, after = (display_list(key(1), make(v), view=VIEW) for v in (2, 4))
    for t, v in ((0, 2), (0.25, 2.5), (0.5, 3), (0.75, 3.5), (1, 4)):
        assert numbers(before.interpolated(after, t)) == [at(v)]


def test_a_text_moves_and_keeps_its_letters():
    before = display_list(key(1), text(0, 0, 2, "one", align=1), view=VIEW)
    after = display_list(key(1), text(4, 8, 4, "three", align=1), view=VIEW)
    early, late = before.interpolated(after, 0.25), before.interpolated(after, 0.75)
    assert numbers(early)[0][:4] == [1, 2, 2.5, 1] and numbers(late)[0][:4] == [3, 6, 3.5, 1]
    assert early.words[9:10].tobytes() == b"one\0"
    assert late.words[9:11].tobytes() == b"three\0\0\0"


def test_at_the_ends_the_lists_are_those_of_the_steps():
    before = display_list(key(1), disc(0.1, 0.2, 0.3), key(0), rect(0, 0, 1, 1), view=VIEW)
    after = display_list(key(1), disc(7.7, 0.7, 0.9), key(2), disc(1, 1, 1), view=(1, 1, 100, 50))
    for t, shown in ((0, before), (1, after)):
        between = before.interpolated(after, t)
        np.testing.assert_array_equal(between.words, shown.words)
        assert between.view == shown.view


def test_the_nth_shape_of_a_key_goes_to_the_nth_wherever_it_stands():
    before = display_list(
        key(1), disc(0, 0, 1), key(2), disc(50, 0, 1), key(1), disc(10, 0, 1), view=VIEW
    )
    after = display_list(
        key(2), disc(52, 0, 1), key(1), disc(2, 0, 1), disc(12, 0, 1), disc(99, 9, 1), view=VIEW
    )
    assert [x for x, _, _ in numbers(before.interpolated(after, 0.25))] == [0.5, 50.5, 10.5]
    assert [x for x, _, _ in numbers(before.interpolated(after, 0.75))] == [51.5, 1.5, 11.5, 99]


def test_a_shape_of_another_kind_and_one_without_a_key_do_not_move():
    before = display_list(key(3), disc(0, 0, 1), key(0), disc(5, 5, 1), view=VIEW)
    after = display_list(key(3), rect(2, 2, 1, 1), key(0), disc(7, 7, 1), view=VIEW)
    assert numbers(before.interpolated(after, 0.49)) == [[0, 0, 1], [5, 5, 1]]
    assert numbers(before.interpolated(after, 0.5)) == [[2, 2, 1, 1, 0], [7, 7, 1]]


def test_a_thing_that_moves_too_far_jumps_at_half_time():
    before = display_list(key(1), disc(0, 0, 1), key(2), disc(0, 0, 1), view=VIEW)
    after = display_list(key(1), disc(FAR - 0.5, 0, 1), key(2), disc(0, FAR + 0.5, 1), view=VIEW)
    assert numbers(before.interpolated(after, 0.25)) == [[(FAR - 0.5) / 4, 0, 1], [0, 0, 1]]
    assert numbers(before.interpolated(after, 0.5))[1] == [0, FAR + 0.5, 1]


def test_what_belongs_to_one_key_jumps_together():
    before = display_list(key(1), disc(0, 0, 4), disc(1, 0, 1), key(2), disc(9, 9, 1), view=VIEW)
    after = display_list(
        key(1), disc(FAR + 1, 0, 4), disc(FAR - 1, 0, 1), key(2), disc(13, 9, 1), view=VIEW
    )
    assert numbers(before.interpolated(after, 0.25)) == [[0, 0, 4], [1, 0, 1], [10, 9, 1]]
    late = [[FAR + 1, 0, 4], [FAR - 1, 0, 1], [12, 9, 1]]
    assert numbers(before.interpolated(after, 0.75)) == late


def test_a_path_that_grows_at_its_end_moves_head_first():
    """A snake moves right from (2, 0) to (3, 0) and grows: its tail stays at (0, 0)."""
    before = display_list(key(1), path([(2, 0), (1, 0), (0, 0)], 1), view=VIEW)
    after = display_list(key(1), path([(3, 0), (2, 0), (1, 0), (0, 0)], 1), view=VIEW)
    early, late = before.interpolated(after, 0.25), before.interpolated(after, 0.75)
    assert numbers(early) == [[1, 2.25, 0, 1.25, 0, 0, 0]]
    assert numbers(late) == [[1, 2.75, 0, 1.75, 0, 0.75, 0, 0, 0]]


def test_the_view_moves_with_what_is_looked_at_unless_it_jumps():
    near, far = display_list(view=(2, 4, 96, 48)), display_list(view=(50, 0, 100, 50))
    here = display_list(view=VIEW)
    assert here.interpolated(near, 0.25).view == (0.5, 1, 99, 49.5)
    assert here.interpolated(far, 0.25).view == VIEW
    assert here.interpolated(far, 0.75).view == (50, 0, 100, 50)


def test_many_keys_are_found_in_any_order():
    order = np.random.default_rng(0).permutation(np.arange(1, 3000))
    before = display_list(*(w for k in order for w in (key(k), disc(k, 0, 1))), view=VIEW)
    after = display_list(*(w for k in order[::-1] for w in (key(k), disc(k + 4, 8, 1))), view=VIEW)
    moved = numbers(before.interpolated(after, 0.25))
    assert moved == [[k + 1, 2, 1] for k in order.tolist()]


def test_wrong_times_and_lists_are_refused():
    here = display_list(key(1), disc(0, 0, 1), view=VIEW)
    for t in (-0.01, 1.01, float("nan")):
        with pytest.raises(ValueError, match=r"t=.* must be from 0, this list, to 1"):
            here.interpolated(here, t)
    with pytest.raises(TypeError, match="must be a DisplayList"):
        here.interpolated(here.words, 0.5)
    wrong = display_list(key(1), disc(0, 0, float("nan")), view=VIEW)
    for first, second in ((here, wrong), (wrong, here)):
        for t in (0.25, 0.75):
            with pytest.raises(DisplayListError, match="not legal"):
                first.interpolated(second, t)


def test_random_words_are_interpolated_or_refused():
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        lists = []
        for _ in range(2):
            words = rng.integers(0, 2**32, 60, np.uint32)
            at = np.cumsum([0, *rng.integers(2, 9, 6)])
            words[at] = rng.integers(0, 9, 7) | rng.integers(2, 9, 7) << 8
            lists.append(DisplayList(words, VIEW))
        try:
            lists[0].interpolated(lists[1], 0.4)
        except DisplayListError:
            refused += 1
    assert 0 < refused < 300


# --- agents -------------------------------------------------------------------------------------


CROWD = display_list(
    rect(0, 0, 100, 50, NIGHT),
    agent(3), disc(20, 20, 5), rect(15, 10, 10, 1),
    agent(1), disc(24, 20, 5),
    agent(0), ring(60, 20, 8, 2),
    agent(2), path([(80, 10), (80, 20), (90, 20)], 4),
    agent(5), fill([(0, 30), (20, 30), (0, 50)]),
    agent(6), text(50, 45, 10, "III", align=0),
    agent(-1), rect(18, 18, 4, 4),
    view=VIEW,
)  # fmt: skip


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((16, 20), 3), ((20, 10.5), 3), ((22, 20), 1), ((20, 20), 1), ((40, 5), -1),
        ((60, 20), -1), ((69, 20), 0), ((60, 11), 0), ((79, 15), 2), ((84.9, 14.9), -1),
        ((91.5, 20), 2), ((92.5, 20), -1), ((3, 40), 5), ((15, 40), -1), ((50, 42), 6),
        ((50, 48.1), -1), ((-5, -5), -1),
    ],
)  # fmt: skip
def test_the_topmost_agent_at_a_place_is_found(place, expected):
    assert CROWD.agent_at(*place) == expected


def test_an_agent_is_found_near_its_shapes():
    assert CROWD.agent_at(93, 20) == -1 and CROWD.agent_at(93, 20, reach=1.5) == 2
    assert CROWD.agent_at(60, 20, reach=7.9) == -1 and CROWD.agent_at(60, 20, reach=8.1) == 0


def test_the_outline_of_an_agent_is_around_all_its_shapes():
    assert CROWD.outline(3) == (15, 10, 10, 15)
    assert CROWD.outline(0) == (50, 10, 20, 20)
    assert CROWD.outline(2) == (78, 8, 14, 14)
    assert CROWD.outline(5) == (0, 30, 20, 20)
    x, y, width, height = CROWD.outline(6)
    assert x + width / 2 == pytest.approx(50) and y == pytest.approx(37.4) and height == 10
    assert CROWD.outline(4) is None and CROWD.outline(-1) is None


def test_the_outline_of_a_text_is_around_its_pixels():
    shown = display_list(rect(0, 0, 64, 16, NIGHT), agent(0), text(2, 12, 12, "Agent gj"),
                         view=(0, 0, 64, 16))  # fmt: skip
    rows, columns = np.nonzero(picture(shown, 640, 160, 1)[..., 0] > 40)
    x, y, width, height = shown.outline(0)
    assert x * 10 - 3 <= columns.min() and columns.max() <= (x + width) * 10 + 3
    assert y * 10 - 3 <= rows.min() and rows.max() <= (y + height) * 10 + 3
    assert columns.max() - columns.min() > 0.9 * 10 * width


def test_a_list_that_is_cut_off_has_the_agents_before_the_cut():
    words = np.concatenate([agent(1), disc(10, 10, 5), agent(2), command(4, 0, 20, 20, 5)[:-1]])
    assert DisplayList(words, VIEW).agent_at(10, 10) == 1
    assert DisplayList(words, VIEW).outline(2) is None
