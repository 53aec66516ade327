"""Arguments that several commands share; config/ declares the options (`--SECTION.KEY`)."""

import argparse

from pufferlib.config.section import ConfigError

GAME_HELP = "a game's name, path/to/my_game.h, or an env such as gym:CartPole-v1"


def add_run_dir(parser: argparse.ArgumentParser) -> None:
    """Add `--run-dir`."""
    parser.add_argument(
        "--run-dir", default="runs", metavar="FOLDER", help="folder of all runs (default: runs)"
    )


def add_policy(
    parser: argparse.ArgumentParser, *, default: str | None = "best", allow_none: bool = False
) -> None:
    """Add RUN_OR_GAME, `--policy` and `--run-dir`, which policy_source.choose reads.

    default: None for the best of a run if there is one, else none. allow_none: there is `--policy
    none`, where a person plays alone.
    """
    shown = default or "best if there is a run, else none"
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN_OR_GAME",
        help="a run's folder, or a game, which means its newest run",
    )
    names = "best|last|FILE|random" + "|none" * allow_none
    parser.add_argument(
        "--policy",
        default=default,
        metavar=names,
        help="the run's best policy, its last, a policy file, or random actions, which need no "
        f"run{'; none: a person plays alone' * allow_none} (default: {shown})",
    )
    add_run_dir(parser)


def add_acting(parser: argparse.ArgumentParser, *, seed: int | None = 0) -> None:
    """Add `--seed` and `--greedy`, the arguments of an Actor.

    seed: the default; None if the command draws another one each time.
    """
    shown = "another one each time" if seed is None else seed
    parser.add_argument(
        "--seed",
        type=int,
        default=seed,
        help=f"seed of the games and of the actions (default: {shown})",
    )
    parser.add_argument(
        "--greedy", action="store_true", help="take the most likely actions instead of sampling"
    )


def check_acting(args: argparse.Namespace) -> None:
    """Raise ConfigError for a seed that is out of range, and for greedy random actions."""
    if not 0 <= args.seed < 2**63:
        raise ConfigError(f"--seed {args.seed} is outside [0, 2^63 - 1]")
    if args.greedy and args.policy in ("random", "none"):
        raise ConfigError(
            f"--greedy takes a policy's most likely actions, and --policy {args.policy} has none"
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
