"""`puffer train|eval|bench|games`: reads the command line, hands over, says errors in one line.

Options are written `--SECTION.KEY VALUE`; their tables are config/options.py and the game's
header, and nothing here lists one. torch is imported by the commands that need it: help is quick.
"""

import argparse
import dataclasses
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pufferenv
from pufferlib.cli import printing
from pufferlib.config import resolve
from pufferlib.config.options import nearest

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

# A second OpenMP thread that spins on a busy core slows every product down, up to ten times.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Settings = dict[str, dict[str, object]]
Command = Callable[[argparse.Namespace, Settings], int]
SETTING = re.compile(r"--([A-Za-z][\w-]*)\.([\w-]+)(?:=(.*))?", re.DOTALL)
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
GAME_HELP = "a game's name, path/to/my_game.h, or an env such as gym:CartPole-v1"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Return 0, 1 (it failed), 2 (bad input) or 130 (interrupted)."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--traceback" in words or bool(os.environ.get("PUFFER_DEBUG"))
    try:
        if "" not in sys.path and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # gym:my_module:MyEnv-v0 may lie here, as for `python -m`
        settings, rest = split_settings(words)
        parser = make_parser()
        args, extra = parser.parse_known_args(rest)
        if extra:
            raise _unknown_word(extra[0], args)
        if not args.command:
            parser.print_help()
            return 0
        if clash := pufferenv.conflict():
            print(f"puffer: warning: {clash}", file=sys.stderr)
        command: Command = args.run
        return command(args, settings)
    except SystemExit as done:  # argparse, after --help
        return int(done.code or 0)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if debug:
            traceback.print_exc()
        bad_input = isinstance(error, (ValueError, TypeError))
        hint = "" if debug or _explains_itself(error) else "\n(--traceback shows where)"
        print(f"puffer: {error or type(error).__name__}{hint}", file=sys.stderr)
        return BAD_INPUT if bad_input else FAILED


def split_settings(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """Take `--section.key value` and `--section.key=value` out of a command line -> settings, rest.

    Underscores and hyphens are the same. Without a value it stands for `true`.
    """
    settings: Settings = {}
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        found = SETTING.fullmatch(word)
        if not found:
            name, equals, value = word.partition("=")
            rest.append(name.replace("_", "-") + equals + value if word.startswith("--") else word)
            continue
        section, key, value = found[1], found[2].replace("-", "_"), found[3]
        if value is None:
            value = left.pop(0) if left and not left[0].startswith("--") else "true"
        settings.setdefault(section, {})[key] = value
    return settings, rest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise resolve.ConfigError(f"{message} (see {self.prog} --help)")


def make_parser() -> argparse.ArgumentParser:
    """Declare the commands and their plain flags."""
    parser = _Parser(
        prog="puffer",
        description="Train and evaluate policies in games written in C and envs written in Python.",
        allow_abbrev=False,
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, run: Command, doc: str, **more: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=doc, description=doc, allow_abbrev=False, **more)
        sub.add_argument("--traceback", action="store_true", help=argparse.SUPPRESS)
        sub.set_defaults(run=run)
        return sub

    flags = add("train", train, "Train a policy.", add_help=False)
    flags.add_argument("game", nargs="?", metavar="GAME", help=GAME_HELP)
    flags.add_argument(
        "--config", metavar="FILE", help="TOML file of options, as config.toml of a run"
    )
    flags.add_argument(
        "--resume", metavar="RUN", help="go on with a run: its folder, or a game's newest"
    )
    flags.add_argument("--name", help="name of the run's folder; default: date and time")
    flags.add_argument("--tensorboard", action="store_true", help="log to TensorBoard too")
    flags.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")
    _run_dir(flags)
    _option_help(flags)

    flags = add("eval", evaluate, "Play whole episodes with a trained policy.", add_help=False)
    flags.add_argument(
        "target", nargs="?", metavar="RUN_OR_GAME", help="a run's folder, or a game: its newest run"
    )
    flags.add_argument("--policy", default="best", metavar="best|last|FILE", help="default: best")
    flags.add_argument("--episodes", type=int, default=100, help="default: 100")
    flags.add_argument(
        "--seed", type=int, default=0, help="of the games and the sampling; default: 0"
    )
    flags.add_argument(
        "--greedy", action="store_true", help="take the likeliest action, do not sample"
    )
    flags.add_argument("--json", action="store_true", help="print JSON")
    _run_dir(flags)
    _option_help(flags)

    flags = add("bench", bench, "Measure steps per second.", add_help=False)
    flags.add_argument("what", nargs="?", choices=("env", "train"), metavar="env|train")
    flags.add_argument("game", nargs="?", metavar="GAME", help=GAME_HELP)
    flags.add_argument("--config", metavar="FILE", help="TOML file of options")
    flags.add_argument("--seconds", type=float, default=5.0, help="of each measurement; default: 5")
    flags.add_argument("--json", action="store_true", help="print JSON")
    _option_help(flags)

    flags = add("games", games, "List the games, or show one.")
    flags.add_argument("game", nargs="?", metavar="GAME", help="show its config, actions and log")
    return parser


def _run_dir(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "--run-dir", default="runs", metavar="FOLDER", help="where runs are; default: runs"
    )


def _option_help(flags: argparse.ArgumentParser) -> None:
    flags.add_argument(
        "-h", "--help", action="store_true", help="show this, and with GAME its options"
    )
    flags.set_defaults(parser=flags)


# --- the commands ------------------------------------------------------------------------------


def train(args: argparse.Namespace, settings: Settings) -> int:
    """Train a new run, or go on with one."""
    if args.help:
        return printing.options(args, args.game)
    from pufferlib.run import session as training
    from pufferlib.run.directory import Run

    if args.resume:
        given = {f"{section}.{key}" for section, keys in settings.items() for key in keys}
        if given - {"train.total_timesteps"} or args.config or args.name:
            raise resolve.ConfigError(
                "--resume goes on with the run's own name and config, and takes but one other: "
                "--train.total-timesteps, to train for longer; "
                "for a new run like it: puffer train --config RUN/config.toml"
            )
        run = Run.find(args.resume, args.run_dir)
        made, game = _configure(None, str(run.path / "config.toml"), settings)
        if args.game and _whole(args.game) != made.game:
            raise resolve.ConfigError(
                f"{run.path} is a run of {made.game}, not of {args.game}: "
                f"puffer train --resume {args.resume}"
            )
    else:
        run = None
        made, game = _configure(args.game, args.config, settings)
    return training.train(
        made,
        game,
        resume=run,
        run_dir=args.run_dir,
        name=args.name,
        tensorboard=args.tensorboard,
        wandb=args.wandb,
    )


def evaluate(args: argparse.Namespace, settings: Settings) -> int:
    """Play with a trained policy and print mean and spread of what the game logs."""
    if args.help:
        return printing.options(args, None)
    if not args.target:
        raise resolve.ConfigError("what to evaluate? puffer eval RUN_OR_GAME")
    if args.episodes < 1:
        raise resolve.ConfigError(f"--episodes {args.episodes} must be at least 1")
    from pufferlib.run.directory import Run, RunError
    from pufferlib.run.evaluate import evaluate as play
    from pufferlib.run.evaluate import open_policy

    if args.policy in ("best", "last"):
        run = Run.find(args.target, args.run_dir)
        file = run.best if args.policy == "best" and run.best.exists() else run.last
        made, game = _configure(None, str(run.path / "config.toml"), settings)
    else:
        file = Path(args.policy)
        if not file.is_file():
            raise resolve.ConfigError(f"--policy {args.policy} is neither best, last nor a file")
        try:
            like = str(Run.find(args.target, args.run_dir).path / "config.toml")
        except RunError:  # a game that has not been trained here
            like = None
        made, game = _configure(None if like else args.target, like, settings)
    policy = open_policy(file, game, made)
    result = play(
        policy,
        game,
        made.fields,
        episodes=args.episodes,
        num_threads=made.vec.num_threads or 1,
        seed=args.seed,
        greedy=args.greedy,
    )
    if args.json:
        about = {"game": game.name, "policy": str(file), "seed": args.seed, "greedy": args.greedy}
        print(json.dumps({**about, **result.asdict()}, indent=1))
    else:
        printing.evaluation(file, game, result)
    return 0


def bench(args: argparse.Namespace, settings: Settings) -> int:
    """Measure the game's steps, or a short training."""
    if args.help:
        return printing.options(args, args.game)
    if not args.what or not (args.game or args.config):
        raise resolve.ConfigError("what to measure? puffer bench env|train GAME")
    if not 0 < args.seconds < 1e6:
        raise resolve.ConfigError(f"--seconds {args.seconds:g} must be above 0")
    made, game = _configure(args.game, args.config, settings)
    from pufferlib.profiling import bench as benches

    report = (benches.env if args.what == "env" else benches.train)(made, game, args.seconds)
    print(json.dumps(report, indent=1) if args.json else benches.text(report))
    return 0


def games(args: argparse.Namespace, settings: Settings) -> int:
    """List all games, or show one game's config, observations, actions and log."""
    from pufferenv import BuildError
    from pufferenv import games as shelf

    if settings:
        raise resolve.ConfigError("puffer games takes no options")
    if args.game:
        printing.game(shelf.load(args.game))
        return 0
    width = max(map(len, shelf.names()), default=0)
    for name in shelf.names():
        try:
            doc = shelf.load(name).doc
        except BuildError:
            doc = f"does not build: puffer games {name} shows why"
        print(f"{name:<{width}}  {doc}")
    return 0


# --- what they share ---------------------------------------------------------------------------


def _configure(
    spec: str | None, file: str | None, flags: Settings
) -> "tuple[resolve.Config, Game]":
    """Load the game and merge its toml, the config file and the flags."""
    from pufferenv import games as shelf

    layers = []
    if file:
        content = resolve.read(file)
        named = content.pop("game", None)
        if named is not None and not isinstance(named, str):
            raise resolve.ConfigError(f"{file}: game={named!r} must be a name or a header's path")
        spec = spec or named
        layers.append(resolve.Layer(str(file), content))
    if not spec:
        raise resolve.ConfigError(
            f"which game? There are {', '.join(shelf.names())}; or give a header, or an env such "
            "as gym:CartPole-v1"
        )
    layers.append(resolve.Layer("--", flags))
    game: Game
    if resolve.is_external(spec):
        from pufferlib.run import external_envs as named

        made, game = named.configure(spec, layers)
    else:
        game = shelf.load(spec)
        own = shelf.defaults(spec)
        layers.insert(0, resolve.Layer(f"{game.name}.toml", own))
        made = resolve.resolve(_whole(spec), game, layers)
        if made.vec.debug and not game.debug:
            game = shelf.load(spec, debug=True)
    if made.policy.name == "auto" and not made.policy.path:
        from pufferlib.policies import observation_kinds

        network = observation_kinds.network(observation_kinds.layout(game, game.pack(made.fields)))
        made = dataclasses.replace(made, policy=dataclasses.replace(made.policy, name=network))
    code, colon, name = made.policy.path.rpartition(":")
    if code:
        path = f"{_absolute(code)}{colon}{name}"
        made = dataclasses.replace(made, policy=dataclasses.replace(made.policy, path=path))
    return made, game


def _whole(spec: str) -> str:
    """Name a game as a run's config does: a header by its absolute path, any other as it is."""
    return _absolute(spec) if spec.endswith(".h") else spec


def _absolute(file: str) -> str:
    """Return a path that means the same from any folder, as a run's config has to."""
    return str(Path(file).expanduser().resolve())


def _unknown_word(word: str, args: argparse.Namespace) -> resolve.ConfigError:
    if not word.startswith("-"):
        return resolve.ConfigError(f"{word!r} is one word too many for puffer {args.command}")
    known = [f"--{name.replace('_', '-')}" for name in vars(args) if name not in ("run", "parser")]
    known += [resolve.flag(s, key) for s, keys in resolve.tables().items() for key in keys]
    near = nearest(word.partition("=")[0].replace("-", "_"), [k.replace("-", "_") for k in known])
    return resolve.ConfigError(f"{word}: no such flag; nearest: {near.replace('_', '-')}")


def _explains_itself(error: Exception) -> bool:
    """Whether the message was written for the user: by this project, or by the OS."""
    home = type(error).__module__.partition(".")[0]
    return home in ("pufferlib", "pufferenv") or isinstance(
        error, (ValueError, OSError, MemoryError)
    )
