"""`puffer train|eval|bench|games`: parse the command line, run the command, report errors.

A command is a module of this folder with SUMMARY, `add_arguments` and `run`, and a row of COMMANDS.
Options (`--SECTION.KEY VALUE`) are declared in config/options.py and in the game's header, never
here. Commands import torch only when they need it, so that help is quick.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pufferenv
from pufferlib.cli import bench, evaluate, games, train
from pufferlib.cli.configure import Settings, split_settings
from pufferlib.config import resolve
from pufferlib.config.flags import flag_name
from pufferlib.config.section import ConfigError, nearest

# OpenMP threads that spin while they wait make a product on a busy core up to ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130  # exit codes


class Command(Protocol):
    """What a command's module defines."""

    SUMMARY: str  # one sentence, for the help

    @property
    def add_arguments(self) -> Callable[[argparse.ArgumentParser], None]:
        """Add the plain flags of the command to its parser."""

    @property
    def run(self) -> Callable[[argparse.Namespace, Settings], int]:
        """Run the command and return the exit code."""


COMMANDS: dict[str, Command] = {"train": train, "eval": evaluate, "bench": bench, "games": games}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Return 0, 1 (it failed), 2 (bad input) or 130 (interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--traceback" in words or bool(os.environ.get("PUFFER_DEBUG"))
    try:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # for my_module in gym:my_module:MyEnv-v0
        settings, rest = split_settings(words)
        parser = make_parser()
        args, extra = parser.parse_known_args(rest)
        if extra:
            raise _unknown_argument(extra[0], args)
        if not args.command:
            parser.print_help()
            return 0
        if conflict := pufferenv.conflict():
            print(f"puffer: warning: {conflict}", file=sys.stderr)
        return COMMANDS[args.command].run(args, settings)
    except SystemExit as done:  # argparse exits after --help
        return int(done.code or 0)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        bad_input = isinstance(error, (ValueError, TypeError))
        hint = "" if debug or _is_for_users(error) else "\n(use --traceback to see where)"
        print(f"puffer: {error or type(error).__name__}{hint}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED


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


def _unknown_argument(word: str, args: argparse.Namespace) -> ConfigError:
    if not word.startswith("-"):
        return ConfigError(f"unexpected argument {word!r} for puffer {args.command}")
    known = [f"--{name.replace('_', '-')}" for name in vars(args) if name != "parser"]
    known += [flag_name(s, key) for s, keys in resolve.option_tables().items() for key in keys]
    near = nearest(word.partition("=")[0].replace("-", "_"), [k.replace("-", "_") for k in known])
    return ConfigError(f"{word}: no such flag; did you mean {near.replace('_', '-')}?")


def _is_for_users(error: Exception) -> bool:
    """Return whether the message was written for users: by this project or the OS."""
    package = type(error).__module__.partition(".")[0]
    return package in ("pufferlib", "pufferenv") or isinstance(
        error, (ValueError, OSError, MemoryError)
    )
