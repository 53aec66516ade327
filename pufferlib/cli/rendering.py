"""Flags of the commands that draw, and the screens that they ask for.

    --render human|terminal    watch at the game's pace
    --output FILE              write a GIF, WebP, MP4 or PNG file

Both may be given. Where there is no display for `--render human`, a file is written instead.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from pufferlib.config.section import ConfigError
from pufferlib.run.screens import LiveTerminal, LiveWindow, Screen, VideoFile

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

SECONDS = 60.0  # the most that a file lasts unless --seconds is given
MOST_WIDTH = 960  # pixels of a picture of several envs, unless --size is given
WINDOW_FPS = 60.0
MOST_FPS = 50.0  # of a file or a terminal by default; players of GIFs show no more
FALLBACK_SUFFIX = ".gif"


def add_arguments(parser: argparse.ArgumentParser, *, several_envs: bool = True) -> None:
    """Add the flags that `check` and `open_screens` read; `several_envs` adds `--render-envs`."""
    group = parser.add_argument_group("drawing")
    group.add_argument(
        "--render",
        choices=("human", "terminal"),
        metavar="human|terminal",
        help="watch in a window or in this terminal, at the game's pace",
    )
    group.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write a .gif, .webp or .mp4 file, or a .png of the last frame",
    )
    group.add_argument(
        "--seconds",
        type=float,
        help=f"length of the file (default: the first episode, at most {SECONDS:g} s)",
    )
    group.add_argument("--max-frames", type=int, metavar="N", help="frames of the file, at most")
    group.add_argument(
        "--speed",
        type=float,
        help="how fast it is played, in units of the game's own pace (default: 1)",
    )
    group.add_argument(
        "--fps",
        type=float,
        help="frames per second; more than the game has steps are interpolated (default: as many; "
        f"in a window {WINDOW_FPS:g})",
    )
    group.add_argument("--size", type=int, metavar="WIDTH", help="width of the picture in pixels")
    if several_envs:
        group.add_argument(
            "--render-envs",
            type=int,
            default=1,
            metavar="N",
            help="envs in the picture (default: 1)",
        )
    group.add_argument(
        "--agent", type=int, metavar="N", help="draw what this agent sees (default: everything)"
    )


def is_asked_for(args: argparse.Namespace) -> bool:
    """Return whether anything is to be drawn."""
    return bool(args.render or args.output)


def check(args: argparse.Namespace) -> None:
    """Raise ConfigError, ValueError or ImportError for flags that cannot be obeyed."""
    from pufferenv.drawing import video, window

    if not is_asked_for(args):
        given = [name for name in _ONLY_DRAWING if getattr(args, name, None) not in (None, 1)]
        if given:
            flag = given[0].replace("_", "-")
            raise ConfigError(f"--{flag} is about what is drawn: give --render or --output too")
        return
    if args.output:
        video.check_path(args.output)
    elif args.render == "terminal" and (args.seconds or args.max_frames):
        raise ConfigError("--seconds and --max-frames are the length of a file: give --output too")
    _in_range("--seconds", args.seconds, 0.01, 86_400, "seconds of the file")
    _in_range("--max-frames", args.max_frames, 1, 10**7, "frames of the file")
    _in_range("--speed", args.speed, 1 / 64, 64, "units of the game's pace")
    _in_range("--fps", args.fps, 0.1, video.MOST_FPS, "frames per second")
    _in_range("--size", args.size, 16, 4096, "width of the picture in pixels")
    _in_range("--render-envs", getattr(args, "render_envs", 1), 1, 256, "envs in the picture")
    if args.render == "human":
        window.load_pygame()
    if args.render == "terminal":
        _terminal()


_ONLY_DRAWING = ("seconds", "max_frames", "fps", "speed", "size", "render_envs", "agent")


def check_agent(agent: int | None, num_agents: int) -> None:
    """Raise ConfigError unless the game has the agent of `--agent`."""
    if agent is not None and not 0 <= agent < num_agents:
        raise ConfigError(f"--agent {agent} is outside [0, {num_agents - 1}]: agents of the game")


def without_display(args: argparse.Namespace, name: str) -> bool:
    """Replace `--render human` by a file if there is no display, and say so; return whether it was.

    name: of the game, which becomes that of the file.
    """
    from pufferenv.drawing import video, window

    if args.render != "human":
        return False
    try:
        window.check_display()
    except window.NoDisplay as error:
        reason = error.reason
    else:
        return False
    args.render = None
    if args.output:
        print(f"{reason}; only {args.output} is written", file=sys.stderr)
        return True
    args.output = _unused(name)
    video.check_path(args.output)
    print(
        f"{reason}; {args.output} is written instead. To choose a file: --output FILE; to watch "
        "here: --render terminal",
        file=sys.stderr,
    )
    return True


def open_screens(
    args: argparse.Namespace, title: str, pace: float, episodes: int = 1
) -> list[Screen]:
    """Return the screens that the flags ask for; `pace` is the game's, in steps per second.

    episodes: how many of them a file shows whose length is not given.
    """
    pace *= args.speed or 1
    fps = args.fps or min(pace, MOST_FPS)
    screens: list[Screen] = []
    if args.render == "human":
        screens.append(LiveWindow(title, args.fps or max(WINDOW_FPS, fps), pace))
    if args.render == "terminal":
        screens.append(LiveTerminal(_terminal(), fps, pace))
    if args.output:
        length_given = args.seconds is not None or args.max_frames is not None
        screens.append(
            VideoFile(
                args.output,
                fps,
                pace=pace,
                seconds=args.seconds or (math.inf if args.max_frames else SECONDS),
                max_frames=args.max_frames or math.inf,
                episodes=None if length_given or args.render else episodes,
            )
        )
    return screens


def frame_width(args: argparse.Namespace, spec: "GameSpec", evaluations: int = 1) -> int | None:
    """Return the width of one env's frame, so that the whole picture has that of `--size`.

    evaluations: how many are drawn side by side. None: the default of the game.
    """
    from pufferenv.drawing.rendering import DrawnByItself
    from pufferlib.run import watch

    is_one = evaluations == args.render_envs == 1
    if isinstance(spec.game, DrawnByItself) or (is_one and args.size is None):
        return None
    width = args.size or MOST_WIDTH
    return watch.frame_width(spec, width, evaluations=evaluations, envs=args.render_envs)


def describe_files(screens: list[Screen], quiet: bool) -> None:
    """Print a line about each file that was written; to stderr if stdout is for JSON."""
    for screen in screens:
        if isinstance(screen, VideoFile):
            print(screen.describe(), file=sys.stderr if quiet else sys.stdout)


def _terminal() -> TextIO:
    """Return stdout or else stderr, whichever is a terminal; raise ConfigError if none is."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            return stream
    raise ConfigError(
        "--render terminal needs a terminal, and neither stdout nor stderr is one: to write a "
        "file instead, give --output FILE.gif"
    )


def _unused(name: str) -> Path:
    """Return a file's name that does not exist in the current folder."""
    from pufferlib.run.directory import folder_name

    stem = folder_name(name)
    paths = [Path(f"{stem}{FALLBACK_SUFFIX}")]
    paths += [Path(f"{stem}-{n}{FALLBACK_SUFFIX}") for n in range(2, 1000)]
    return next((path for path in paths if not path.exists()), paths[0])


def _in_range(flag: str, value: float | None, low: float, high: float, what: str) -> None:
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{flag} {value:g} is outside [{low:g}, {high:g}]: {what}")
