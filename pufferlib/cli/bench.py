"""`puffer bench`: measure the steps per second of a game or of training."""

import argparse
import json

from pufferlib.cli import arguments, printing
from pufferlib.cli.configure import Settings, configure
from pufferlib.config.section import ConfigError

SUMMARY = "Measure steps per second."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument(
        "what",
        nargs="?",
        choices=("env", "train"),
        metavar="env|train",
        help="env: step the game with random actions; train: train and save nothing",
    )
    parser.add_argument("game", nargs="?", metavar="GAME", help=arguments.GAME_HELP)
    parser.add_argument("--config", metavar="FILE", help="TOML file of options")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="seconds of each measurement (default: 5)"
    )
    arguments.add_json(parser)
    arguments.add_help(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Measure the steps per second of a game or of training; print the report."""
    if args.help:
        printing.print_options(args.parser, args.game)
        return 0
    if not args.what or not (args.game or args.config):
        raise ConfigError("give env or train, and a game: puffer bench env|train GAME")
    if not 0 < args.seconds < 1e6:
        raise ConfigError(f"--seconds {args.seconds:g} must be above 0 and below 1e6")
    config, spec = configure(args.game, args.config, settings)
    from pufferlib.profiling import bench

    report = (bench.bench_env if args.what == "env" else bench.bench_training)(
        config, spec, args.seconds
    )
    print(json.dumps(report, indent=1) if args.json else bench.format_report(report))
    return 0
