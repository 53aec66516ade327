"""Screens: files of the right length, the pace and the keys of windows and terminals."""

import io
import os
import pty
import sys

import numpy as np
import pytest
from PIL import Image

from pufferenv.drawing import video
from pufferenv.drawing.window import Click, Events
from pufferlib.run import screens
from pufferlib.run.screens import Live, LiveTerminal, LiveWindow, TerminalKeys, VideoFile


def frame(shade=0):
    return np.full((20, 30, 3), shade, np.uint8)


def delays(path):
    with Image.open(path) as file:
        found = []
        for i in range(file.n_frames):
            file.seek(i)
            found.append(file.info["duration"] / 1000)
    return found


# --- files ---------------------------------------------------------------------------------------


def test_a_file_ends_with_the_episode_whose_last_frame_stays(tmp_path):
    file = VideoFile(tmp_path / "x.gif", 10, episodes=1)
    assert all(file.show(frame(i)) for i in range(5))
    assert not file.show(frame(200), last=True)
    file.close()
    assert delays(file.path) == [0.1] * 5 + [screens.HOLD]
    assert file.describe().startswith(f"wrote {file.path}: 30 x 20, 1.5 s, 15 frames, ")


@pytest.mark.parametrize(
    ("length", "frames"), [({"seconds": 0.7}, 7), ({"max_frames": 3}, 3), ({"seconds": 1e-9}, 1)]
)
def test_a_file_ends_after_its_seconds_or_its_frames(length, frames, tmp_path):
    file = VideoFile(tmp_path / "x.gif", 10, **length)
    shown = 1
    while file.show(frame(shown)):
        shown += 1
    file.close()
    assert shown == len(delays(file.path)) == frames


def test_a_file_with_more_frames_than_steps_has_pictures_between_them(tmp_path):
    file = VideoFile(tmp_path / "x.gif", 20, pace=5)
    assert file.between and file.times(first=True) == [1]
    assert file.times() == [0.25, 0.5, 0.75, 1]
    file = VideoFile(tmp_path / "x.gif", 5, pace=10)
    assert not file.between and file.times(first=True) == [1]
    assert [file.times(), file.times(), file.times(last=True)] == [[], [1], [1]]


def test_a_file_without_a_frame_is_said_to_be_none(tmp_path):
    file = VideoFile(tmp_path / "x.gif", 10)
    file.close()
    assert file.describe() == f"{tmp_path}/x.gif: no frame was drawn, so there is no file"
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_could_not_be_written_is_said_to_be_none(tmp_path, monkeypatch):
    (tmp_path / "x.gif").write_bytes(b"an older one")
    file = VideoFile(tmp_path / "x.gif", 10)
    file.show(frame())

    def fail(self, frame):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video.Gif, "add", fail)
    with pytest.raises(video.VideoError, match="No space left"):
        file.show(frame())
    file.close()
    assert file.describe() == f"{tmp_path}/x.gif was not written"


def test_a_picture_is_described_without_a_length(tmp_path):
    file = VideoFile(tmp_path / "x.png", 10)
    file.show(frame())
    file.close()
    assert "s, " not in file.describe()


# --- the time of live screens --------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still, but for sleeping."""
    now = [1000.0]
    monkeypatch.setattr(screens.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(screens.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))
    return now


def test_each_frame_takes_its_time_and_a_late_one_shortens_the_next(clock):
    live = Live(10, 10)
    assert live.next_due(False) == pytest.approx(1000.1)
    clock[0] = 1000.1
    assert live.next_due(False) == pytest.approx(1000.2)
    clock[0] = 1000.25  # 0.05 late
    assert live.next_due(False) == pytest.approx(1000.3)
    clock[0] = 1003.0  # a pause
    assert live.next_due(False) == pytest.approx(1003.1)
    clock[0] = 1003.1
    assert live.next_due(True) == pytest.approx(1003.1 + screens.HOLD)


def test_where_drawing_cannot_keep_up_frames_between_steps_are_left_out(clock):
    live = Live(40, 10)
    live.next_due(False)
    assert live.times(first=True, last=False) == [1]
    assert live.times(first=False, last=False) == [0.25, 0.5, 0.75, 1]
    due = live.next_due(False)
    clock[0] = due + 0.03  # more than a frame late
    assert live.times(first=False, last=False) == [1]
    assert live.next_due(False) == pytest.approx(due + 4 / 40)  # the whole step takes its time


def test_keys_change_the_speed_pause_and_end(clock):
    live = Live(10, 10)
    for _ in range(10):
        live.press("plus")
    assert live.speed == 64
    assert [live.times(True, False), live.times(False, False)] == [[1], []]
    for _ in range(20):
        live.press("minus")
    assert live.speed == 1 / 16
    for key in ("a", "left"):
        live.press(key)
    assert not live.paused and not live.ended
    live.press("space")
    assert live.paused
    live.press("space")
    assert not live.paused
    for key in ("q", "escape"):
        live = Live(10, 10)
        live.press(key)
        assert live.ended


class FakeWindow:
    """A window of which a test scripts the events."""

    script: list[Events] = []  # noqa: RUF012
    made: list["FakeWindow"] = []  # noqa: RUF012

    def __init__(self, title, width, height):
        self.title, self.size, self.shown, self.closed = title, (width, height), [], False
        self.made.append(self)

    def show(self, frame):
        self.shown.append(frame)

    def events(self):
        return self.script.pop(0) if self.script else events()

    def wait(self, until):
        screens.time.sleep(max(0.0, until - screens.time.monotonic()))

    def close(self):
        self.closed = True


def events(*taps, closed=False, resized=False, clicks=()):
    places = tuple(Click(1, *place) for place in clicks)
    return Events((), frozenset(), taps, places, None, closed, resized)


@pytest.fixture
def window(monkeypatch, clock):
    monkeypatch.setattr(screens, "Window", FakeWindow)
    FakeWindow.script, FakeWindow.made = [], []
    return LiveWindow("squared: x", 10)


def test_a_window_is_opened_by_its_first_frame_and_keeps_the_pace(window, clock):
    window.close()
    assert FakeWindow.made == []
    start = clock[0]
    assert all(window.show(frame(i)) for i in range(5))
    (made,) = FakeWindow.made
    assert made.title == f"squared: x ({screens.KEYS_HELP})"
    assert (made.size, len(made.shown)) == ((30, 20), 5)
    assert clock[0] - start == pytest.approx(0.5)
    window.close()
    assert made.closed


@pytest.mark.parametrize("event", [events("q"), events("escape"), events(closed=True)])
def test_a_window_ends_by_a_key_or_by_being_closed(event, window):
    assert window.show(frame())
    FakeWindow.script = [event]
    assert not window.show(frame())


def test_a_paused_window_shows_its_frame_until_it_goes_on(window, clock):
    FakeWindow.script = [events("space"), *[events()] * 100, events("space")]
    start = clock[0]
    assert window.show(frame())
    assert FakeWindow.script == [] and clock[0] - start > 1


def test_a_window_reports_each_click_once(window):
    FakeWindow.script = [events(clicks=[(3, 4), (5, 6)]), events(clicks=[(7, 8)])]
    assert window.show(frame()) and window.show(frame())
    assert window.take_clicks() == [(3, 4), (5, 6), (7, 8)]
    assert window.take_clicks() == []


def test_a_resized_window_shows_its_frame_again(window):
    FakeWindow.script = [events(resized=True)]
    assert window.show(frame())
    assert len(FakeWindow.made[0].shown) == 2


# --- terminals -----------------------------------------------------------------------------------


@pytest.fixture
def terminal():
    """The two ends of a terminal: (what the program has, what the person has)."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as raw, io.TextIOWrapper(raw) as stream:
        yield stream, ours
    os.close(ours)


def test_a_terminal_reports_keys_at_once_and_gets_its_settings_back(terminal):
    import termios

    stream, person = terminal
    keys, before = TerminalKeys(stream), termios.tcgetattr(stream)
    keys.open()
    assert not termios.tcgetattr(stream)[3] & (termios.ICANON | termios.ECHO)
    assert keys.wait(0) == []
    for typed, expected in (
        (b"q", ["q"]),
        (b"Q", ["q"]),
        (b"+ -", ["plus", "space", "minus"]),
        (b"\x1b", ["escape"]),
        (b"\x1b[A", []),  # an arrow
    ):
        os.write(person, typed)
        assert keys.wait(5) == expected
    keys.close()
    keys.close()
    assert termios.tcgetattr(stream) == before


def test_what_is_no_terminal_has_no_keys(clock):
    keys = TerminalKeys(io.StringIO("q"))
    keys.open()
    assert keys.wait(0.5) == [] and clock[0] == 1000.5
    keys.close()


class Stream(io.StringIO):
    """A terminal of 40 x 12 that keeps what is written."""

    def isatty(self):
        return True


def test_a_terminal_shows_frames_with_the_status_and_is_given_back(monkeypatch, clock):
    monkeypatch.setattr(screens.Terminal, "size", property(lambda self: (100, 12)), raising=True)
    stream = Stream()
    screen = LiveTerminal(stream, 10, keys=io.StringIO())
    start = clock[0]
    assert screen.show(frame(), "step 1") and screen.show(frame(200), "step 2")
    assert clock[0] - start == pytest.approx(0.2)
    screen.close()
    screen.close()
    text = stream.getvalue()
    assert "step 1   q ends, space pauses" in text and "step 2" in text
    assert text.count("\x1b[?1049h") == text.count("\x1b[?1049l") == 1
    assert text.rstrip().endswith("\x1b[?1049l")


def test_a_terminal_ends_by_a_key(monkeypatch, terminal):
    monkeypatch.setattr(screens.Terminal, "size", property(lambda self: (100, 12)))
    stream, person = terminal
    screen = LiveTerminal(Stream(), 1000, keys=stream)
    assert screen.show(frame())
    os.write(person, b"q")
    for _ in range(5000):  # the key arrives when the system hands it over
        if not screen.show(frame()):
            break
    else:
        pytest.fail("the key had no effect")
    screen.close()


def test_stdin_is_read_by_default(monkeypatch):
    stdin = io.StringIO()
    monkeypatch.setattr(sys, "stdin", stdin)
    assert LiveTerminal(Stream(), 10)._keys._stream is stdin
