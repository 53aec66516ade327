"""Policy: the interface of every network, and PolicySpec: what a network knows about a game.

Letters: N agents that act, B rows, H horizon, *O one observation, F its entries, K discrete heads,
X continuous axes, S entries of a recurrent state.
"""

import functools
import math
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor, nn

from pufferenv.spaces import Packing
from pufferlib.ops.output import Output
from pufferlib.policies.normalization import ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import array_layout
from pufferlib.policies.observation_layout import Parts

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec


class PolicySpec(NamedTuple):
    """Everything that a network needs to know about a game: its observations and actions."""

    obs_shape: tuple[int, ...]
    obs_dtype: torch.dtype
    sizes: tuple[int, ...]  # (K,) choices of each discrete head
    low: tuple[float, ...]  # (X,) bounds of each continuous axis
    high: tuple[float, ...]
    packing: Packing | None = None  # layout of an observation in its slot; None: one array

    @classmethod
    def of(cls, game: "GameSpec") -> "PolicySpec":
        """Return the spec of a game bound to its config."""
        return cls(
            game.obs_shape,
            getattr(torch, game.obs_dtype.name),
            tuple(head.n for head in game.heads),
            tuple(float(axis.low) for axis in game.axes),
            tuple(float(axis.high) for axis in game.axes),
            game.layout,
        )

    @property
    def layout(self) -> Packing:
        """The layout of an observation in its slot."""
        if self.packing is not None:
            return self.packing
        return array_layout(self.obs_shape, torch.empty((), dtype=self.obs_dtype).numpy().dtype)

    @property
    def parts(self) -> Parts:
        """The observation's parts, as a network reads them."""
        return Parts(self.layout)

    @property
    def obs_size(self) -> int:
        """The number of entries of one observation."""
        return math.prod(self.obs_shape)

    @property
    def num_choices(self) -> int:
        """The number of choices of all discrete heads together."""
        return sum(self.sizes)


class Policy(nn.Module):
    """The interface of a network. A feed-forward network defines only `forward`, without a state.

    `policy.path=my_file.py:MyPolicy` may name a subclass, created as `MyPolicy(spec, options)`, or
    any nn.Module that is created in the same way and whose `forward(obs)` returns `(logits, value)`
    or an Output.

    Observations have the dtype and shape that the game writes, and are not always contiguous. Dict
    or Tuple observations of an external env are packed into one array; `spec.parts.nest(obs, norm)`
    returns them as the env's dicts and tuples, which a plain module gets directly.
    """

    state_size = 0  # entries S of a recurrent state; 0: the network is feed-forward

    def __init__(self, spec: PolicySpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm: ObservationNorm | None = None  # set if observations are normalized

    @functools.cached_property
    def parts(self) -> Parts:
        """The observation's parts, as a network reads them."""
        return self.spec.parts

    def initial_state(self, n: int) -> Tensor | None:
        """Return the state (n, S) at the start of a life, on the policy's device, or None."""
        if not self.state_size:
            return None
        return next(self.parameters()).new_zeros((n, self.state_size))

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor | None]:
        """Act once: obs (N, *O), state (N, S) -> output of N, new state (N, S)."""
        raise NotImplementedError(f"{type(self).__name__}.forward(obs, state) is missing")

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times: obs (B, H, *O), state (B, S) before the first step -> output of B * H.

        A life begins, from the initial state, wherever `reset` (B, H) bool is True. The output must
        equal that of `forward` called step by step.
        """
        if self.state_size:
            raise NotImplementedError(f"{type(self).__name__} is recurrent: define unroll()")
        return cast(Output, self(obs.flatten(0, 1), None)[0])

    def inputs(self, obs: Tensor) -> Tensor:
        """Return observations (N, *O) as float32 (N, F), normalized if `norm` is set."""
        flat = flat_float(obs, 1)
        return flat if self.norm is None else cast(Tensor, self.norm(flat))
