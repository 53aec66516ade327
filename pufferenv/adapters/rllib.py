"""A game of many agents as an RLlib MultiAgentEnv, on top of this package's ParallelEnv.

RLlib's own ParallelPettingZooEnv cannot be used: it ends an episode only if in the last step all
agents are terminated or all are truncated, and it has spaces only for the agents of the first step.
Games of one agent need no adapter: RLlib makes `pufferenv:puffer/breakout-v0` from Gymnasium's
registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box

try:
    import pettingzoo  # noqa: F401 (if it is missing, the error names the extra that installs both)
    from ray.rllib.env.multi_agent_env import MultiAgentEnv
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[rllib]'`"
    ) from None

from pufferenv.adapters.pettingzoo import Observations, Step, parallel_env


class PufferMultiAgentEnv(MultiAgentEnv):
    """The env of `AlgorithmConfig.environment(PufferMultiAgentEnv, env_config={"game": "snake"})`.

    `env_config` holds the arguments of `pufferenv.pettingzoo.parallel_env`, the game included, and
    `flatten`: True returns observations as vectors of float32, which RLlib's own networks need.
    `lives` defaults to 1. RLlib needs to know all ids in advance, so if agents of the game respawn,
    give the maximum number of lives of an agent in an episode.
    """

    possible_agents: list[str]
    agents: list[str]  # agents in the last results, as RLlib's checks require

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        if "game" not in (config or {}):
            raise ValueError('env_config has no game: give one, for example {"game": "snake"}')
        super().__init__()
        options = dict(config or {})
        self._flatten = bool(options.pop("flatten", False))
        self.env = parallel_env(**{"lives": 1, **options})
        spaces = [self.env.observation_space(f"agent_{i}") for i in range(self.env.num_places)]
        self._spaces = [_vector(space) if self._flatten else space for space in spaces]
        self.metadata = self.env.metadata
        self.render_mode = self.env.render_mode
        self.agents = []
        self.possible_agents = self.env.possible_agents
        self.observation_spaces = {
            name: self.get_observation_space(name) for name in self.possible_agents
        }
        self.action_spaces = {name: self.get_action_space(name) for name in self.possible_agents}

    def get_observation_space(self, agent_id: str) -> Space[Any]:
        """Return the observation space of an agent, the same for all its lives."""
        return self._spaces[self.env.place(agent_id)]

    def get_action_space(self, agent_id: str) -> Space[Any]:
        """Return the action space of an agent, the same for all its lives."""
        return self.env.action_space(agent_id)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin an episode. A seed re-creates the env; options are ignored."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._flatten_all(observations)
        self.agents = list(observations)
        return observations, infos

    def step(self, action_dict: Mapping[str, Any]) -> Step:
        """Step all agents. The episode ends (`__all__`) when no agent that acted is left.

        Agents that enter in that step are left out, because RLlib's episode ends with it. The
        episode is truncated if the life of an agent or the game's episode was cut short, else
        terminated.
        """
        result = self.env.step(action_dict)
        self._flatten_all(result[0])
        terminateds, truncateds = result[2], result[3]
        ended = not any(name in action_dict for name in self.env.agents)
        if ended:
            for name in self.env.agents:
                for part in result:
                    del part[name]
        self.agents = list(result[0])
        truncateds["__all__"] = ended and any(truncateds.values())
        terminateds["__all__"] = ended and not truncateds["__all__"]
        return result

    def _flatten_all(self, observations: Observations) -> None:
        if self._flatten:
            for name, observation in observations.items():
                observations[name] = observation.ravel().astype(np.float32)

    def render(self) -> Any:
        """Draw the env as everybody sees it; see PufferParallelEnv.render."""
        return self.env.render()

    def close(self) -> None:
        """Close the env. A second call does nothing."""
        self.env.close()


def _vector(space: Space[Any]) -> Box:
    assert isinstance(space, Box)
    return Box(space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32))
