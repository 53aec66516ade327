"""Arguments that several commands share; config/ declares the options (`--SECTION.KEY`)."""

import argparse

GAME_HELP = "a game's name, path/to/my_game.h, or an env such as gym:CartPole-v1"


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--run-dir`."""
    parser.add_argument(
        "--run-dir", default="runs", metavar="FOLDER", help="folder of all runs (default: runs)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_help(
    parser: argparse.ArgumentParser, text: str = "show this help; with GAME, its own options too"
) -> None:
    """Add `--help`, which prints the options (`--SECTION.KEY`) after the plain flags.

    If `args.help` is set, a command passes `args.parser` to printing.print_options.
    """
    parser.add_argument("-h", "--help", action="store_true", help=text)
    parser.set_defaults(parser=parser)
