"""Recurrent states of all agents, and the saved states of rows and of final observations.

An agent acts from its state, or from the initial state if a life begins. The state before slot 0 is
saved with each row, and training unrolls the row from it. When a life is truncated, its state is
saved for the value of its final observation. Letters: A agents, N of them act, R rows, F final
slots, S entries of a state.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.row_env import RowEnv
from pufferlib.kernels import _kernels
from pufferlib.policies.base import Policy
from pufferlib.runtime import allocator
from pufferlib.runtime.chunks import Agents


class RecurrentState:
    """States at fixed addresses, so that recorded graphs can read and write them."""

    @classmethod
    def of(cls, policy: Policy, env: RowEnv, device: torch.device) -> "RecurrentState | None":
        """Return the states for `policy`, or None if it is not recurrent."""
        state = policy.initial_state(env.num_agents)
        return None if state is None else cls(state, env, device)

    def __init__(self, state: Tensor, env: RowEnv, device: torch.device) -> None:
        agents, finals = env.num_agents, len(env.arrays["final_agent"])
        self._env, self._device = env, device
        self.state = state.detach().clone()  # (A, S) after each agent's last step
        self._initial = self.state[0].clone()  # (S,)

        # A fixed population uses one row per agent besides the batch. The other rows, the final
        # states and the gathered states take memory only after agents have died.
        surely_used = min(env.batch_rows + agents, env.num_rows)
        self.row_state = self._allocate(env.num_rows, surely_used)  # (R, S) before slot 0
        self._final_state = self._allocate(finals, 0)  # (F, S)
        self.gathered = self._allocate(agents, 0)  # (A, S), of which the first N are in use

    def _allocate(self, count: int, surely_used: int) -> Tensor:
        shape = (count, self.state.shape[1])
        if self._device.type == "cpu":
            return allocator.zeros(shape, surely_used)
        return torch.zeros(shape, device=self._device)

    def begin(self, agents: Agents) -> Tensor:
        """Return the states (N, S) that these agents act from; pass the new ones to `store`.

        It is the initial state if a life begins. Rows whose slot 0 is acted on save the state.
        """
        state = self.state[agents] if isinstance(agents, slice) else self.gather(agents)
        life_start, slot = self._env.arrays["life_start"], self._env.arrays["slot"]
        if self._device.type == "cpu":
            _kernels.init_states(
                state=state.numpy(),
                **({"first": agents.start} if isinstance(agents, slice) else {"agents": agents}),
                life_start=life_start,
                slot=slot,
                initial=self._initial.numpy(),
                row_state=self.row_state.numpy(),
                horizon=self._env.horizon,
            )
            return state
        life_start, slot = life_start[agents], slot[agents]
        state[self._index(np.flatnonzero(life_start))] = self._initial
        at_start = np.flatnonzero(slot % self._env.horizon == 0)
        rows = self._index(slot[at_start] // self._env.horizon)
        self.row_state[rows] = state[self._index(at_start)]
        return state

    def store(self, agents: Agents, state: Tensor) -> None:
        """Store the new states (N, S), which overwrote those that `begin` returned."""
        if not isinstance(agents, slice):  # for a slice, `state` is a view of `self.state`
            self.state[self._index(agents)] = state

    def gather(self, agents: npt.NDArray[np.int32]) -> Tensor:
        """Copy the states (N, S) of these agents; valid until the next call."""
        out = self.gathered[: len(agents)]
        return torch.index_select(self.state, 0, self._index(agents), out=out)

    def keep_finals(self, begin: int, end: int) -> None:
        """Save the last states of the lives that ended in the final slots [begin, end)."""
        if end > begin:
            agents = torch.from_numpy(self._env.arrays["final_agent"][begin:end])
            self._final_state[begin:end] = self.state[agents.to(self._device).long()]

    def of_finals(self, finals: slice) -> Tensor:
        """Return the states (n, S) for evaluating final observations."""
        return self._final_state[finals]

    def of_rows(self, rows: npt.NDArray[Any]) -> Tensor:
        """Return the states (n, S) before slot 0 of these rows."""
        return self.row_state[self._index(rows)]

    def _index(self, numbers: npt.NDArray[Any]) -> Tensor:
        """Copy integers to the device, in the dtype for indexing."""
        return torch.from_numpy(numbers.astype(np.int64)).to(self._device)
