"""`puffer eval`: play whole episodes with a trained policy and print the game's log fields."""

import argparse
import json

from pufferlib.cli import arguments, printing
from pufferlib.cli.configure import Settings
from pufferlib.config.section import ConfigError

SUMMARY = "Evaluate a trained policy over whole episodes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    arguments.add_policy(parser)
    parser.add_argument(
        "--episodes", type=int, default=100, help="number of episodes (default: 100)"
    )
    arguments.add_acting(parser)
    arguments.add_json(parser)
    arguments.add_help(parser, "show this help")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Evaluate; print mean, spread and range of every field that the game logs."""
    if args.help:
        printing.print_options(args.parser, None)
        return 0
    if not args.target:
        raise ConfigError("evaluate what? Give a run's folder or a game: puffer eval RUN_OR_GAME")
    if args.episodes < 1:
        raise ConfigError(f"--episodes {args.episodes} must be at least 1")
    arguments.check_acting(args)
    from pufferlib.cli.policy_source import choose
    from pufferlib.run.evaluate import evaluate

    source = choose(args.target, args.policy, settings, args.run_dir)
    result = evaluate(
        source.policy,
        source.spec,
        episodes=args.episodes,
        num_threads=source.config.vec.num_threads or 1,
        seed=args.seed,
        greedy=args.greedy,
    )
    game = source.spec.name
    if args.json:
        about = {"game": game, "policy": source.about, "seed": args.seed, "greedy": args.greedy}
        print(json.dumps({**about, **result.asdict()}, indent=1))
    else:
        printing.print_evaluation(source.about, game, result)
    return 0
