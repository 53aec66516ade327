"""Bootstrap values: the policy's value of the state after the last transition of a row.

`next_value` of a slot is V(final observation) if the life was truncated, and V(first observation of
the agent's next row) if the row is full (docs/design.md, "Values at the ends"). The sampler fills
in the second when the agent acts again. This module fills in the first, and the second for agents
that have not acted again when a batch is taken. Letters: F final slots, n observations, *O one
observation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.row_env import RowEnv
from pufferlib.ppo.backend import PolicyBackend
from pufferlib.ppo.observations import Observations
from pufferlib.ppo.recurrent_state import RecurrentState
from pufferlib.runtime.chunks import chunks
from pufferlib.runtime.timer import Timer

EVAL_CHUNK = 1024  # observations that a CPU evaluates at a time, so few that its cache holds them
MIN_FINALS = 256  # number of final observations that is worth a forward pass
AGENTS_PER_FINAL = 16  # agents per waiting final observation, which bounds the memory used


class Bootstrap:
    """Fills in the `next_value` columns that acting does not."""

    def __init__(
        self,
        env: RowEnv,
        backend: PolicyBackend,
        observations: Observations,
        states: RecurrentState | None,
        timer: Timer,
        device: torch.device,
    ) -> None:
        self._env, self._backend, self._observations = env, backend, observations
        self._states, self._timer, self._device = states, timer, device
        self._finals = env.arrays["final_observation"]  # (F, *O)
        self._next_value = env.arrays["pool_next_value"].reshape(-1)  # indexed by slot

    def limit_finals(self) -> None:
        """Evaluate the final observations if many are waiting."""
        agents = self._env.num_agents
        most = min(agents, max(MIN_FINALS, agents // AGENTS_PER_FINAL))
        if self._device.type == "cpu":
            most = min(most, EVAL_CHUNK)
        if self._env.engine.num_final > most:
            self.evaluate_finals()

    @torch.no_grad()
    def evaluate_finals(self) -> None:
        """Fill in next_value of truncated lives, and free their final slots."""
        count = self._env.engine.num_final
        if not count:
            return
        slots = self._env.arrays["final_slot"]
        for chunk in self._chunks(count):
            state = None if self._states is None else self._states.of_finals(chunk)
            self._evaluate(slots[chunk], self._finals[chunk], state)
        self._env.engine.clear_finals()
        self._timer.enter("other")

    @torch.no_grad()
    def finish(self) -> None:
        """Fill in every missing next_value of the full rows."""
        self.evaluate_finals()
        bootstrap_slot = self._env.arrays["bootstrap_slot"]  # (A,) last slot of a full row, or -1
        for chunk in self._chunks(len(bootstrap_slot)):
            self._timer.enter("copy")
            agents = (chunk.start + np.flatnonzero(bootstrap_slot[chunk] >= 0)).astype(np.int32)
            if not len(agents):
                continue
            obs = self._observations.gather(agents)
            # The new states are discarded, because the agents act on these observations again, with
            # new weights.
            state = None if self._states is None else self._states.gather(agents)
            self._evaluate(bootstrap_slot[agents], obs, state)
            bootstrap_slot[agents] = -1
        self._timer.enter("other")

    def _evaluate(
        self, slots: npt.NDArray[np.int64], obs: npt.NDArray[Any], state: Tensor | None
    ) -> None:
        """Store the values of n observations as the next_value of n slots."""
        self._timer.enter("forward")
        self._backend.evaluate(obs, state, self._next_value, slots)

    def _chunks(self, count: int) -> list[slice]:
        """Divide `count` observations into chunks for a CPU; a GPU evaluates all at once."""
        return chunks(count, EVAL_CHUNK if self._device.type == "cpu" else max(1, count))
