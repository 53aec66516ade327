"""What agents observe now, read out of the pool: a strided view where possible, else gathered.

Letters: A agents, N of them observe, H horizon, *O one observation.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.row_env import RowEnv
from pufferlib.kernels import _kernels


class Observations:
    """The current observations of a RowEnv's agents, on the policy's device."""

    def __init__(self, env: RowEnv, device: torch.device) -> None:
        self._horizon, self._slot, self._device = env.horizon, env.arrays["slot"], device
        self._pool = env.arrays["pool_observation"]  # (R, H, *O)
        self._slots = self._pool.reshape(-1, *env.obs_shape)  # (R * H, *O)
        # (A, *O) on the CPU: gathered observations lie here, and what travels to a GPU.
        self.staged = torch.from_numpy(np.zeros((env.num_agents, *env.obs_shape), env.obs_dtype))
        if device.type == "cuda":
            self.staged = self.staged.pin_memory()

    def strided(self, first: int, agents: slice) -> Tensor:
        """Return the observations (N, *O) of agents whose slots are `first`, first + H, ...

        On the CPU it is a view of the pool.
        """
        last = first + (agents.stop - agents.start - 1) * self._horizon
        view = torch.from_numpy(self._slots[first : last + 1 : self._horizon])
        if self._device.type == "cpu":
            return view
        return self.staged[agents].copy_(view).to(self._device, non_blocking=True)

    def gather(self, agents: npt.NDArray[np.int32]) -> Tensor:
        """Return the observations (N, *O) of these agents; on the CPU valid until the next call."""
        staged = self.staged[: len(agents)]
        _kernels.gather_slots(self._pool, self._slot[agents], staged.numpy())
        return staged.to(self._device, non_blocking=True)
