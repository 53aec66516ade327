"""Keyboard: presses and releases of keys become the keys of the next action."""

from pufferenv.drawing._drawing import KeyBinding
from pufferenv.drawing.keyboard import MOST_TAPS, Keyboard
from pufferenv.drawing.keys import KeyMap
from pufferenv.engine._engine import Head

ROWS = (
    KeyBinding("turn", 1, "left tap", ""),
    KeyBinding("turn", 2, "right tap", ""),
    KeyBinding("speed", 1, "up", ""),
    KeyBinding("speed", 2, "down", ""),
)
KEYS = KeyMap(ROWS, (Head("turn", "", 3), Head("speed", "", 3)), ())


def actions(keyboard: Keyboard, n: int) -> list[list[int]]:
    return [keyboard.action()[0].tolist() for _ in range(n)]


def test_a_held_key_acts_in_every_step_and_a_tap_once():
    keyboard = Keyboard(KEYS)
    keyboard.press("up")
    keyboard.press("left")
    assert actions(keyboard, 3) == [[1, 1], [0, 1], [0, 1]]
    keyboard.release("up")
    assert actions(keyboard, 1) == [[0, 0]]


def test_a_short_press_between_two_steps_is_not_lost():
    keyboard = Keyboard(KEYS)
    for key in ("down", "left"):
        keyboard.press(key)
        keyboard.release(key)
    assert actions(keyboard, 2) == [[1, 2], [0, 0]]


def test_taps_that_come_together_act_in_one_step_after_the_other():
    keyboard = Keyboard(KEYS)
    for key in ("left", "left", "right"):
        keyboard.press(key)
        keyboard.release(key)
    assert actions(keyboard, 4) == [[1, 0], [1, 0], [2, 0], [0, 0]]
    keyboard.press("left")
    keyboard.press("right")  # both are held
    assert actions(keyboard, 3) == [[1, 0], [2, 0], [0, 0]]


def test_the_repetition_of_a_held_key_is_no_press():
    keyboard = Keyboard(KEYS)
    for _ in range(5):
        keyboard.press("left")
    assert actions(keyboard, 2) == [[1, 0], [0, 0]]


def test_too_many_taps_are_dropped_and_clear_forgets_all():
    keyboard = Keyboard(KEYS)
    for _ in range(3 * MOST_TAPS):
        keyboard.press("left")
        keyboard.release("left")
    assert actions(keyboard, MOST_TAPS + 1) == [[1, 0]] * MOST_TAPS + [[0, 0]]
    keyboard.press("left")
    keyboard.press("up")
    keyboard.clear()
    assert actions(keyboard, 1) == [[0, 0]] and not keyboard.held


def test_the_key_pressed_last_counts_until_it_is_released():
    keyboard = Keyboard(KEYS)
    keyboard.press("up")
    keyboard.press("down")
    assert actions(keyboard, 1) == [[0, 2]]
    keyboard.release("down")
    assert actions(keyboard, 1) == [[0, 1]]
