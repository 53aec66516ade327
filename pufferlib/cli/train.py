"""`puffer train`: train a new run, or resume one."""

import argparse

from pufferlib.cli import arguments, printing
from pufferlib.cli.configure import Settings, configure, full_name
from pufferlib.config.section import ConfigError
from pufferlib.run.loggers import LOGGERS

SUMMARY = "Train a policy."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the plain flags of the command."""
    parser.add_argument("game", nargs="?", metavar="GAME", help=arguments.GAME_HELP)
    parser.add_argument(
        "--config", metavar="FILE", help="TOML file of options, such as a run's config.toml"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="run to continue: a folder, or a game to continue the newest run of",
    )
    parser.add_argument(
        "--no-game-defaults",
        action="store_true",
        help="train with the defaults of the game's kind, not with those of its own TOML file",
    )
    parser.add_argument("--name", help="name of the run's folder (default: date and time)")
    for name, entry in LOGGERS.items():
        parser.add_argument(f"--{name}", action="store_true", help=f"also log to {entry.title}")
    arguments.add_run_dir(parser)
    arguments.add_help(parser)


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Train; return the exit code."""
    if args.help:
        printing.print_options(args.parser, args.game, game_defaults=not args.no_game_defaults)
        return 0
    from pufferlib.run import session
    from pufferlib.run.directory import RunDirectory

    if args.resume:
        given = {f"{section}.{key}" for section, keys in settings.items() for key in keys}
        if given - {"train.total_timesteps"} or (args.config or args.name or args.no_game_defaults):
            raise ConfigError(
                "--resume continues a run under its own name and config; the only option that "
                "may change is --train.total-timesteps, to train for longer. To start a new run "
                "with the same config: puffer train --config RUN/config.toml"
            )
        resumed = RunDirectory.find(args.resume, args.run_dir)
        config, spec = configure(None, str(resumed.path / "config.toml"), settings, of_run=True)
        if args.game and full_name(args.game) != config.game:
            raise ConfigError(
                f"{resumed.path} is a run of {config.game}, not of {args.game}; to resume it: "
                f"puffer train --resume {args.resume}"
            )
    else:
        resumed = None
        config, spec = configure(
            args.game, args.config, settings, game_defaults=not args.no_game_defaults
        )
    return session.train(
        config,
        spec,
        resume=resumed,
        run_dir=args.run_dir,
        name=args.name,
        loggers=[name for name in LOGGERS if getattr(args, name.replace("-", "_"))],
    )
