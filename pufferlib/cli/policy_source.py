"""What a command plays with: from RUN_OR_GAME and `--policy` to a config, a game and a policy.

    best, last   the run, or the newest run of the game, with the run's config
    FILE         a policy file, with the config of the run, or of the game's newest run; without a
                 run, with the game's defaults
    random       uniform among the legal actions, with the config of the run's folder or, for a
                 game, with the game's defaults; no run is needed
    none         no policy, for commands in which a person plays; the config as for random

Flags (`--env.size 5`) override each of these configs. All commands that take a policy use `choose`;
arguments.add_policy adds their flags.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pufferenv import pixels
from pufferlib.cli.configure import Settings, configure
from pufferlib.config.flags import flag_name
from pufferlib.config.resolve import Config, is_external
from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec
    from pufferlib.policies.base import Policy

NAMES = ("best", "last", "random")  # values of --policy that are no files


@dataclass(frozen=True)
class PolicySource:
    """A game with its config, and what acts in it."""

    config: Config
    spec: "GameSpec"
    policy: "Policy | None"  # None: random actions, or none
    label: str  # a short name for people, such as the run's folder
    file: Path | None  # of the policy

    @property
    def about(self) -> str:
        """Return what the results of a command name as the policy: its file, or `random`."""
        return str(self.file or self.label)


def choose(
    target: str, policy: str, settings: Settings, run_dir: str, *, allow_none: bool = False
) -> PolicySource:
    """Load what `target`, a run's folder or a game, and `--policy` name.

    Raise ConfigError, RunError or CheckpointError for what is not there or does not fit.
    """
    from pufferlib.run.directory import RunDirectory, RunError
    from pufferlib.run.evaluate import load_policy_for

    if policy == "random" or (policy == "none" and allow_none):
        game, config_file = _run_or_game(target)
        config, spec = configure(game, config_file, settings, of_run=config_file is not None)
        return PolicySource(config, spec, None, policy, None)
    if policy in ("best", "last"):
        directory = RunDirectory.find(target, run_dir)
        is_best = policy == "best" and directory.best_policy.exists()
        file = directory.best_policy if is_best else directory.last_policy
        config, spec = configure(None, str(directory.path / "config.toml"), settings, of_run=True)
        label = directory.path.resolve().name
    else:
        file = Path(policy)
        if not file.is_file():
            names = ", ".join((*NAMES, "none") if allow_none else NAMES)
            raise ConfigError(f"--policy {policy} is neither a file nor one of {names}")
        try:
            config_file = str(RunDirectory.find(target, run_dir).path / "config.toml")
        except RunError:
            config, spec = configure(target, None, settings)
        else:
            config, spec = configure(None, config_file, settings, of_run=True)
        label = file.stem
    return PolicySource(config, spec, load_policy_for(file, spec, config), label, file)


def choose_several(
    targets: Sequence[str], policy: str, settings: Settings, run_dir: str
) -> list[PolicySource]:
    """Load what is to be compared: runs or games with `--policy`, policy files, and `random`.

    A file and `random` play what the first run or game plays. Raise ConfigError unless all play the
    same game with the same config of its rules; how it is observed (pixels) may differ.
    """
    first = next((t for t in targets if t != "random" and not _is_policy_file(t)), None)
    if first is None:
        raise ConfigError(
            f"--compare {' '.join(targets)}: at least one must be a run or a game, whose config is "
            "played"
        )
    sources = [
        choose(first, target, settings, run_dir)
        if target == "random" or _is_policy_file(target)
        else choose(target, policy, settings, run_dir)
        for target in targets
    ]
    for target, source in zip(targets, sources, strict=True):
        _check_same_game(targets[0], sources[0].config, target, source.config)
    labels = [source.label for source in sources]
    if len(set(labels)) < len(labels):  # the folders of runs of the same name tell them apart
        sources = [
            replace(source, label=target) for target, source in zip(targets, sources, strict=True)
        ]
    return sources


def _is_policy_file(target: str) -> bool:
    return Path(target).is_file() and not target.endswith(".h")


def _check_same_game(first: str, config: Config, other: str, others: Config) -> None:
    """Raise ConfigError if two configs are of different games, or of different rules of one."""
    if config.game != others.game:
        raise ConfigError(
            f"{first} plays {config.game}, and {other} plays {others.game}: only policies of one "
            "game can be compared"
        )
    for key in (*config.env, *others.env):
        mine, theirs = config.env.get(key), others.env.get(key)
        if mine != theirs and key not in pixels.NAMES:
            flag = flag_name("env", key)
            raise ConfigError(
                f"{first} plays {config.game} with {key}={mine}, and {other} with {key}={theirs}; "
                f"to compare them on one config, give {flag}"
            )


def _run_or_game(target: str) -> tuple[str | None, str | None]:
    """Return (game, None) or (None, config file of a run) for `configure`."""
    from pufferlib.run.directory import RunError

    path = Path(target)
    if (path / "config.toml").is_file():
        return None, str(path / "config.toml")
    if path.is_dir() and path.name != target:
        raise RunError(f"{target} is not a run's folder: it has no config.toml")
    if not is_external(target) and path.suffix != ".h" and path.name != target:
        raise RunError(f"{target} is neither a run's folder nor a game")
    return target, None
