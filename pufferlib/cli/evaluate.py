"""`puffer eval`: play whole episodes with a trained policy and print the game's log fields."""

import argparse
import json
from pathlib import Path

from pufferlib.cli import arguments, printing
from pufferlib.cli.configure import Settings, configure
from pufferlib.config.section import ConfigError

SUMMARY = "Evaluate a trained policy over whole episodes."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN_OR_GAME",
        help="a run's folder, or a game to evaluate the newest run of",
    )
    parser.add_argument(
        "--policy",
        default="best",
        metavar="best|last|FILE",
        help="the run's best policy, its last, or a policy file (default: best)",
    )
    parser.add_argument(
        "--episodes", type=int, default=100, help="number of episodes (default: 100)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the games and of the actions (default: 0)"
    )
    parser.add_argument(
        "--greedy", action="store_true", help="take the most likely actions instead of sampling"
    )
    arguments.add_json(parser)
    arguments.add_run_dir(parser)
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
    from pufferlib.run.directory import RunDirectory, RunError
    from pufferlib.run.evaluate import evaluate, load_policy_for

    # A run's policy is evaluated with the run's config. A policy file is evaluated with the config
    # of the given run, or of the game's newest run; without a run, with the game's defaults.
    if args.policy in ("best", "last"):
        directory = RunDirectory.find(args.target, args.run_dir)
        is_best = args.policy == "best" and directory.best_policy.exists()
        file = directory.best_policy if is_best else directory.last_policy
        config, spec = configure(None, str(directory.path / "config.toml"), settings)
    else:
        file = Path(args.policy)
        if not file.is_file():
            raise ConfigError(f"--policy {args.policy} is neither best, last nor a file")
        try:
            config_file = str(RunDirectory.find(args.target, args.run_dir).path / "config.toml")
        except RunError:
            config, spec = configure(args.target, None, settings)
        else:
            config, spec = configure(None, config_file, settings)
    policy = load_policy_for(file, spec, config)
    result = evaluate(
        policy,
        spec,
        episodes=args.episodes,
        num_threads=config.vec.num_threads or 1,
        seed=args.seed,
        greedy=args.greedy,
    )
    if args.json:
        about = {"game": spec.name, "policy": str(file), "seed": args.seed, "greedy": args.greedy}
        print(json.dumps({**about, **result.asdict()}, indent=1))
    else:
        printing.print_evaluation(file, spec.name, result)
    return 0
