"""`puffer play`: a person plays a game, alone or in turn with a policy."""

import argparse
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pufferlib.cli import arguments, printing
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferlib.cli.policy_source import PolicySource
    from pufferlib.run.play import Stage
    from pufferlib.run.play_session import PlaySession

SUMMARY = "Play a game yourself, or take over from a policy while you hold Shift."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    arguments.add_policy(parser, default=None, allow_none=True)
    arguments.add_acting(parser, seed=None)
    parser.add_argument(
        "--render",
        choices=("human", "terminal"),
        default="human",
        metavar="human|terminal",
        help="play in a window or in this terminal (default: human, a window)",
    )
    parser.add_argument("--size", type=int, metavar="WIDTH", help="width of the picture in pixels")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="in units of the game's pace (default: 1)"
    )
    parser.add_argument(
        "--episodes", type=int, metavar="N", help="end after N episodes (default: when you end)"
    )
    parser.add_argument("--record", metavar="FILE", help="keep what is played as a replay")
    arguments.add_help(parser, "show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Let a person play; print the logs of the episodes that ended."""
    if args.help:
        printing.print_options(args.parser, None)
        return 0
    _check(args)
    from pufferlib.cli.policy_source import choose

    args.seed = secrets.randbits(31) if args.seed is None else args.seed
    args.policy = args.policy or _default_policy(args)
    arguments.check_acting(args)
    source = choose(args.target, args.policy, settings, args.run_dir, allow_none=True)
    if args.record is not None:
        from pufferlib.run.replay import ReplayError
        from pufferlib.run.replay_recorder import refusal

        if (why := refusal(source.spec)) is not None:
            raise ReplayError(why)
    _play(args, source)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise ConfigError for arguments that cannot be obeyed, before anything is loaded."""
    if not args.target:
        raise ConfigError("play what? Give a game or a run's folder: puffer play RUN_OR_GAME")
    for flag, number, low, high in (
        ("--episodes", args.episodes, 1, 10**9),
        ("--size", args.size, 64, 4096),
        ("--speed", args.speed, 1 / 16, 64),
    ):
        if number is not None and not low <= number <= high:
            raise ConfigError(f"{flag} {number:g} is outside [{low:g}, {high:g}]")
    if args.record is not None:
        path = Path(args.record)
        if path.suffix != ".replay" or path.is_dir():
            raise ConfigError(f"--record {args.record} must be a file ending with .replay")
        if not path.parent.is_dir():
            raise ConfigError(f"--record {args.record}: there is no folder {path.parent}")


def _default_policy(args: argparse.Namespace) -> str:
    """Return `best` if the target is a run or has one, else `none`."""
    from pufferlib.run.directory import RunDirectory, RunError

    try:
        run = RunDirectory.find(args.target, args.run_dir)
    except RunError:
        return "none"
    return "best" if run.last_policy.exists() or run.best_policy.exists() else "none"


def _play(args: argparse.Namespace, source: "PolicySource") -> None:
    from pufferlib.run import external_envs
    from pufferlib.run.play import keys_of, play
    from pufferlib.run.play_controls import Controls
    from pufferlib.run.play_session import PlaySession

    session = PlaySession(
        external_envs.drawn(source.spec),
        source.policy,
        random=args.policy == "random",
        label=source.label,
        seed=args.seed,
        greedy=args.greedy,
        size=args.size,
        record=Path(args.record) if args.record is not None else None,
    )
    try:
        keys = keys_of(session.env)
        controls = Controls(keys, has_policy=session.has_policy)
        controls.speed = args.speed
        if not source.spec.game.source:  # its picture, of any size, has no room for the keys
            print("\n".join(["keys:", *controls.lines(session.env.num_envs > 1)]), flush=True)
        stage = _stage(args, source, session)
        try:
            play(session, controls, stage, episodes=args.episodes)
        finally:
            _report(session)
    finally:
        session.close()


def _stage(args: argparse.Namespace, source: "PolicySource", session: "PlaySession") -> "Stage":
    """Return the window or the terminal; raise ConfigError if there is none."""
    from pufferenv.drawing import window

    pace = session.env.renderer.pace
    if args.render == "terminal":
        from pufferlib.run.play_terminal import PlayTerminal

        if not (sys.stdout.isatty() and sys.stdin.isatty()):
            raise ConfigError(
                "--render terminal needs a terminal, and stdin or stdout is none: to play in a "
                "window, leave it out"
            )
        return PlayTerminal(sys.stdout, sys.stdin, pace)
    from pufferlib.run.play_window import PlayWindow

    window.load_pygame()
    try:
        window.check_display()
    except window.NoDisplay as error:
        raise ConfigError(
            f"{error.reason}, so there is no window to play in: play in this terminal by "
            "--render terminal, or watch the policy by puffer eval --output FILE.gif"
        ) from None
    label = f", {source.label}" if session.has_policy else ""
    return PlayWindow(f"{source.spec.name}{label}", pace)


def _report(session: "PlaySession") -> None:
    """Print the logs of the episodes that ended, and the files that were written."""
    from pufferlib.run.formatting import number
    from pufferlib.run.replay_player import command

    for i, log in enumerate(session.episodes, 1):
        print(f"episode {i}: " + ", ".join(f"{name} {number(v)}" for name, v in log.items()))
    if not session.episodes:
        print("no episode ended")
    for path in session.recorded:
        how = command(path, session.spec.game)
        print(f"wrote {path}, {path.stat().st_size / 1000:.1f} kB; to see it: {how}")
