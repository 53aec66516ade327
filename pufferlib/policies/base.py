"""Policy: the interface of every network, and PolicySpec, all that a network knows of a game.

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
from pufferlib.policies.observation_kinds import plain
from pufferlib.policies.observation_layout import Parts

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec


class PolicySpec(NamedTuple):
    """What a game shows and asks for: all that a network must know of it."""

    obs_shape: tuple[int, ...]
    obs_dtype: torch.dtype
    sizes: tuple[int, ...]  # (K,) choices of each discrete head
    low: tuple[float, ...]  # (X,) bounds of each continuous axis
    high: tuple[float, ...]
    packing: Packing | None = None  # how an observation lies in its slot; None: one array

    @classmethod
    def of(cls, game: "GameSpec") -> "PolicySpec":
        """Return what a policy must know of a game under its config."""
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
        """How an observation lies in its slot."""
        if self.packing is not None:
            return self.packing
        return plain(self.obs_shape, torch.empty((), dtype=self.obs_dtype).numpy().dtype)

    @property
    def parts(self) -> Parts:
        """An observation as a network reads it."""
        return Parts(self.layout)

    @property
    def obs_size(self) -> int:
        """Entries of one observation."""
        return math.prod(self.obs_shape)

    @property
    def num_choices(self) -> int:
        """Choices of all discrete heads together."""
        return sum(self.sizes)


class Policy(nn.Module):
    """The interface. A feed-forward network defines `forward` only and ignores the state.

    `my_file.py:MyPolicy` may be a subclass, made as `MyPolicy(spec, options)`, or any nn.Module
    made in the same way whose `forward(obs)` returns `(logits, value)` or an Output. Observations
    come as the game wrote them: its dtype, its shape, perhaps strided. Those of an external env
    with Dict or Tuple observations are packed: `spec.parts.nest(obs, norm)` has them by name, and a
    plain module gets that.
    """

    state_size = 0  # S; 0: not recurrent

    def __init__(self, spec: PolicySpec) -> None:
        super().__init__()
        self.spec = spec
        self.norm: ObservationNorm | None = None  # set where observations are normalized

    @functools.cached_property
    def parts(self) -> Parts:
        """An observation as a network reads it."""
        return self.spec.parts

    def initial_state(self, n: int) -> Tensor | None:
        """State (n, S) at the start of a life, on the policy's device; None if not recurrent."""
        if not self.state_size:
            return None
        return next(self.parameters()).new_zeros((n, self.state_size))

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor | None]:
        """Act once: obs (N, *O), state (N, S) -> output of N, new state (N, S)."""
        raise NotImplementedError(f"{type(self).__name__}.forward(obs, state) is missing")

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times: obs (B, H, *O), state (B, S) before the first -> output of B * H.

        Where `reset` (B, H) bool is set, a life begins: the state before it is the initial one.
        Must give what `forward` gives, called step by step.
        """
        if self.state_size:
            raise NotImplementedError(f"{type(self).__name__} is recurrent: define unroll()")
        return cast(Output, self(obs.flatten(0, 1), None)[0])

    def inputs(self, obs: Tensor) -> Tensor:
        """Observations (N, *O) as float32 (N, F), normalized where that is on."""
        flat = flat_float(obs, 1)
        return flat if self.norm is None else cast(Tensor, self.norm(flat))
