"""Keys of a terminal: names for what it sends, and presses that last for a while."""

import io
import os
import pty
import termios
import time

import pytest

from pufferenv.drawing.terminal_keys import FIRST, REPEATED, TerminalKeyboard, typed_keys


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a", [("a", False)]),
        ("A", [("a", True)]),
        ("a5 ,", [("a", False), ("5", False), ("space", False), ("comma", False)]),
        ("\x1b[A\x1b[B\x1bOC\x1b[D", [(k, False) for k in ("up", "down", "right", "left")]),
        ("\x1b[1;2D", [("left", True)]),
        ("\x1b[1;5D", [("left", False)]),  # with Ctrl
        ("\x1bOP\x1b[15~\x1b[17~", [("f1", False), ("f5", False), ("f6", False)]),
        ("\x1b[5~\x1b[3~\x1b[H", [("pageup", False), ("delete", False), ("home", False)]),
        ("\t\r\x7f\x1b", [(k, False) for k in ("tab", "enter", "backspace", "escape")]),
        ("\x1b[Z", [("tab", True)]),
        ("+=-", [("plus", False), ("plus", False), ("minus", False)]),
        ("\x00ü€", []),
    ],
)
def test_what_a_terminal_sends_are_keys(text, keys):
    assert typed_keys(text) == keys


def test_a_typed_key_is_held_until_it_would_have_been_repeated():
    keyboard = TerminalKeyboard(io.StringIO())
    assert keyboard.take("a", 10) == [("a", True)]
    assert keyboard.take("", 10 + FIRST * 0.9) == []
    assert keyboard.take("", 10 + FIRST * 1.1) == [("a", False)]
    assert keyboard.take("a", 20) == [("a", True)]
    assert keyboard.take("a", 20 + FIRST * 0.9) == []  # repeated: one press
    assert keyboard.take("a", 20 + FIRST * 0.9 + REPEATED / 2) == []
    assert keyboard.take("", 20 + FIRST * 0.9 + REPEATED * 2) == [("a", False)]


def test_a_key_that_is_typed_sooner_than_a_terminal_repeats_it_was_pressed_again():
    keyboard = TerminalKeyboard(io.StringIO())
    assert keyboard.take("a", 1) == [("a", True)]
    assert keyboard.take("aa", 1.1) == [("a", False), ("a", True)] * 2
    assert keyboard.take("a", 1.1 + FIRST * 0.9) == []
    assert keyboard.take("a", 1.1 + FIRST * 0.9 + 0.03) == []  # the terminal repeats it


def test_capital_letters_hold_shift_as_well():
    keyboard = TerminalKeyboard(io.StringIO())
    assert keyboard.take("A", 1) == [("shift", True), ("a", True)]
    assert keyboard.take("", 9) == [("shift", False), ("a", False)]


def test_keys_of_a_real_terminal_are_read_at_once_and_its_settings_restored():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stream:
        before = termios.tcgetattr(stream)
        with TerminalKeyboard(stream) as keyboard:
            assert not termios.tcgetattr(stream)[3] & termios.ICANON
            os.write(ours, b"\x1b[Aq")
            keyboard.wait(5)
            time.sleep(0.05)
            assert keyboard.events() == [("up", True), ("q", True)]
        assert termios.tcgetattr(stream)[3] == before[3]
    os.close(ours)


def test_from_a_stream_that_is_no_terminal_no_keys_come():
    with TerminalKeyboard(io.StringIO("abc")) as keyboard:
        keyboard.wait(0.001)
        assert keyboard.events() == []
