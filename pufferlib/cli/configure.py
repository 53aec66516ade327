"""Turn the words of a command line into a game and its resolved config."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pufferlib.config import resolve, toml_file
from pufferlib.config.options import PolicyOptions
from pufferlib.config.resolve import FLAGS, Config, Layer
from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game
    from pufferenv.game_spec import GameSpec

Settings = dict[str, dict[str, object]]  # values of flags, by section and key
SETTING = re.compile(r"--([A-Za-z][\w-]*)\.([\w-]+)(?:=(.*))?", re.DOTALL)


def split_settings(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """Separate `--section.key value` and `--section.key=value` from the other words.

    Return the settings and the rest. Underscores and hyphens are equivalent. A flag without a
    value means `true`.
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


def configure(
    name: str | None,
    file: str | None,
    flags: Settings,
    *,
    game_defaults: bool = True,
    of_run: bool = False,
) -> "tuple[Config, GameSpec]":
    """Merge the defaults, the config file and the flags; bind the game to its config.

    Without `name`, the config file names the game. Without `game_defaults`, the game's own TOML
    file is not read. `of_run`: the file is the config of a run, so that no other defaults than the
    options' apply (run/defaults.py). Raise ConfigError if nothing names a game, or for an unknown
    or illegal setting.
    """
    from pufferenv import games, pixels
    from pufferenv.game_spec import GameSpec
    from pufferlib.run import defaults, external_config

    layers = []
    if file:
        content = toml_file.read(file)
        file_game = content.pop("game", None)
        if file_game is not None and not isinstance(file_game, str):
            raise ConfigError(
                f"{file}: game={file_game!r} must be a game's name or the path of its header"
            )
        name = name or file_game
        layers.append(Layer(str(file), content))
    if not name:
        raise ConfigError(
            f"which game? Give one of {', '.join(games.names())}, the path of a header, "
            "or an env such as gym:CartPole-v1"
        )
    layers.append(Layer(FLAGS, flags))
    game: Game
    if resolve.is_external(name):
        config, game = external_config.configure(name, layers, of_run=of_run)
    else:
        game = games.load(name)
        own = defaults.own_layers(name, game) if game_defaults else []
        config = defaults.configure(full_name(name), game, own, layers, of_run=of_run)
        if config.vec.debug and not game.debug:
            game = games.load(name, debug=True)
        game, _ = pixels.select(game, config.fields)
    spec = GameSpec(game, config.fields)  # `resolve` checked the fields
    return dataclasses.replace(config, policy=_resolved_policy(config, spec)), spec


def _resolved_policy(config: Config, spec: "GameSpec") -> PolicyOptions:
    """Return the policy options with `auto` resolved and a relative path made absolute."""
    policy = config.policy
    if policy.name == "auto" and not policy.path:
        from pufferlib.policies import observation_kinds

        policy = dataclasses.replace(policy, name=observation_kinds.auto_network(spec.layout))
    code, colon, class_name = policy.path.rpartition(":")
    if code:
        policy = dataclasses.replace(policy, path=f"{_absolute(code)}{colon}{class_name}")
    return policy


def full_name(game: str) -> str:
    """Return the name of a game for a run's config: headers by absolute path, others unchanged."""
    return _absolute(game) if game.endswith(".h") else game


def _absolute(file: str) -> str:
    return str(Path(file).expanduser().resolve())
