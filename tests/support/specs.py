"""Policy specs of several tests: discrete heads, continuous axes, and both of them."""

from __future__ import annotations

import torch

from pufferlib.policies.base import PolicySpec

DISCRETE = PolicySpec((3, 4), torch.uint8, (5, 2), (), ())
CONTINUOUS = PolicySpec((6,), torch.float32, (), (-2.0, 0.0), (2.0, 10.0))
BOTH = PolicySpec((), torch.float32, (3,), (-1.0,), (1.0,))
