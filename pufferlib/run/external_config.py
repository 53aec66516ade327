"""The config of a run with an external env: its arguments, and defaults for its observations.

config/resolve.py merges the layers. This file imports no torch.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from pufferenv import pixels
from pufferenv.cores import usable_cores
from pufferenv.external.game import ExternalGame
from pufferenv.spaces import Packing
from pufferlib.config.flags import FALSE, TRUE, flag_name
from pufferlib.config.networks import RECURRENT
from pufferlib.config.resolve import FLAGS, Config, Layer, resolve
from pufferlib.config.section import ConfigError
from pufferlib.policies import observation_kinds
from pufferlib.run.external_envs import load, parameters

UNKNOWN_EPISODE = 50  # assumed steps of an episode if the env states no limit


def configure(name: str, layers: list[Layer]) -> tuple[Config, ExternalGame]:
    """Merge the layers over defaults that suit the env; return the config and the env's game.

    Raise ConfigError for an unknown or illegal setting, TypeError for a space that is not
    supported.
    """
    kwargs = read_kwargs(name, layers)
    game = load(name, kwargs)
    others = [
        Layer(layer.source, {k: v for k, v in layer.values.items() if k != "env"})
        for layer in layers
    ]
    description = game.description
    network = "auto"
    # The defaults depend on the network, which is known only after the layers are merged.
    for _ in range(2):
        suited = defaults(description.observations, network, description.max_episode_steps)
        lowest = Layer(f"defaults for {name}", suited)
        config = dataclasses.replace(resolve(name, game, [lowest, *others]), env=kwargs)
        network = config.policy.name
    if config.vec.debug:
        raise ConfigError("vec.debug is for games written in C; a Python env raises its own errors")
    backend = config.vec.backend
    if backend == "auto":
        backend = "processes" if usable_cores() > 1 else "serial"
        config = dataclasses.replace(config, vec=dataclasses.replace(config.vec, backend=backend))
    if backend != "serial":
        vec = config.vec
        game = load(name, kwargs, backend, vec.num_threads or None, vec.timeout or None)
    return config, game


def defaults(
    packing: Packing, network: str = "auto", limit: int | None = None
) -> dict[str, dict[str, Any]]:
    """Return the settings that external envs train with, by section and key.

    They have few envs, normalization, and many epochs over each step. A recurrent `network` gets
    longer rows. `limit` is the number of steps after which episodes are truncated, None if
    unknown; the discount's horizon is twice as long. Rewards, whose scale is unknown, are divided
    by the running deviation of returns. docs/external.md has the measurements.
    """
    images = [image for part in packing.parts if (image := observation_kinds.image_size(part))]
    large = any(image.large for image in images)
    norm_obs = any(observation_kinds.is_normalized(part) for part in packing.parts)
    train = {
        "total_timesteps": 1_000_000,
        "horizon": 64,
        "minibatch_size": 256,
        "update_epochs": 8,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "gamma": round(1 - 0.5 / min(max(limit or UNKNOWN_EPISODE, 10), 500), 4),
        "gae_lambda": 0.95,
        "norm_obs": norm_obs,
        "norm_return": True,
        "eval_episodes": 20,
        "threads": 0 if large else 1,  # the envs make better use of a second core
    }
    auto = observation_kinds.auto_network(packing)
    policy: dict[str, Any] = {"name": auto, "hidden_size": 128, "activation": "relu"}
    if auto == "mlp":  # tanh, because Acrobot is never solved with relu
        policy |= {"hidden_size": 64, "activation": "tanh"}
        train |= {"ent_coef": 0.002, "gae_lambda": 0.98}
        if network in RECURRENT:
            train |= {"horizon": 128, "minibatch_size": 512, "ent_coef": 0.0}
            train |= {"gamma": 0.99, "gae_lambda": 0.9}
    if large:  # as in Atari: Mnih et al. 2015; Huang et al. 2022, "The 37 implementation details"
        train |= {"total_timesteps": 10_000_000, "horizon": 128, "update_epochs": 4}
        train |= {"learning_rate": 2.5e-4, "reward_clip": 1.0, "norm_return": False}
        train["gamma"] = 0.99
        policy |= {"hidden_size": 512, "num_layers": 1}
    return {"vec": {"num_envs": 16}, "train": train, "policy": policy}


def describe_choices(config: Config, game: ExternalGame) -> str:
    """Describe in one line the env's observations and the choices made for them."""
    observed = ", ".join(
        f"{part.name + ' ' if part.name else ''}{'x'.join(map(str, part.shape)) or 1} "
        f"{observation_kinds.kind(part)}"
        for part in game.description.observations.parts
    )
    return (
        f"{config.game} observes {observed}; policy {config.policy.path or config.policy.name}, "
        f"backend {config.vec.backend}"
    )


def read_kwargs(name: str, layers: list[Layer]) -> dict[str, Any]:
    """Merge the `env` sections of the layers into the arguments for creating the env.

    Raise ConfigError for an unknown argument or one of the wrong type.
    """
    known, accepts_others = parameters(name)
    kwargs: dict[str, Any] = {}
    for layer in layers:
        is_flag = layer.source == FLAGS
        for key, value in layer.values.get("env", {}).items():
            shown = flag_name("env", key) if is_flag else f"{layer.source}: env.{key}"
            if key in pixels.NAMES and key not in known and not accepts_others:
                raise ConfigError(f"{shown}: {pixels.not_of_python(name)}")
            if key not in known and not accepts_others:
                raise ConfigError(
                    f"{shown}: {name} has no such argument{_hint(key, known, is_flag)}"
                )
            value = _literal(value) if is_flag and isinstance(value, str) else value
            default = known.get(key)
            if default is not None and not _is_like(value, default):
                raise ConfigError(f"{shown}={value!r} must be {type(default).__name__}: {name}")
            kwargs[key] = value
    return kwargs


def _hint(key: str, known: Iterable[str], is_flag: bool) -> str:
    """Return the end of a message that suggests the known argument most like `key`."""
    near = difflib.get_close_matches(key, list(known), 1, 0.0)
    if not near:
        return ""
    return f"; did you mean {flag_name('env', near[0]) if is_flag else near[0]}?"


def _is_like(value: object, default: object) -> bool:
    """Return whether both are bools, numbers or text; any other default accepts every value."""
    for kind in (bool, (int, float), str):
        if isinstance(default, kind):
            return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
    return True


def _literal(text: str) -> Any:
    """Parse the text of a flag as a bool, a number, or text."""
    word = text.strip().lower()
    if word in TRUE[:3] + FALSE[:3]:  # 1 and 0 are numbers here
        return word in TRUE
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            pass
    return text
