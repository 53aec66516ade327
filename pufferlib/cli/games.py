"""`puffer games`: list the games, or describe one."""

import argparse

from pufferlib.cli import printing
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

SUMMARY = "List the games, or describe one."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument(
        "game", nargs="?", metavar="GAME", help="show its agents, observation, actions and config"
    )
    parser.add_argument("-h", "--help", action="help", help="show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """List all games with one line each, or describe one game."""
    from pufferenv import BuildError, games

    if settings:
        raise ConfigError("puffer games takes no options")
    if args.game:
        printing.print_game(games.load(args.game))
        return 0
    width = max(map(len, games.names()), default=0)
    for name in games.names():
        try:
            doc = games.load(name).doc
        except BuildError:
            doc = f"does not build; puffer games {name} shows the error"
        print(f"{name:<{width}}  {doc}")
    return 0
