"""A game's env as PettingZoo's ParallelEnv: agents leave and enter, an id lives once an episode.

An agent's first life in an episode is `agent_3`, its next ones are `agent_3_life_2` and so on. Who
enters in a step stands in all that the step returns, with reward 0; who leaves stands there for
the last time. `agents` are those who act next, by place; it is empty exactly when the episode is
over: while nobody lives but somebody may yet enter, `step` lets the time pass.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.error import ResetNeeded
from gymnasium.spaces import Dict

from pufferenv import Game, make
from pufferenv.game_config import MOST, not_drawn
from pufferenv.game_config import count as bounded

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.conversions import parallel_to_aec
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[pettingzoo]'`"
    ) from None

PATIENCE = 1_000_000  # steps with nobody alive after which a game is taken to have died out

Observations = dict[str, npt.NDArray[Any]]
Infos = dict[str, dict[str, Any]]
Step = tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]


def parallel_env(game: str | PathLike[str] | Game, **options: Any) -> PufferParallelEnv:
    """Return one env of a game as a ParallelEnv; PufferParallelEnv says what it takes."""
    return PufferParallelEnv(game, **options)


def env(game: str | PathLike[str] | Game, **options: Any) -> AECEnv[str, Any, Any]:
    """Return the same as an AECEnv, by PettingZoo's own conversion."""
    return parallel_to_aec(PufferParallelEnv(game, **options))


class PufferParallelEnv(ParallelEnv[str, npt.NDArray[Any], Any]):
    """One env of a game; made by `parallel_env`. What it returns is the caller's to keep.

    Observations are (*O) in the game's dtype, actions as `single_action_space` of a vector env has
    them. Infos hold `action_mask` in games with masks, as `action_space(agent).sample(mask)` takes
    it, for those who act next; and each log field as a float, for those in the step in which the
    episode ended. Who dies sees zeros at last; whose life or episode is cut short, what it saw.
    """

    metadata: dict[str, Any]
    agents: list[str]  # who acts in the next step, by place
    possible_agents: list[str]  # only with `lives`
    num_places: int  # as many may live at once

    def __init__(
        self,
        game: str | PathLike[str] | Game,
        *,
        lives: int | None = None,
        seed: int | None = None,
        debug: bool = False,
        render_mode: str | None = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Take the same as `pufferenv.make`, and

        lives: at most so many lives has an agent in one episode, as the caller knows. Then there is
            `possible_agents`, which some learners need; `step` raises RuntimeError for one more.
            None: lives are not counted beforehand, and there is no `possible_agents`.

        Raises ValueError for a render_mode: games are not drawn.
        """
        not_drawn(render_mode)
        self._envs = make(
            game, seed=seed, autoreset_mode="disabled", debug=debug, config=config, **fields
        )
        self.game, self.config = self._envs.game, self._envs.config
        self.metadata = {"name": self.game.name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.agents = []
        self.num_places = count = self._envs.num_envs
        self._most = MOST if lives is None else bounded("lives", lives, "of an agent in an episode")
        if lives is not None:
            ids = [_id(place, life + 1) for life in range(self._most) for place in range(count)]
            self.possible_agents = ids
        self._observation_spaces = _spaces(self._envs.single_observation_space, count)
        self._action_spaces = _spaces(self._envs.single_action_space, count)
        self._ids = [""] * count  # of each place's life; "": nobody there
        self._lives = [0] * count  # of each place in this episode
        self._choices = np.cumsum([head.n for head in self._envs.heads])[:-1]  # bounds of masks

    def observation_space(self, agent: str) -> Space[Any]:
        """Return the space of what this agent sees: one object per place, for all its lives."""
        return self._observation_spaces[self.place(agent)]

    def action_space(self, agent: str) -> Space[Any]:
        """Return the space of this agent's actions: one object per place, for all its lives."""
        return self._action_spaces[self.place(agent)]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Infos]:
        """Begin an episode; with a seed in an env made afresh. No options are known; any pass."""
        self._seen, _ = self._envs.reset(seed=seed)
        self._ids = [""] * self._envs.num_envs
        self._lives = [0] * self._envs.num_envs
        result: Step = ({}, {}, {}, {}, {})
        self._enter(result, {})
        return result[0], result[4]

    def step(self, actions: Mapping[str, Any]) -> Step:
        """Act with all agents -> observations, rewards, terminations, truncations, infos by id.

        Raises ResetNeeded once the episode is over, ValueError for a missing or unknown agent and
        for illegal actions, before anything has moved, RuntimeError for more than
        `lives` lives.
        """
        if not self.agents:
            raise ResetNeeded("step() was called with no agents left: call reset() first")
        if actions.keys() != set(self.agents):
            raise ValueError(self._mismatch(actions))
        seen, rewards, terminations, truncations, infos = self._envs.step(self._batch(actions))
        seen = seen.copy()
        # Who died sees zeros, not what the next life already sees from the same place.
        seen[terminations & ~(self._envs.needs_reset[0] & self._envs.alive)] = 0
        acted = [(place, name) for place, name in enumerate(self._ids) if name]
        result: Step = (
            {name: seen[place] for place, name in acted},
            {name: float(rewards[place]) for place, name in acted},
            {name: bool(terminations[place]) for place, name in acted},
            {name: bool(truncations[place]) for place, name in acted},
            {name: {} for _, name in acted},
        )
        for place in np.flatnonzero(terminations | truncations).tolist():
            self._ids[place] = ""
        self._enter(result, infos)
        return result

    def close(self) -> None:
        """Give the env back; twice is fine."""
        self._envs.close()

    def _enter(self, result: Step, infos: dict[str, Any]) -> None:
        """Add to a step's result who enters now, masks and logs; let time pass if nobody lives."""
        envs, acted, waited = self._envs, list(result[4]), 0
        while not (envs.alive.any() or envs.needs_reset[0]):
            if waited == PATIENCE:
                raise RuntimeError(f"{self.game.name}: nobody has been alive for {waited} steps")
            infos = envs.step(self._batch({}))[4]
            waited += 1
        seen = self._seen.copy()
        for place in np.flatnonzero(envs.alive & ~envs.needs_reset[0]).tolist():
            if self._ids[place]:
                continue
            name = self._ids[place] = self._born(place)
            result[0][name], result[1][name] = seen[place], 0.0
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

    def _born(self, place: int) -> str:
        """Return the id of the life that begins at this place."""
        self._lives[place] += 1
        name = _id(place, self._lives[place])
        if self._lives[place] > self._most:
            raise RuntimeError(
                f"{self.game.name}: {name} enters, but lives={self._most} says that no agent has "
                f"more lives in an episode: give more, or leave it out"
            )
        return name

    def place(self, agent: str) -> int:
        """Return which of the game's agents this id is a life of."""
        found = re.fullmatch(r"agent_(\d+)(_life_\d+)?", agent)
        if found and int(found[1]) < len(self._ids):
            return int(found[1])
        raise ValueError(
            f"{self.game.name} has no {agent!r}, but agent_0 to agent_{len(self._ids) - 1}, "
            f"in later lives of an episode agent_0_life_2 and so on"
        )

    def _mismatch(self, actions: Mapping[str, Any]) -> str:
        """Say whose action is missing, or who is given one and does not act."""
        missing = [name for name in self.agents if name not in actions]
        if missing:
            return f"no action was given for {', '.join(missing)}: each of agents must act"
        extra = [str(name) for name in actions if name not in self.agents]
        return f"{', '.join(extra)} cannot act: agents are {', '.join(self.agents)}"

    def _batch(self, actions: Mapping[str, Any]) -> Any:
        """Return the vector env's actions: these by place, zeros for who does not act."""
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
                    f"{name}: an action of shape {row.shape} was given, must be of {idle.shape}"
                )
        return np.stack(rows)

    def _mask(self, mask: npt.NDArray[np.bool_]) -> Any:
        """Return one agent's (C,) as `action_space.sample` takes it: int8, a tuple of heads."""
        parts = tuple(np.split(mask.astype(np.int8), self._choices))
        discrete = parts[0] if len(parts) == 1 else parts
        return {"discrete": discrete, "continuous": None} if self._envs.axes else discrete


def _spaces(space: Space[Any], count: int) -> list[Space[Any]]:
    """One copy for each place, so that each has random numbers of its own."""
    return [deepcopy(space) for _ in range(count)]


def _id(place: int, life: int) -> str:
    return f"agent_{place}" if life == 1 else f"agent_{place}_life_{life}"
