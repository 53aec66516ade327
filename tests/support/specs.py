"""Policy specs of several tests: discrete heads, continuous axes, both, and unusual axes."""

from __future__ import annotations

import math

import torch

from pufferlib.policies.base import PolicySpec

DISCRETE = PolicySpec((3, 4), torch.uint8, (5, 2), (), ())
CONTINUOUS = PolicySpec((6,), torch.float32, (), (-2.0, 0.0), (2.0, 10.0))
BOTH = PolicySpec((), torch.float32, (3,), (-1.0,), (1.0,))
# Without bounds, with one, with one value, with bounds that say nothing, and with ordinary ones.
UNUSUAL = PolicySpec(
    (6,),
    torch.float32,
    (),
    (-math.inf, 3.0, -math.inf, 0.3, -3e38, -2.0),
    (math.inf, math.inf, -3.0, 0.3, 3e38, 2.0),
)
