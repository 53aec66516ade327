"""A game of many agents as RLlib's MultiAgentEnv, over PettingZoo's ParallelEnv of this package.

RLlib's own ParallelPettingZooEnv ends an episode only when all in its last step are terminated, or
all truncated, and knows the spaces of those only who are there at first. Games of one agent need
no adapter: RLlib makes `pufferenv:puffer/breakout-v0` by Gymnasium's registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box

try:
    import pettingzoo  # noqa: F401 (so that its absence names the extra that brings both)
    from ray.rllib.env.multi_agent_env import MultiAgentEnv
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[rllib]'`"
    ) from None

from pufferenv.adapters.pettingzoo import Observations, Step, parallel_env


class PufferMultiAgentEnv(MultiAgentEnv):
    """What `AlgorithmConfig.environment(PufferMultiAgentEnv, env_config={"game": "snake"})` makes.

    `env_config` is what `pufferenv.adapters.pettingzoo.parallel_env` takes, the game among it, and
    `flatten`: True gives observations as vectors of float32, as RLlib's own networks want them.
    `lives` is 1 if it is not given, for RLlib wants to know all ids beforehand: a game whose agents
    come back needs the most lives that one may have in an episode.
    """

    possible_agents: list[str]
    agents: list[str]  # whom the last results name: RLlib's checks compare the two

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        if "game" not in (config or {}):
            raise ValueError('env_config has no game, for example {"game": "snake"}')
        super().__init__()
        options = dict(config or {})
        self._flatten = bool(options.pop("flatten", False))
        self.env = parallel_env(**{"lives": 1, **options})
        spaces = [self.env.observation_space(f"agent_{i}") for i in range(self.env.num_places)]
        self._spaces = [_vector(space) if self._flatten else space for space in spaces]
        self.metadata = self.env.metadata
        self.render_mode = None
        self.agents = []
        self.possible_agents = self.env.possible_agents
        self.observation_spaces = {
            name: self.get_observation_space(name) for name in self.possible_agents
        }
        self.action_spaces = {name: self.get_action_space(name) for name in self.possible_agents}

    def get_observation_space(self, agent_id: str) -> Space[Any]:
        """Return the space of what this agent sees, of whichever life."""
        return self._spaces[self.env.place(agent_id)]

    def get_action_space(self, agent_id: str) -> Space[Any]:
        """Return the space of this agent's actions, of whichever life."""
        return self.env.action_space(agent_id)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Begin an episode; with a seed in an env made afresh."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._flat(observations)
        self.agents = list(observations)
        return observations, infos

    def step(self, action_dict: Mapping[str, Any]) -> Step:
        """Act with all agents. The episode is over when nobody is left who acted: `__all__`.

        RLlib's episodes end there, even if somebody enters in the same step, who is left out then.
        It is called truncated if somebody's life or the game's episode was, else terminated.
        """
        result = self.env.step(action_dict)
        self._flat(result[0])
        terminateds, truncateds = result[2], result[3]
        left = not any(name in action_dict for name in self.env.agents)
        if left:
            for name in self.env.agents:
                for part in result:
                    del part[name]
        self.agents = list(result[0])
        truncateds["__all__"] = left and any(truncateds.values())
        terminateds["__all__"] = left and not truncateds["__all__"]
        return result

    def _flat(self, observations: Observations) -> None:
        if self._flatten:
            for name, seen in observations.items():
                observations[name] = seen.ravel().astype(np.float32)

    def close(self) -> None:
        """Give the env back; twice is fine."""
        self.env.close()


def _vector(space: Space[Any]) -> Box:
    assert isinstance(space, Box)
    return Box(space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32))
