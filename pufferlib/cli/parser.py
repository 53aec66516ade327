"""The commands of `puffer` and their plain flags.

A command is a module of this folder with SUMMARY, `add_arguments` and `run`, and a row of COMMANDS.
Options (`--SECTION.KEY VALUE`) are declared in config/options.py and in the game's header, never
here. Commands import torch only when they need it, so that help is quick.
"""

import argparse
import re
from collections.abc import Callable
from typing import Any, Protocol

from pufferlib.cli import bench, evaluate, games, play, plot, replay, train
from pufferlib.cli.configure import Settings
from pufferlib.config import resolve
from pufferlib.config.flags import flag_name
from pufferlib.config.section import ConfigError, nearest


class Command(Protocol):
    """What a command's module defines."""

    SUMMARY: str  # one sentence, for the help

    @property
    def add_arguments(self) -> Callable[[argparse.ArgumentParser], None]:
        """Add the plain flags of the command to its parser."""

    @property
    def run(self) -> Callable[[argparse.Namespace, Settings], int]:
        """Run the command and return the exit code."""


COMMANDS: dict[str, Command] = {
    "train": train,
    "eval": evaluate,
    "play": play,
    "replay": replay,
    "plot": plot,
    "bench": bench,
    "games": games,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ConfigError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """Return a parser of all commands and their plain flags."""
    parser = _Parser(
        prog="puffer",
        description="Train and evaluate policies in games written in C and in Python environments.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--traceback", action="store_true", help="print a traceback with every error"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, command in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=command.SUMMARY,
            description=command.SUMMARY,
            allow_abbrev=False,
            add_help=False,  # add_arguments adds --help, which also shows the options
        )
        sub.add_argument("--traceback", action="store_true", help=argparse.SUPPRESS)
        command.add_arguments(sub)
    return parser


def unknown_argument(word: str, args: argparse.Namespace) -> ConfigError:
    """Return the error of a word that no command takes; it names the nearest flag."""
    if not word.startswith("-"):
        return ConfigError(f"unexpected argument {word!r} for puffer {args.command}")
    usage = args.parser.format_usage() if "parser" in args else ""  # it has no positional names
    known = ["--help", "--traceback", *re.findall(r"--[a-z][a-z-]*", usage)]
    known += [flag_name(s, key) for s, keys in resolve.option_tables().items() for key in keys]
    near = nearest(word.partition("=")[0].replace("-", "_"), [k.replace("-", "_") for k in known])
    return ConfigError(f"{word}: no such flag; did you mean {near.replace('_', '-')}?")
