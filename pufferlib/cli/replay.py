"""`puffer replay`: play an episode again, compare it with what was recorded, and draw it."""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pufferlib.cli import arguments, rendering
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferlib.run.replay_player import ReplayPlayer
    from pufferlib.run.screens import Screen

SUMMARY = "Repeat a recorded episode to the bit; watch it, or write a video."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument("file", nargs="?", metavar="FILE", help="a replay, such as best.replay")
    parser.add_argument(
        "--game",
        metavar="HEADER",
        help="the game's header, path/to/my_game.h, for a game outside of the ocean package",
    )
    parser.add_argument(
        "--any-version",
        action="store_true",
        help="play it with another version of the game, and say whether the same is observed",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="also draw the episodes that the env played before the recorded one",
    )
    rendering.add_arguments(parser, several_envs=False)
    arguments.add_json(parser)
    arguments.add_help(parser, "show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Play a replay; return 1 if something else was observed than was recorded."""
    if args.help:
        args.parser.print_help()
        return 0
    if settings:
        section, keys = next(iter(settings.items()))
        raise ConfigError(
            f"--{section}.{next(iter(keys))}: a replay has the config that it was recorded with"
        )
    if not args.file:
        raise ConfigError("replay what? Give a file that --record wrote: puffer replay FILE")
    rendering.check(args)
    from pufferlib.run.replay import Replay
    from pufferlib.run.replay_player import ReplayPlayer

    player = ReplayPlayer(Replay.read(args.file), args.game, any_version=args.any_version)
    _choose_screen(args, player)
    screens: list[Screen] = []
    try:
        if rendering.is_asked_for(args):
            _draw(args, player, screens)
        why = player.verify()
    finally:
        player.close()
        rendering.describe_files(screens, args.json)
    _report(args, player, why)
    return 0 if why is None else 1


def _choose_screen(args: argparse.Namespace, player: "ReplayPlayer") -> None:
    """Open a window if nothing else is asked for and a person is there to watch it."""
    if rendering.is_asked_for(args):
        rendering.without_display(args, player.spec.name)
        return
    from pufferenv.drawing import window

    if args.json or not sys.stdout.isatty() or not player.spec.game.draws:
        return
    try:
        window.load_pygame()
        window.check_display()
    except (ImportError, window.NoDisplay):
        return
    args.render = "human"


def _draw(args: argparse.Namespace, player: "ReplayPlayer", screens: "list[Screen]") -> None:
    """Draw the recorded episode on the screens that the flags ask for, which are opened here."""
    from pufferenv import games
    from pufferenv.drawing.renderer import Renderer
    from pufferlib.run.pictures import Pictures, show
    from pufferlib.run.watch import next_alive

    replay, spec = player.replay, player.spec
    rendering.check_agent(args.agent, spec.env_agents)
    renderer = Renderer(games.drawing(spec.game), spec.packed, args.size)
    title = f"{replay.game}: episode {replay.episode + 1} of env {replay.env}, {replay.policy}"
    episodes = replay.episode + 1 if args.whole else 1
    screens += rendering.open_screens(args, title, renderer.pace, episodes)
    left = list(screens)
    if not args.whole:
        player.skip()

    def agents() -> list[int]:
        """Return whose view is drawn: while that agent is dead, the next live one's."""
        alive = player.engine.arrays["alive"]
        return [-1 if args.agent is None else next_alive(alive, args.agent)]

    between = any(screen.between for screen in screens)
    pictures = Pictures(renderer, player.engine, [0], agents, between=between)
    total = 0.0

    def draw(*, first: bool = False, last: bool = False) -> bool:
        """Draw the state of now; return whether a person ended it."""
        (pictures.begin if first else pictures.step)()
        status = f"step {player.step_number} of {replay.steps}   return {total:.4g}"
        return show(lambda t: pictures.frames(t)[0], left, status, first=first, last=last)

    try:
        ended = draw(first=True)
        while left and not ended and not player.done:
            player.step()
            total += float(player.engine.arrays["reward"].mean())
            ended = draw(last=player.log is not None or player.done)
            if player.log is not None:
                player.settle()
                total = 0.0
                ended = ended or (not player.done and draw(first=True))
    finally:
        for screen in screens:
            screen.close()


def _report(args: argparse.Namespace, player: "ReplayPlayer", why: str | None) -> None:
    """Print what the replay is, the log of its episode, and whether it was repeated."""
    replay = player.replay
    if args.json:
        names = ("game", "source", "config", "seed", "env", "episode", "start", "steps", "policy")
        about: dict[str, Any] = {name: getattr(replay, name) for name in names}
        log = None
        if replay.log is not None:
            log = {name: v if math.isfinite(v) else None for name, v in replay.log.items()}
        bytes_ = Path(args.file).stat().st_size
        about |= {"log": log, "bytes": bytes_, "repeated": why is None, "differs": why}
        print(json.dumps(about, indent=1))
        return
    size = Path(args.file).stat().st_size / 1000
    print(
        f"{replay.game}: episode {replay.episode + 1} of env {replay.env}, "
        f"{replay.steps - replay.start} steps, played by {replay.policy or 'an unknown policy'}, "
        f"{size:.1f} kB"
    )
    from pufferlib.run.formatting import number

    for name, value in (replay.log or {}).items():
        print(f"  {name:<12} {number(value)}")
    if replay.log is None:
        print("  the episode had not ended")
    if why is None:
        hashes = "1 hash" if len(replay.hashes) == 1 else f"{len(replay.hashes)} hashes"
        print(f"repeated to the bit: {hashes} and the log are as recorded")
    else:
        print(f"not repeated: {why}")
