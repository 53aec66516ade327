"""Autocast: run any policy under torch's autocast to bfloat16."""

import torch
from torch import Tensor

from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy


class Autocast(Policy):
    """A policy run under autocast; outputs and states are float32 again."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy, self.norm, self.state_size = policy, policy.norm, policy.state_size

    def initial_state(self, n: int) -> Tensor | None:
        """Return the state (n, S) at the start of a life."""
        return self.policy.initial_state(n)

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor | None]:
        """Act once, as Policy.forward."""
        with torch.autocast(obs.device.type, torch.bfloat16):
            output, new = self.policy(obs, state)
        return _as_float32(output), None if new is None else new.float()

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times, as Policy.unroll."""
        with torch.autocast(obs.device.type, torch.bfloat16):
            output = self.policy.unroll(obs, state, reset)
        return _as_float32(output)


def _as_float32(output: Output) -> Output:
    return Output._make(part if part is None else part.float() for part in output)
