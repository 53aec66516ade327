"""The agents' current observations in the pool: a strided view if possible, else gathered.

Letters: A agents, N of them observe, R rows of the pool, H horizon, *O one observation.
"""

import numpy as np
import numpy.typing as npt
import torch

from pufferenv.row_env import RowEnv
from pufferlib.kernels import _kernels
from pufferlib.runtime.tensors import Array


class Observations:
    """The current observations of a RowEnv's agents, as arrays on the CPU.

    With `pinned`, all of them are copied to page-locked memory, from which a GPU copies
    asynchronously.
    """

    def __init__(self, env: RowEnv, pinned: bool) -> None:
        self._horizon, self._slot, self._pinned = env.horizon, env.arrays["slot"], pinned
        self._pool = env.arrays["pool_observation"]  # (R, H, *O)
        self._slots = self._pool.reshape(-1, *env.obs_shape)  # (R * H, *O)
        staged = torch.from_numpy(np.zeros((env.num_agents, *env.obs_shape), env.obs_dtype))
        self.staged: Array = (staged.pin_memory() if pinned else staged).numpy()  # (A, *O)

    def strided(self, first: int, agents: slice) -> Array:
        """Return the observations (N, *O) of agents whose slots are `first`, first + H, ..."""
        end = first + (agents.stop - agents.start) * self._horizon
        view = self._slots[first : end : self._horizon]
        if not self._pinned:
            return view
        staged = self.staged[agents]
        np.copyto(staged, view)
        return staged

    def gather(self, agents: npt.NDArray[np.int32]) -> Array:
        """Return the observations (N, *O) of these agents, valid until the next call."""
        staged = self.staged[: len(agents)]
        _kernels.gather_slots(self._pool, self._slot[agents], staged)
        return staged
