"""A game's env as a PettingZoo ParallelEnv. Each id stands for one life of an episode.

The first life of agent 3 in an episode is `agent_3`, its second `agent_3_life_2` and so on. An
agent that enters in a step is in everything that the step returns, with reward 0; an agent that
leaves is in the results of that step for the last time. `agents` lists the agents that act in the
next step, by place (the index of the agent in the game). It is empty if and only if the episode is
over: while no agent is alive but one may still enter, `step` steps the game until one does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Dict

from pufferenv.drawing.rendering import RenderSize
from pufferenv.game_config import MOST
from pufferenv.game_config import count as bounded
from pufferenv.game_spec import GameLike
from pufferenv.vector_env import make

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.conversions import parallel_to_aec
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[pettingzoo]'`"
    ) from None

MAX_EMPTY_STEPS = 1_000_000  # steps without a live agent after which `step` gives up

Observations = dict[str, npt.NDArray[Any]]
Infos = dict[str, dict[str, Any]]
Step = tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]


def parallel_env(game: GameLike, **options: Any) -> PufferParallelEnv:
    """Return one env of a game as a ParallelEnv; see PufferParallelEnv for the arguments."""
    return PufferParallelEnv(game, **options)


def env(game: GameLike, **options: Any) -> AECEnv[str, Any, Any]:
    """Return one env of a game as an AECEnv, converted by PettingZoo."""
    return parallel_to_aec(PufferParallelEnv(game, **options))


class PufferParallelEnv(ParallelEnv[str, npt.NDArray[Any], Any]):
    """One env of a game; `parallel_env` makes it. Returned arrays are copies.

    Observations are (*O) in the game's dtype; actions are as in `single_action_space` of a vector
    env. In games with masks, the infos of agents that act next hold `action_mask`, in the form that
    `action_space(agent).sample(mask)` takes. In the step that ends an episode, the infos of agents
    that acted hold each log field as a float. The last observation of an agent that dies is zeros;
    that of an agent whose life or episode is truncated is its final observation.
    """

    metadata: dict[str, Any]
    agents: list[str]  # agents that act in the next step, by place
    possible_agents: list[str]  # only if `lives` is given
    num_places: int  # agents of the game

    def __init__(
        self,
        game: GameLike,
        *,
        lives: int | None = None,
        seed: int | None = None,
        debug: bool = False,
        render_mode: str | None = None,
        render_size: RenderSize = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Make the env; the arguments are those of `pufferenv.make`, and `lives`.

        lives: the maximum number of lives of an agent in one episode. It defines
            `possible_agents`, which some learners need; `step` raises RuntimeError when an agent
            begins one life more. None: no limit, and no `possible_agents`.

        Raise NotDrawn for a render_mode of a game that does not draw itself.
        """
        self._envs = make(
            game,
            seed=seed,
            autoreset_mode="disabled",
            debug=debug,
            render_mode=render_mode,
            render_envs=1,
            render_size=render_size,
            config=config,
            **fields,
        )
        self.game, self.config = self._envs.game, self._envs.config
        self.metadata = {"name": self.game.name, "is_parallelizable": True, **self._envs.metadata}
        del self.metadata["autoreset_mode"]
        self.render_mode = render_mode
        self.agents = []
        self.num_places = count = self._envs.num_envs
        self._most = MOST if lives is None else bounded("lives", lives, "of an agent in an episode")
        if lives is not None:
            ids = [_id(place, life + 1) for life in range(self._most) for place in range(count)]
            self.possible_agents = ids
        self._observation_spaces = _spaces(self._envs.single_observation_space, count)
        self._action_spaces = _spaces(self._envs.single_action_space, count)
        self._ids = [""] * count  # id of the life at each place; "": no live agent
        self._lives = [0] * count  # lives begun at each place in this episode
        # A mask over all choices is split into one mask per head at these indices.
        self._head_bounds = np.cumsum([head.n for head in self._envs.heads])[:-1]

    def observation_space(self, agent: str) -> Space[Any]:
        """Return the observation space of an agent: one object per place, for all its lives."""
        return self._observation_spaces[self.place(agent)]

    def action_space(self, agent: str) -> Space[Any]:
        """Return the action space of an agent: one object per place, for all its lives."""
        return self._action_spaces[self.place(agent)]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Begin an episode. A seed re-creates the env; options are ignored."""
        self._observations, _ = self._envs.reset(seed=seed)
        self._ids = [""] * self._envs.num_envs
        self._lives = [0] * self._envs.num_envs
        result: Step = ({}, {}, {}, {}, {})
        self._enter(result, {})
        return result[0], result[4]

    def step(self, actions: Mapping[str, Any]) -> Step:
        """Step all agents; return observations, rewards, terminations, truncations, infos by id.

        Raise ResetNeeded when the episode is over; ValueError, before the game has stepped, for a
        missing or unknown agent or an illegal action; RuntimeError for more than `lives` lives.
        """
        if not self.agents:
            raise ResetNeeded("step() was called with no agents left: call reset() first")
        if actions.keys() != set(self.agents):
            raise ValueError(self._mismatch(actions))
        observations, rewards, terminations, truncations, infos = self._envs.step(
            self._batch(actions)
        )
        observations = observations.copy()
        # An agent that died observes zeros, not the first observation of the life that follows it.
        observations[terminations & ~(self._envs.needs_reset[0] & self._envs.alive)] = 0
        acted = [(place, name) for place, name in enumerate(self._ids) if name]
        result: Step = (
            {name: observations[place] for place, name in acted},
            {name: float(rewards[place]) for place, name in acted},
            {name: bool(terminations[place]) for place, name in acted},
            {name: bool(truncations[place]) for place, name in acted},
            {name: {} for _, name in acted},
        )
        for place in np.flatnonzero(terminations | truncations).tolist():
            self._ids[place] = ""
        self._enter(result, infos)
        return result

    def render(self) -> Any:
        """Draw the env as everybody sees it, in the state of the current observations.

        rgb_array: return a uint8 frame (H, W, 3). ansi: return text for a terminal. human: show the
        env in a window, as `reset` and `step` do by themselves, and return None.
        Raises ResetNeeded before the first `reset`, and ClosedEnvironmentError after `close`.
        """
        drawn = self._envs.render()
        return drawn[0] if self.render_mode == "rgb_array" else drawn

    def close(self) -> None:
        """Close the env. A second call does nothing."""
        self._envs.close()

    def _enter(self, result: Step, infos: dict[str, Any]) -> None:
        """Step until an agent is alive; add agents that enter, masks and logs to the result."""
        envs, acted, empty_steps = self._envs, list(result[4]), 0
        while not (envs.alive.any() or envs.needs_reset[0]):
            if empty_steps == MAX_EMPTY_STEPS:
                raise RuntimeError(
                    f"{self.game.name}: no agent has been alive for {empty_steps} steps; the game "
                    "must let one enter or end the episode"
                )
            infos = envs.step(self._batch({}))[4]
            empty_steps += 1
        observations = self._observations.copy()
        for place in np.flatnonzero(envs.alive & ~envs.needs_reset[0]).tolist():
            if self._ids[place]:
                continue
            name = self._ids[place] = self._next_id(place)
            result[0][name], result[1][name] = observations[place], 0.0
            result[2][name] = result[3][name] = False
            result[4][name] = {}
        self.agents = [name for name in self._ids if name]
        if envs.action_masks is not None:
            for place, name in enumerate(self._ids):
                if name:
                    result[4][name]["action_mask"] = self._mask(envs.action_masks[place])
        logs = {key: float(infos[key][0]) for key, _ in self.game.log_fields if key in infos}
        for name in acted:
            result[4][name].update(logs)

    def _next_id(self, place: int) -> str:
        """Return the id of the life that begins at this place."""
        self._lives[place] += 1
        name = _id(place, self._lives[place])
        if self._lives[place] > self._most:
            raise RuntimeError(
                f"{self.game.name}: {name} enters, but lives={self._most} limits the lives of an "
                "agent in an episode: raise `lives`, or leave it out"
            )
        return name

    def place(self, agent: str) -> int:
        """Return the index in the game of the agent that has this id."""
        found = re.fullmatch(r"agent_(\d+)(_life_\d+)?", agent)
        if found and int(found[1]) < len(self._ids):
            return int(found[1])
        raise ValueError(
            f"{self.game.name} has no agent {agent!r}: its agents are agent_0 to "
            f"agent_{len(self._ids) - 1}, in later lives of an episode agent_0_life_2 and so on"
        )

    def _mismatch(self, actions: Mapping[str, Any]) -> str:
        """Return an error message that names the agents with a missing or an extra action."""
        missing = [name for name in self.agents if name not in actions]
        if missing:
            return f"no action was given for {', '.join(missing)}: give one for each of `agents`"
        extra = [str(name) for name in actions if name not in self.agents]
        return f"{', '.join(extra)} cannot act: `agents` are {', '.join(self.agents)}"

    def _batch(self, actions: Mapping[str, Any]) -> Any:
        """Return the vector env's actions: the given ones by place, zeros for the others."""
        spaces = self._envs.single_action_space
        if not isinstance(spaces, Dict):
            return self._stacked(spaces, actions)
        return {
            key: self._stacked(space, {name: action[key] for name, action in actions.items()})
            for key, space in spaces.items()
        }

    def _stacked(self, space: Space[Any], actions: Mapping[str, Any]) -> npt.NDArray[Any]:
        idle = np.zeros(space.shape or (), space.dtype)
        rows = [np.asarray(actions.get(name, idle)) for name in self._ids]
        for name, row in zip(self._ids, rows, strict=True):
            if row.shape != idle.shape:
                raise ValueError(
                    f"{name}: its action has shape {row.shape}; it must have {idle.shape}"
                )
        return np.stack(rows)

    def _mask(self, mask: npt.NDArray[np.bool_]) -> Any:
        """Return the mask (C,) of an agent as `action_space.sample` takes it: int8, by head."""
        parts = tuple(np.split(mask.astype(np.int8), self._head_bounds))
        discrete = parts[0] if len(parts) == 1 else parts
        return {"discrete": discrete, "continuous": None} if self._envs.axes else discrete


def _spaces(space: Space[Any], count: int) -> list[Space[Any]]:
    """Return a copy of a space for each place, so that each has its own random generator."""
    return [deepcopy(space) for _ in range(count)]


def _id(place: int, life: int) -> str:
    return f"agent_{place}" if life == 1 else f"agent_{place}_life_{life}"
