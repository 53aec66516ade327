"""Networks without autograd, forward and back in memory that is there already: feed-forward ones,
and what manual_recurrent.py shares.

Autograd asks for memory in every operator, keeps sums beside what became of them, and for small
networks takes longer than the products. Here each layer is one product and one native pass, on so
few steps at a time that all they leave stays in a core's cache, and gradients are added up where
the optimizer reads them. One thread's work: each thread has one of its own. With weights of
bfloat16 so are the operands of all products but the heads'; all else stays float32.

Letters as in policy.py; N steps of a part.
"""

import functools
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy.typing as npt
import torch
from torch import Tensor, nn

from pufferlib import _kernels
from pufferlib.normalize import ObservationNorm
from pufferlib.policy import MLP, Heads, InputLayer, Output, Policy
from pufferlib.recurrent import LSTM, MinGRU, Recurrent
from pufferlib.tape import Doer, Input, Tape

BY_PARTS = ("auto", "mlp", "lstm", "mingru")  # policy.name of networks that mostly fit
PART = 1024  # steps at a time: 128 units of two layers and their gradients are 2 MB
ROWS = 128  # of an LSTM, at a time: each of its products is of one step of them


class Manual(Protocol):
    """A network that goes back by itself, through what it unrolled last."""

    def forward(
        self, obs: Tensor, state: Tensor | None, new: Tensor | None = None
    ) -> tuple[Output, Tensor | None]:
        """Act once, as Policy.forward. Valid until the next call; so is the new state, unless `new`
        says where it shall be written, which may be where the state is."""

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times, as Policy.unroll. Valid until the next call."""

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last, all of it."""

    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""


def manual(
    policy: Policy,
    grads: Mapping[str, Tensor],
    steps: int = 0,
    rounded: Mapping[str, Tensor] | None = None,
) -> Manual | None:
    """Return `policy` without autograd, if there is a way; hooks of its modules are not called.

    `grads`: of each parameter, by name, added to; `steps`: to go back through at once, if they are
    more than PART; `rounded`: the parameters in bfloat16, to use in products. There is one for our
    own layers in float32 on the CPU, all of them trained.
    """
    from pufferlib.manual_recurrent import ManualLSTM, ManualMinGRU

    if not fits(policy):
        return None
    if isinstance(policy, MLP):
        return ManualMLP(policy, grads, max(PART, steps), rounded)
    kind = ManualLSTM if isinstance(policy, LSTM) else ManualMinGRU
    return kind(cast(Recurrent, policy), grads)


def fits(policy: Policy) -> bool:
    """Return whether there is a way without autograd."""
    if type(policy) not in (MLP, LSTM, MinGRU) or not isinstance(policy.first, InputLayer):
        return False
    kinds = {(p.device.type, p.dtype, p.requires_grad) for p in policy.parameters()}
    return policy.activation in ("relu", "tanh") and kinds == {("cpu", torch.float32, True)}


def rows_at_once(policy: Policy, horizon: int, share: int) -> int:
    """Return how many rows to go through at once; `share`: those of a minibatch for one thread."""
    return min(ROWS, share) if isinstance(policy, LSTM) else max(1, PART // horizon)


def shown(tensor: Tensor) -> npt.NDArray[Any]:
    """Return the tensor as an array; bfloat16, which numpy has not, as uint16."""
    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


class Dense:
    """One layer, y = f(x W' + b); f is named as the native pass has it. `norm` is folded in."""

    dtype = torch.float32  # of x

    def __init__(
        self,
        weight: Tensor,  # (D, F)
        bias: Tensor,  # (D,)
        grads: tuple[Tensor, Tensor],  # of both, added to
        activation: str,
        norm: ObservationNorm | None = None,
    ) -> None:
        self.weight, self.bias, self.grads = weight, bias, grads
        self.activation, self.norm = activation, norm
        self._used, self._sums = (weight, bias), grads
        if norm is not None:
            self._used = (torch.empty_like(weight), torch.empty_like(bias))
            self._sums = (torch.empty_like(weight), torch.empty_like(bias))

    def refresh(self) -> None:
        """Take note of changed weights and statistics."""
        if self.norm is not None:
            self.norm.fold(self.weight, self.bias, out=self._used)

    def forward(self, do: Doer, x: Tensor | Input, y: Tensor) -> None:
        """X (N, F) -> y (N, D)."""
        weight, bias = self._used
        do.product(x, weight.t(), y)
        do.run(_kernels.dense, y=y.numpy(), bias=bias.numpy(), activation=self.activation)

    def begin_back(self) -> None:
        """Before any number of `back`."""
        if self.norm is not None:
            for part in self._sums:
                part.zero_()

    def back(
        self, do: Doer, x: Tensor | Input, y: Tensor, grad: Tensor, grad_x: Tensor | None
    ) -> None:
        """Go back from `grad` (N, D), of y, which becomes the product's, to that of x (N, F)."""
        weight, bias = self._sums
        given = {"y": y.numpy(), "grad": grad.numpy(), "grad_bias": bias.numpy()}
        do.run(_kernels.dense_back, activation=self.activation, **given)
        do.product(grad.t(), x, weight, add=True)
        if grad_x is not None:
            do.product(grad, self.weight, grad_x)

    def end_back(self) -> None:
        """After them."""
        if self.norm is not None:  # the folded weights are W scale, the bias is b - W scale mean
            (weight, bias), (folded, sums) = self.grads, self._sums
            weight.addcmul_(folded.addr_(sums, self.norm.mean, alpha=-1), self.norm.scale)
            bias += sums


class DenseBF16:
    """One layer of which x and W are bfloat16; y and its gradient are, or float32."""

    dtype = torch.bfloat16  # of x

    def __init__(
        self,
        weight: Tensor,  # (D, F)
        bias: Tensor,  # (D,) float32
        grads: tuple[Tensor, Tensor],  # of both, float32, added to
        activation: str,
        steps: int,
    ) -> None:
        self.weight, self.bias, self.activation = weight, bias, activation
        self.grad_weight, self.grad_bias = grads
        self._part = torch.empty_like(weight)
        self._beside = weight.new_empty((steps, len(bias)))

    def forward(self, do: Doer, x: Tensor | Input, y: Tensor) -> None:
        """X (N, F) -> y (N, D)."""
        product = self._place(y)
        do.product(x, self.weight.t(), product)
        given = {"product": product, "y": y, "bias": self.bias}
        arrays = {name: shown(tensor) for name, tensor in given.items()}
        do.run(_kernels.dense_bf16, activation=self.activation, **arrays)

    def back(
        self, do: Doer, x: Tensor | Input, y: Tensor, grad: Tensor, grad_x: Tensor | None
    ) -> None:
        """Go back from `grad` (N, D), of y, to that of x (N, F)."""
        product = self._place(grad)
        given = {"y": y, "grad": grad, "out": product, "grad_bias": self.grad_bias}
        arrays = {name: shown(tensor) for name, tensor in given.items()}
        do.run(_kernels.dense_bf16_back, activation=self.activation, **arrays)
        do.product(product.t(), x, self._part)
        do.do(functools.partial(torch.add, self.grad_weight, self._part, out=self.grad_weight))
        if grad_x is not None:
            do.product(product, self.weight, grad_x)

    def _place(self, y: Tensor) -> Tensor:
        """Return where the product of y or its gradient is: there, unless that is float32."""
        return y if y.dtype == self.dtype else self._beside[: len(y)]


class ByHand:
    """What networks without autograd have in common: dense layers, and heads that say something."""

    def __init__(self, policy: Policy, heads: Heads, grads: Mapping[str, Tensor]) -> None:
        self.heads, self.outputs, self._policy, self._grads = heads, sum(heads.sizes), policy, grads
        self.log_std: Tensor | None = None
        self.grad_log_std: Tensor | None = None
        if policy.spec.low:
            self.log_std, self.grad_log_std = torch.empty((2, len(policy.spec.low)))
            self._log_reach = heads.reach.log()

    def dense(self, name: str, activation: str, norm: ObservationNorm | None = None) -> Dense:
        """Make one of the policy's layers."""
        return Dense(*self._layer(name), activation, norm)

    def _layer(self, name: str) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return a layer's weight and bias, and where their gradients are added up."""
        layer = cast(nn.Linear, self._policy.get_submodule(name))
        grads = self._grads[f"{name}.weight"], self._grads[f"{name}.bias"]
        return layer.weight.detach(), layer.bias.detach(), grads

    def apart(self, out: Tensor, log_std: Tensor | None) -> Output:
        """Tell apart the columns (N, C + X + 1) of the last product, or of its gradient: views."""
        logits, mean, value = torch.split(out, self.heads.sizes, dim=1)
        return Output(
            logits if self.heads.sizes[0] else None,
            mean if self.heads.sizes[1] else None,
            log_std,
            value.squeeze(1),
        )

    def spoken(self, out: Tensor) -> Output:
        """Return what the last product (N, C + X + 1) says, means in the axes' own units."""
        output, heads = self.apart(out, self.log_std), self.heads
        if output.mean is not None:
            torch.addcmul(heads.middle, heads.reach, output.mean, out=output.mean)
            torch.add(heads.log_std, self._log_reach, out=self.log_std)
        return output

    def heard(self, gradient: Output) -> None:
        """Go back from there."""
        if gradient.mean is not None:
            gradient.mean.mul_(self.heads.reach)
            self._grads["heads.log_std"].add_(cast(Tensor, gradient.log_std))


class Part:
    """Views of the memory of N steps, and what is done there: the way forth and the way back."""

    def __init__(self, network: "ManualMLP", begin: int, n: int) -> None:
        self.network, self.seen = network, Input(n, network.x.shape[1])
        self.said, self.grads = network.said[begin : begin + n], [g[:n] for g in network.grads]
        self._ys: list[Tensor] = [*(y[:n] for y in network.hidden), self.said]
        self._xs: list[Tensor | Input] = [self.seen, *self._ys[:-1]]

    @functools.cached_property
    def forth(self) -> Tape:
        """From `seen` to `said`."""
        tape = Tape(native=self.network.native)
        for layer, x, y in zip(self.network.layers, self._xs, self._ys, strict=True):
            layer.forward(tape, x, y)
        return tape

    @functools.cached_property
    def back(self) -> Tape:
        """From the last of `grads` to those of the parameters."""
        tape, layers = Tape(native=self.network.native), self.network.layers
        for i in range(len(layers) - 1, -1, -1):
            grad_x = self.grads[i - 1] if i else None
            layers[i].back(tape, self._xs[i], self._ys[i], self.grads[i], grad_x)
        return tape


class ManualMLP(ByHand):
    """An MLP by the policy's own weights. `grads`: of each parameter, by name, added to; `rounded`:
    the parameters in bfloat16, if hidden layers are to use these."""

    def __init__(
        self,
        policy: MLP,
        grads: Mapping[str, Tensor],
        steps: int,
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads)
        self.steps, self.native, f = steps, not rounded, policy.activation
        names = ["first", *(f"hidden.{i}" for i in range(len(policy.hidden)))]
        self.norm: ObservationNorm | None = None  # of what is seen, if that is not folded in
        self.first: Dense | None = None  # which it is folded into
        if rounded:
            self.norm = policy.norm  # while it has all its digits
            layers = [(rounded[f"{name}.weight"], *self._layer(name)[1:]) for name in names]
            hidden: list[Any] = [DenseBF16(*layer, f, steps) for layer in layers]
        else:
            self.first = self.dense("first", f, policy.norm)
            hidden = [self.first, *(self.dense(name, f) for name in names[1:])]
        self.layers: list[Dense | DenseBF16] = [*hidden, self.dense("heads.out", "identity")]
        first, *above = (layer.dtype for layer in self.layers)
        self.x = torch.empty((steps, policy.spec.obs_size), dtype=first)  # where that is not theirs
        if self.norm is not None:
            self.normal = torch.empty(self.x.shape)
        self.grads = [
            torch.empty((steps, len(layer.bias)), dtype=dtype)
            for layer, dtype in zip(self.layers, [*above, torch.float32], strict=True)
        ]
        self.hidden = [torch.empty_like(grad) for grad in self.grads[:-1]]
        self.said = torch.empty_like(self.grads[-1])  # (N, C + X + 1), as many as act at once
        self._part = functools.lru_cache(maxsize=128)(functools.partial(Part, self))
        self._last = self._part(0, 1)  # what was unrolled

    @torch.no_grad()
    def forward(
        self, obs: Tensor, state: Tensor | None = None, new: Tensor | None = None
    ) -> tuple[Output, None]:
        """Obs (N, *O) -> output of N; there is no state."""
        if self.first is not None:
            self.first.refresh()
        n = obs.shape[0]
        if n <= self.steps:
            return self.spoken(self._forward(obs, 0)), None
        if n > self.said.shape[0]:
            self.said = self.said.new_empty((n, self.said.shape[1]))
            self._part.cache_clear()
        for begin in range(0, n, self.steps):
            self._forward(obs[begin : begin + self.steps], begin)
        return self.spoken(self.said[:n]), None

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O) -> output of B * H. To go back from, at most `steps`."""
        return self.forward(obs.flatten(0, 1))[0]

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self.apart(self._last.grads[-1], self.grad_log_std)

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        self.heard(self.gradient())
        if self.first is not None:
            self.first.begin_back()
        self._last.back.play()
        if self.first is not None:
            self.first.end_back()

    def _forward(self, obs: Tensor, begin: int) -> Tensor:
        """Unroll at most `steps`; return the last product's place, in `said` from `begin` on."""
        self._last = part = self._part(begin, obs.shape[0])
        x = obs.flatten(1) if obs.dim() > 1 else obs.unsqueeze(1)
        if x.dtype != self.x.dtype:
            if self.norm is not None:
                x = torch.sub(x, self.norm.mean, out=self.normal[: len(x)]).mul_(self.norm.scale)
            x = self.x[: len(x)].copy_(x)
        part.seen.put(x)
        part.forth.play()
        return part.said
