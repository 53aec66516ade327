"""CartPole-v1 that shows only position and angle, so that a policy must remember the velocities.

Its name is `gym:no_velocity:CartPoleNoVelocity-v1`, with this folder on PYTHONPATH.
"""

from __future__ import annotations

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control import CartPoleEnv

SHOWN = (0, 2)  # indices of position and angle; 1 and 3 are the velocities


class NoVelocity(gymnasium.ObservationWrapper):
    """Keeps two of CartPole's four numbers."""

    def __init__(self) -> None:
        super().__init__(CartPoleEnv())
        whole = self.env.observation_space
        self.observation_space = gymnasium.spaces.Box(
            whole.low[list(SHOWN)], whole.high[list(SHOWN)], dtype=np.float32
        )

    def observation(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the observation without its velocities."""
        return observation[list(SHOWN)]


gymnasium.register("CartPoleNoVelocity-v1", NoVelocity, max_episode_steps=500)
