"""Policies for tests, whose outputs are integer arithmetic on the observation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec


class Known(Policy):
    """Plays probe. Its parameters are trained, so that its outputs differ between versions."""

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        self.bias = nn.Parameter(torch.zeros(8))
        self.push = nn.Parameter(torch.zeros(1))
        self.log_std = nn.Parameter(torch.full((1,), -0.5))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Map obs (N, 4) to N outputs."""
        number = mixed(obs.long())
        odd = 2 * torch.arange(8) + 3
        logits = self.bias + (number.unsqueeze(1) * odd % 11) / 8
        mean = self.push + (number.unsqueeze(1) % 7) / 8
        return Output(logits, mean, self.log_std, self.shift + number / 256), None


class Spelled(Policy):
    """Plays script at random; a value encodes its observation: 16 agent + 4 life + step."""

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        self.bias = nn.Parameter(torch.zeros(spec.num_choices))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Map obs (N, 4) to N outputs."""
        value = self.shift + obs[:, 1] * 16 + obs[:, 2] * 4 + obs[:, 3]
        return Output(self.bias.expand(len(obs), -1), None, None, value), None


def mixed(obs: Any) -> Any:
    """Map integers (N, 4), tag, agent, life and step, to (N,) in [0, 1021)."""
    return (obs[:, 0] % 1021 * 7 + obs[:, 1] * 31 + obs[:, 2] * 131 + obs[:, 3] * 17) % 1021
