"""KeyMap: what rows of PUF_KEYS are legal, and which action the keys that are down mean."""

from itertools import combinations

import numpy as np
import pytest

from pufferenv import games
from pufferenv.drawing._drawing import KeyBinding
from pufferenv.drawing.key_names import CODES, name_of
from pufferenv.drawing.keys import KeyBindingError, KeyMap, KeyTable
from pufferenv.engine._engine import Axis, Head

MOVE, ATTACK = Head("move", "", 9), Head("attack", "", 3)
STEER, AIM = Axis("steer", "", -1.0, 1.0), Axis("aim", "", 2.0, 6.0)
HEADS, AXES = (MOVE, ATTACK), (STEER, AIM)
ROWS = (
    KeyBinding("move", 1, "right d", "right"),
    KeyBinding("move", 3, "up w", "up"),
    KeyBinding("move", 5, "left a", "left"),
    KeyBinding("move", 2, "up+right w+d", "up and right"),
    KeyBinding("attack", 1, "space", "hit"),
    KeyBinding("attack", 2, "f tap", "shoot"),
    KeyBinding("steer", -1, "j", "left"),
    KeyBinding("steer", 1, "l", "right"),
    KeyBinding("steer", 0.5, "k", "a little right"),
    KeyBinding("aim", 0, "mouse-x", "aim"),
    KeyBinding("aim", 6, "o", "far right"),
)
KEYS = KeyMap(ROWS, HEADS, AXES, game="arena")


def choices(*held: str, tapped: tuple[str, ...] = ()) -> list[int]:
    return KEYS.action(held, tapped)[0].tolist()


def values(*held: str, mouse: tuple[float, float] | None = None) -> list[float]:
    return KEYS.action(held, (), mouse)[1].tolist()


def test_with_no_key_heads_are_0_and_axes_0_clipped_to_their_range():
    got = KEYS.action(())
    assert got[0].tolist() == [0, 0] and got[0].dtype == np.int32
    assert got[1].tolist() == [0.0, 2.0] and got[1].dtype == np.float32


def test_any_key_of_a_row_will_do_and_heads_are_independent():
    assert choices("right") == choices("d") == choices("d", "right") == [1, 0]
    assert choices("right", "space") == choices("space", "d") == [1, 1]


def test_a_chord_counts_before_its_single_keys_in_any_order():
    for held in (
        ("up", "right"),
        ("right", "up"),
        ("w", "d"),
        ("right", "w", "d"),
        ("left", "w", "d"),
    ):
        assert choices(*held) == [2, 0]
    assert choices("up", "d") == [1, 0]  # no chord: the key pressed last


def test_of_opposite_keys_of_a_head_the_one_pressed_last_counts():
    assert choices("left", "right") == [1, 0]
    assert choices("right", "left") == [5, 0]


def test_opposite_keys_of_an_axis_cancel_and_sums_are_clipped():
    assert values("j") == [-1, 2] and values("l") == [1, 2]
    assert values("j", "l") == [0, 2] and values("j", "k") == [-0.5, 2]
    assert values("l", "k") == [1, 2]


def test_a_tap_counts_when_the_key_was_pressed_and_not_while_it_is_held():
    assert choices("f", tapped=("f",)) == [0, 2]
    assert choices(tapped=("f",)) == [0, 2]  # released already
    assert choices("f") == [0, 0]


def test_a_key_that_was_pressed_and_released_between_two_actions_counts():
    assert choices(tapped=("right",)) == [1, 0]


def test_the_mouse_sets_an_axis_to_its_place_and_keys_count_before_it():
    assert values(mouse=(0, 1)) == [0, 2] and values(mouse=(0.5, 0)) == [0, 4]
    assert values(mouse=(1, 0)) == [0, 6] and values(mouse=(7, 0)) == [0, 6]
    assert values("o", mouse=(0, 0)) == [0, 6]
    down = KeyMap([KeyBinding("steer", 0, "mouse-y", "")], (), AXES)
    up = KeyMap([KeyBinding("steer", -1, "mouse-y", "")], (), AXES)
    assert down.action((), (), (0, 0.75))[1][0] == 0.5
    assert up.action((), (), (0, 0.75))[1][0] == -0.5


def test_help_has_a_line_for_each_row():
    lines = KEYS.help()
    assert lines[0] == "right, d       right"
    assert lines[3] == "up+right, w+d  up and right"
    assert lines[5] == "f              shoot"
    assert len(lines) == len(ROWS)
    assert KeyMap([KeyBinding("move", 4, "q", "")], HEADS, ()).help() == ["q  move 4"]


def test_keys_to_action_has_what_gymnasium_looks_up():
    table = KEYS.keys_to_action()
    up, right, left, f = (CODES[key] for key in ("up", "right", "left", "f"))
    assert up == 1073741906 and CODES["a"] == ord("a")
    for codes, move in (((up,), 3), (tuple(sorted((up, right))), 2)):
        assert table[codes]["discrete"].tolist() == [move, 0]
        assert table[codes]["continuous"].tolist() == [0, 2]
    assert table[(f,)]["discrete"].tolist() == [0, 0]  # play() knows no taps
    assert all(codes == tuple(sorted(set(codes))) for codes in table)
    only = KeyMap(ROWS[:4], (MOVE,), ()).keys_to_action()
    assert only[(left,)] == 5 and isinstance(only[(left,)], int)
    steer = KeyMap(ROWS[6:8], (), (STEER,)).keys_to_action()
    assert steer[(ord("j"),)].tolist() == [-1]


def test_keys_to_action_stays_small_for_many_keys():
    head = Head("answer", "", 37)
    keys = [key for key in CODES if len(key) == 1]
    rows = [KeyBinding("answer", i, key, key) for i, key in enumerate(keys)]
    assert len(rows) == 36
    assert len(KeyMap(rows, (head,), ()).keys_to_action()) == 36 + 36 * 35 // 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("mvoe", 1, "a", ""), "'mvoe' is no head and no axis; did you mean 'move'"),
        (("move", 9, "a", ""), r"choice 9 of move must be a whole number in \[0, 8\]"),
        (("move", -1, "a", ""), r"choice -1 of move must be a whole number in \[0, 8\]"),
        (("move", 1.5, "a", ""), "choice 1.5 of move must be a whole number"),
        (("move", float("nan"), "a", ""), "choice nan of move"),
        (("steer", 2, "a", ""), r"value 2 of steer is outside its range \[-1, 1\]"),
        (("steer", float("nan"), "a", ""), "value nan of steer"),
        (
            ("move", 1, "Left", ""),
            "there is no key 'Left'; did you mean 'left'.*Keys: a to z, 0 to 9",
        ),
        (("move", 1, "spacebar", ""), "no key 'spacebar'; did you mean 'space'"),
        (("move", 1, "up+", ""), "there is no key ''"),
        (("move", 1, "", ""), "it has no key"),
        (("move", 1, "tap", ""), "it has no key"),
        (("move", 1, "tap a", ""), "'tap' stands at the end of a row"),
        (("move", 1, "shift", ""), "'shift' is reserved: it is held to take over"),
        (("move", 1, "a shift+b", ""), "'shift' is reserved"),
        (("move", 1, "escape", ""), "'escape' is reserved: it ends the game"),
        (("move", 1, "f5", ""), "'f5' is reserved"),
        (
            ("move", 1, "mouse-x", ""),
            "move is a head with 9 choices, and the mouse moves axes only",
        ),
        (("steer", 0, "mouse-x a", ""), "'mouse-x' stands alone in its row"),
        (("steer", 0, "mouse-x tap", ""), "'mouse-x' stands alone in its row"),
        (("steer", 0, "a+mouse-x", ""), "the mouse is in no chord"),
        (("move", 1, "up+up", ""), "'up\\+up' has a key twice"),
        (("move", 1, "a a", ""), "it has the same keys twice"),
        (("move", 1, "a+b b+a", ""), "it has the same keys twice"),
    ],
)
def test_a_wrong_row_raises_an_error_that_names_game_row_and_what_is_legal(row, message):
    with pytest.raises(
        KeyBindingError, match=r"(?s)^arena: row 2 of PUF_KEYS, X\(.*\): .*" + message
    ):
        KeyMap([KeyBinding("attack", 1, "space", ""), KeyBinding(*row)], HEADS, AXES, game="arena")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (("move", 1, "a b", "go"), ("move", 2, "b", ""), r"'b' is bound to 1 already \(go\)"),
        (("move", 1, "a+b", ""), ("move", 2, "b+a", ""), r"'a\+b' is bound to 1 already"),
        (("move", 1, "a", ""), ("move", 1, "a", ""), "'a' is bound to 1 already"),
        (("move", 1, "a", ""), ("move", 2, "a tap", ""), "'a' is bound to 1 already"),
        (("steer", 1, "a", ""), ("steer", -1, "a", ""), "'a' is bound to 1 already"),
        (("steer", 0, "mouse-x", ""), ("steer", 0, "mouse-y", ""), "the mouse moves this axis"),
    ],
)
def test_two_meanings_of_the_same_keys_raise_an_error(first, second, message):
    with pytest.raises(KeyBindingError, match=f"row 2 of PUF_KEYS.*{message}"):
        KeyMap([KeyBinding(*first), KeyBinding(*second)], HEADS, AXES, game="arena")


def test_one_key_may_act_on_two_heads():
    both = [KeyBinding("move", 1, "a", ""), KeyBinding("attack", 2, "a", "")]
    assert KeyMap(both, HEADS, ()).action(["a"])[0].tolist() == [1, 2]


def test_rows_of_choices_that_only_other_configs_have_are_left_out():
    memory = games.load("memory")
    few = memory.shapes(
        memory.pack({f.name: f.default for f in memory.config_fields} | {"cues": 2})
    )
    rows = [KeyBinding("answer", n, str(n), f"cue {n}") for n in range(1, 9)]
    keys = KeyMap(rows, few.heads, (), game="memory", widest=memory)
    assert keys.keys == ("1",) and keys.action(["5"])[0].tolist() == [0]
    with pytest.raises(
        KeyBindingError, match=r"choice 2 of answer must be a whole number in .0, 1"
    ):
        KeyMap(rows, few.heads, (), game="memory")
    with pytest.raises(KeyBindingError, match=r"choice 64 of answer .* in .0, 63"):
        KeyMap([KeyBinding("answer", 64, "a", "")], few.heads, (), widest=memory)


def test_keys_are_lower_case_with_shift_too_and_old_numbers_are_known():
    assert [name_of(ord(c)) for c in "aAzZ5;"] == ["a", "a", "z", "z", "5", "semicolon"]
    assert name_of(1073742049) == name_of(1073742053) == "shift"
    assert [name_of(code) for code in (273, 274, 275, 276)] == ["up", "down", "right", "left"]
    assert name_of(0) is name_of(-1) is name_of(10**9) is None
    assert all(name_of(code) == name for name, code in CODES.items())


def test_a_python_envs_table_takes_the_largest_entry_whose_keys_are_down():
    def action(n):
        return np.array([n], np.int32), np.zeros(0, np.float32)

    table = {(): action(1), (276,): action(0), ("d",): action(2), (276, ord("d")): action(1),
             ("w", "D"): action(3), (999,): action(4), "UP": action(4)}  # fmt: skip
    keys = KeyTable(table, (Head("action", "", 5),), ())
    assert keys and set(keys.keys) == {"left", "d", "w", "up"}
    for held, wanted in (
        ((), 1),
        (("left",), 0),
        (("d", "left"), 1),
        (("w", "d"), 3),
        (("w",), 1),
        (("up",), 4),
    ):
        assert keys.action(held)[0].tolist() == [wanted]
    assert keys.action((), ("d",))[0].tolist() == [2]  # pressed and released
    assert "left  action 0" in keys.help() and "no key  action 1" in keys.help()
    assert not KeyTable({(): action(1)}, (Head("action", "", 5),), ())


@pytest.mark.parametrize("end", ["min", "default", "max"])
@pytest.mark.parametrize("name", games.names())
def test_the_rows_of_every_game_are_right_and_reach_each_of_its_first_choices(name, end):
    game = games.load(name)
    config = {f.name: getattr(f, end) for f in game.config_fields}
    shapes = game.shapes(game.pack(config))
    keys = KeyMap(games.drawing(game).keys, shapes.heads, shapes.axes, game=name, widest=game)
    assert keys and all(line.split() for line in keys.help())
    reached = [keys.action(held, held)[0] for held in [(), *((key,) for key in keys.keys)]]
    reached += [keys.action(pair, pair)[0] for pair in combinations(keys.keys, 2)]
    for k, head in enumerate(shapes.heads):
        assert {int(choices[k]) for choices in reached} >= {*range(min(head.n, 10))}
