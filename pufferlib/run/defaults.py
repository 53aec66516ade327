"""The defaults that suit a task: how its kind is found, and merged with the layers of the user.

config/kinds.py has the kinds; the facts about a task that they are chosen by are read here from its
observations, actions and network. This file imports no torch.
"""

import dataclasses
from typing import Any

from pufferenv import games, pixels
from pufferenv.engine._engine import Game
from pufferenv.game_spec import GameLike, GameSpec
from pufferlib.config import kinds
from pufferlib.config.batch_sizes import fit_minibatch
from pufferlib.config.kinds import Kind, Task
from pufferlib.config.networks import RECURRENT
from pufferlib.config.options import SECTIONS
from pufferlib.config.resolve import Config, Layer, resolve
from pufferlib.policies import observation_kinds


def defaults(game: GameLike | GameSpec, network: str = "auto") -> dict[str, dict[str, Any]]:
    """Return the settings of a task's kind, by section and key.

    game: a wrapped env's `game`, a game's name, or a GameSpec, such as that of a game that is
        observed as pixels.
    network: the value of `policy.name`; a recurrent network has other settings.
    """
    return kind_of(GameSpec.of(game), network).settings


def kind_of(spec: GameSpec, network: str) -> Kind:
    """Return the kind of training a network of this name in a game."""
    parts = spec.layout.parts
    description = spec.description
    if description is None:
        observed = "grid" if spec.obs_dtype.itemsize == 1 else "numbers"
        observed = "pixels" if spec.pixels else observed
    else:
        images = [image for part in parts if (image := observation_kinds.image_size(part))]
        observed = "map" if images else "numbers"
        observed = "screen" if any(image.large for image in images) else observed
    return kinds.choose(
        Task(
            "c" if description is None else "python",
            observed,
            continuous=bool(spec.axes),
            recurrent=network in RECURRENT,
            normalized=any(observation_kinds.is_normalized(part) for part in parts),
            limit=description.max_episode_steps if description else None,
            agents=spec.env_agents,
        )
    )


def own_layers(name: str, game: Game) -> list[Layer]:
    """Return the layer of the TOML file beside a game's header."""
    return [Layer(f"{game.name}.toml", games.defaults(name))]


def configure(
    name: str, game: Game, own: list[Layer], given: list[Layer], *, of_run: bool = False
) -> Config:
    """Merge the settings of a task's kind, the game's `own` layers and the user's `given` ones.

    `of_run`: the first of the `given` is the config of a run. It has every option, except for those
    that are newer than the run; these get the options' defaults, with which it goes on as before.

    A minibatch that the user does not give is made to fit the batch, so that every number of envs
    can train. For a network of the user's own it is whole rows, because only the network itself
    says whether it is recurrent. Raise ConfigError as `resolve` does.
    """
    if of_run:
        return dataclasses.replace(resolve(name, game, given), sources=_sources(given))
    first = resolve(name, game, [*own, *given])
    selected, _ = pixels.select(game, first.fields)
    spec = GameSpec(selected, first.fields)
    kind = kind_of(spec, first.policy.name)
    of_kind = Layer(kind.source, kind.settings)
    # What was found for a game's own observation does not hold for pixels.
    layers = [*own, of_kind, *given] if spec.pixels else [of_kind, *own, *given]
    config = resolve(name, game, layers)
    config = dataclasses.replace(config, sources=_sources(layers, of_kind))
    if any("minibatch_size" in layer.values.get("train", {}) for layer in given):
        return config
    num_agents = config.vec.num_envs * spec.env_agents
    in_rows = config.policy.name in RECURRENT or bool(config.policy.path)
    train = fit_minibatch(config.train, num_agents, in_rows)
    return dataclasses.replace(config, train=train)


def _sources(layers: list[Layer], of_kind: Layer | None = None) -> tuple[str, ...]:
    """Return the names of the layers that have a say, the lowest first.

    The layer of the kind has one even if its table is empty, unless a layer above it sets every
    option, as the config of a run does.
    """
    every = {(name, o.name) for name, section in SECTIONS.items() for o in section.options()}
    names: list[str] = []
    for layer in layers:
        given = {(section, key) for section, keys in layer.values.items() for key in keys}
        if every <= given:
            names = []
        if given or layer is of_kind:
            names.append(layer.source)
    return tuple(names)
