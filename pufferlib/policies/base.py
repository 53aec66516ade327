"""Networks that play: the interface that the trainer knows, the feed-forward one, and a user's own.

Letters: N agents that act, B rows, H horizon, *O one observation, F its entries, D hidden units,
C choices of all discrete heads together, X continuous axes, S entries of a recurrent state.
"""

import dataclasses
import functools
import importlib.util
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pufferenv.spaces import Packing
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.normalization import ObservationNorm, flat_float
from pufferlib.policies.observation_kinds import layout, network, plain
from pufferlib.policies.observation_layout import Parts

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}
LOG_STD = -0.5  # a new policy's log deviation, in halves of an axis's range


class PolicySpec(NamedTuple):
    """What a game shows and asks for: all that a network must know of it."""

    obs_shape: tuple[int, ...]
    obs_dtype: torch.dtype
    sizes: tuple[int, ...]  # (K,) choices of each discrete head
    low: tuple[float, ...]  # (X,) bounds of each continuous axis
    high: tuple[float, ...]
    packing: Packing | None = None  # how an observation lies in its slot; None: one array

    @classmethod
    def of(cls, game: "Game", config: bytes) -> "PolicySpec":
        """Read what a game shows and asks for with this packed config."""
        heads, axes = game.heads(config), game.axes(config)
        return cls(
            tuple(game.obs_shape(config)),
            getattr(torch, game.obs_dtype.name),
            tuple(head.n for head in heads),
            tuple(float(axis.low) for axis in axes),
            tuple(float(axis.high) for axis in axes),
            layout(game, config),
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


class Output(NamedTuple):
    """What a network says about N observations. Games without heads have no logits, and so on."""

    logits: Tensor | None  # (N, C), head after head
    mean: Tensor | None  # (N, X), in the axes' own units
    log_std: Tensor | None  # (X,) or (N, X)
    value: Tensor  # (N,)


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


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """Give `layer` an orthogonal weight (Saxe et al. 2014) of this gain and a bias of 0."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class InputLayer(nn.Linear):
    """The first layer: reads raw observations where they are, strided or not, and normalizes by
    changed weights instead of changed observations."""

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__(spec.obs_size, hidden_size)
        orthogonal(self, math.sqrt(2))

    def weights(self, norm: ObservationNorm | None) -> tuple[Tensor, Tensor]:
        """Weight (D, F) and bias (D,) for raw observations, the normalization folded in."""
        return (self.weight, self.bias) if norm is None else norm.fold(self.weight, self.bias)

    def forward(self, obs: Tensor, norm: ObservationNorm | None = None) -> Tensor:
        """Obs (N, *O) of any dtype -> (N, D)."""
        flat = flat_float(obs, 1)
        if norm is not None and torch.is_autocast_enabled(flat.device.type):
            flat, norm = norm(flat), None  # before digits are lost
        return F.linear(flat, *self.weights(norm))


class LastLayer(nn.Linear):
    """The heads': of the weights' own dtype under autocast too, for it costs little, and a value
    of bfloat16's three digits would drown what an action is worth."""

    def forward(self, x: Tensor) -> Tensor:
        """Units (N, D) of any dtype -> (N, C + X + 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class Heads(nn.Module):
    """The last layer: hidden units to logits, means and value, in one product."""

    middle: Tensor  # (X,) of each axis's range, and half its width; without a range 0 and 1
    reach: Tensor

    def __init__(self, spec: PolicySpec, hidden_size: int) -> None:
        super().__init__()
        self.sizes = [spec.num_choices, len(spec.low), 1]
        self.out = orthogonal(LastLayer(hidden_size, sum(self.sizes)), 1.0)
        for part, gain in zip(self.parts(), (0.01, 0.01, 1.0), strict=True):
            if len(part):
                nn.init.orthogonal_(part, gain)
        if spec.low:
            bounds = [
                ((low + high) / 2, (high - low) / 2) if math.isfinite(high - low) else (0.0, 1.0)
                for low, high in zip(spec.low, spec.high, strict=True)
            ]
            self.register_buffer("middle", torch.tensor([m for m, _ in bounds]), persistent=False)
            self.register_buffer("reach", torch.tensor([h for _, h in bounds]), persistent=False)
            self.log_std = nn.Parameter(torch.full((len(bounds),), LOG_STD))

    def parts(self) -> tuple[Tensor, ...]:
        """Return the weights (C, D) of the logits, (X, D) of the means, (1, D) of the value."""
        return torch.split(self.out.weight.detach(), self.sizes)

    def forward(self, hidden: Tensor) -> Output:
        """Hidden (N, D) -> output of N."""
        return self.split(self.out(hidden))

    def split(self, out: Tensor) -> Output:
        """Tell apart what the product (N, C + X + 1) holds."""
        logits, mean, value = torch.split(out, self.sizes, dim=1)
        log_std = None
        if self.sizes[1]:
            mean = self.middle + self.reach * mean
            log_std = self.log_std + self.reach.log()
        return Output(
            logits if self.sizes[0] else None,
            mean if self.sizes[1] else None,
            log_std,
            value.squeeze(-1),
        )


class MLP(Policy):
    """`num_layers` hidden layers of `hidden_size` units, then the heads.

    On the CPU the trainer acts and learns by manual.py instead, in the same weights.
    """

    def __init__(self, spec: PolicySpec, options: PolicyOptions) -> None:
        super().__init__(spec)
        size = options.hidden_size
        self.first = InputLayer(spec, size)
        self.hidden = nn.ModuleList(
            orthogonal(nn.Linear(size, size), math.sqrt(2)) for _ in range(options.num_layers - 1)
        )
        self.activation = options.activation
        self.heads = Heads(spec, size)

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Obs (N, *O) -> output of N; there is no state."""
        activation = ACTIVATIONS[self.activation]()
        x = activation(self.first(obs, self.norm))
        for layer in self.hidden:
            x = activation(layer(x))
        return self.heads(x), None


class Adapted(Policy):
    """A plain module whose `forward(obs)` returns `(logits, value)` or an Output, as a Policy."""

    def __init__(self, spec: PolicySpec, module: nn.Module) -> None:
        super().__init__(spec)
        self.module = module

    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, None]:
        """Obs (N, *O) -> output of N; there is no state."""
        if not self.parts.flat:
            said = self.module(self.parts.nest(obs, self.norm))
        else:
            said = self.module(obs if self.norm is None else self.inputs(obs).view(obs.shape))
        if not isinstance(said, Output):
            if not isinstance(said, tuple) or len(said) != 2:
                name = type(self.module).__name__
                raise TypeError(
                    f"{name}.forward(obs) returned {type(said).__name__}; "
                    "it must return (logits, value) or a pufferlib.policies.base.Output"
                )
            said = Output(said[0], None, None, said[1])
        value = said.value
        return said._replace(value=value.squeeze(-1) if value.dim() == 2 else value), None


def make_policy(
    options: PolicyOptions, spec: PolicySpec, *, norm_obs: bool = False, seed: int = 0
) -> Policy:
    """Make the network that `options` describe, on the CPU; `seed` decides its weights.

    Raise ValueError or TypeError, with what is missing, for a user's own that does not fit.
    """
    from pufferlib.policies.encoders import Encoded
    from pufferlib.policies.recurrent import LSTM, MinGRU

    name = network(spec.layout) if options.name == "auto" else options.name
    if name == "cnn" and network(spec.layout) != "cnn":
        shown = ", ".join(f"{part.dtype} of shape {part.shape}" for part in spec.layout.parts)
        raise ValueError(
            f"policy.name=cnn needs an image, uint8 of 3 dimensions; the game shows {shown}: "
            "take auto, mlp, lstm or mingru"
        )
    flat = {"mlp": MLP if spec.parts.flat else Encoded, "cnn": Encoded}
    options = dataclasses.replace(options, name=name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if options.path:
            policy = _load(options, spec)
        else:
            policy = {**flat, "lstm": LSTM, "mingru": MinGRU}[name](spec, options)
    if norm_obs and policy.parts.num_normalized:
        policy.norm = ObservationNorm(policy.parts.num_normalized)
    if options.path:
        _try(policy, options.path)
    return policy


def _load(options: PolicyOptions, spec: PolicySpec) -> Policy:
    file, colon, name = options.path.rpartition(":")
    if not colon or not name.isidentifier():
        raise ValueError(f"policy.path={options.path!r} must be FILE:CLASS, as my_file.py:MyPolicy")
    path = Path(file).resolve()
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or module_spec is None or module_spec.loader is None:
        raise ValueError(f"policy.path={options.path!r}: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(path.parent))
    try:
        module_spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    cls = getattr(module, name, None)
    if not isinstance(cls, type) or not issubclass(cls, nn.Module):
        raise ValueError(f"policy.path={options.path!r}: {path.name} has no nn.Module named {name}")
    try:
        made = cls(spec, options)
    except TypeError as error:
        raise TypeError(
            f"policy.path={options.path!r}: a network is made as {name}(spec, options), a "
            f"PolicySpec and the PolicyOptions; that failed: {error}"
        ) from error
    return made if isinstance(made, Policy) else Adapted(spec, made)


@torch.no_grad()
def _try(policy: Policy, path: str) -> None:
    """Run a user's network once, so that a wrong shape is found before training."""
    spec, n = policy.spec, 3
    obs = torch.zeros((n, *spec.obs_shape), dtype=spec.obs_dtype)
    state = policy.initial_state(n)
    output, new_state = policy(obs, state)
    unrolled = policy.unroll(obs.unsqueeze(1), state, torch.zeros((n, 1), dtype=torch.bool))
    want: dict[str, list[tuple[int, ...]]] = {
        "logits": [(n, spec.num_choices)] if spec.sizes else [],
        "mean": [(n, len(spec.low))] if spec.low else [],
        "log_std": [(len(spec.low),), (n, len(spec.low))] if spec.low else [],
        "value": [(n,)],
    }
    for where, said in (("forward", output), ("unroll", unrolled)):
        for name, legal in want.items():
            part = cast(Tensor | None, getattr(said, name))
            shape = None if part is None else tuple(part.shape)
            if shape not in legal if legal else shape is not None:
                wanted = " or ".join(map(str, legal)) or "None"
                raise ValueError(
                    f"policy.path={path!r}: {where} gave {name} of shape {shape} for {n} "
                    f"observations, not {wanted}"
                )
    given = None if new_state is None else tuple(new_state.shape)
    legal_state = (n, policy.state_size) if policy.state_size else None
    if given != legal_state:
        raise ValueError(
            f"policy.path={path!r}: forward gave a state of shape {given}, not {legal_state}"
        )
    for where, part in (("initial_state", state), ("forward", new_state)):
        if part is not None and part.dtype != torch.float32:
            raise ValueError(
                f"policy.path={path!r}: {where} gave a state of {part.dtype}, not torch.float32"
            )
