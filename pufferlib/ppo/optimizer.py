"""AdamW, or Muon for matrices and AdamW for the rest, with their state as named tensors.

All weights lie in one tensor and all gradients in another; the policy's parameters become views of
these. So Adam, clipping and zeroing cost the same for any number of layers, and threads can share
them. Adam: Kingma, Ba 2015, with decoupled weight decay (Loshchilov, Hutter 2019). Muon: Jordan et
al. 2024, torch's. Letters: W weights.
"""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import AdamParams
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool

MIN_WEIGHTS_PER_THREAD = 4096  # weights for which waking another thread pays off


class Optimizer:
    """Takes the gradient steps of one policy. Gradients accumulate in `grads` until `step`.

    For float32 on the CPU it runs recorded kernels, shared by the threads of `thread_pool`; each
    thread but the first may accumulate gradients in a row of `extra_grads`, which `clip` adds to
    `grads`. Otherwise it runs torch operators. Raises ValueError for a policy whose trained
    parameters have several dtypes.
    """

    def __init__(
        self, policy: nn.Module, train: TrainOptions, thread_pool: ThreadPool | None = None
    ) -> None:
        self.train, self.learning_rate = train, train.learning_rate
        trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
        dtypes = sorted({str(p.dtype) for p in trained.values()})
        if len(dtypes) > 1:
            raise ValueError(f"the policy has parameters of {' and '.join(dtypes)}; use one dtype")
        muon = {n: p for n, p in trained.items() if p.dim() == 2 and train.optimizer == "muon"}

        # Make parameters and their gradients views of one tensor each, with Adam's parameters
        # first.
        self.parameters = {n: p for n, p in trained.items() if n not in muon} | muon
        weights = torch.cat([p.detach().flatten() for p in self.parameters.values()])  # (W,)
        self._weights, self._copy = weights, weights
        self.grads = torch.zeros_like(weights)
        self.places: dict[str, slice] = {}  # range of each parameter in both
        begin = 0
        for name, parameter in self.parameters.items():
            place = slice(begin, begin + parameter.numel())
            parameter.data = weights[place].view(parameter.shape)
            parameter.grad = self.grads[place].view(parameter.shape)
            self.places[name], begin = place, place.stop
        rest = begin - sum(p.numel() for p in muon.values())  # number of Adam's weights

        # Adam's moments, and the parameters that change between steps.
        self._mean, self._square = torch.zeros(
            (2, rest), dtype=weights.dtype, device=weights.device
        )
        self._adam = (weights[:rest], self.grads[:rest], self._mean, self._square)
        self.thread_pool = thread_pool or ThreadPool(1)
        self.extra_grads = self.grads.new_zeros((self.thread_pool.size - 1, len(weights)))
        self._steps = torch.zeros((), device=weights.device)  # gradient steps taken
        self._scale = 1.0  # factor of the gradients, set by `clip`
        self._params = AdamParams()  # parameters of the current step
        self._plans: dict[str, LaunchPlan] = {}  # by kernel; empty if torch operators run instead
        if weights.device.type == "cpu" and weights.dtype == torch.float32:
            self._record(rest)

        # Torch's Muon holds its momentum; its state is created now, so that `load` can fill it.
        self._muon: torch.optim.Optimizer | None = None
        if muon:
            self._muon = torch.optim.Muon(
                list(muon.values()),
                momentum=train.muon_momentum,
                weight_decay=train.weight_decay,
                adjust_lr_fn="match_rms_adamw",  # one learning rate for both
            )
            for parameter in muon.values():
                self._muon.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    def _record(self, rest: int) -> None:
        """Record each thread's work on all weights, and on Adam's, which are the first `rest`."""
        size = len(self._weights)
        shares = max(1, min(self.thread_pool.size, size // MIN_WEIGHTS_PER_THREAD))
        self._squares, self._count = np.zeros((shares, 1)), self._steps.numpy()
        reduce: list[list[tuple[str, Graph]]] = []
        step: list[list[tuple[str, Graph]]] = []

        # Add up the threads' gradients, and sum the squares of the result for the norm.
        for share, squares in zip(_split(size, shares), self._squares, strict=True):
            graph = Graph()
            out, more = self.grads[share].numpy(), self.extra_grads[:, share].numpy()
            graph.call(_kernels.reduce_grads, out=out, more=more, squares=squares)
            reduce.append([("optimizer", graph)])

        # Adam's step.
        train, names = self.train, ("weights", "grads", "mean", "square")
        for share in _split(rest, shares):
            graph = Graph()
            arrays = (tensor.detach()[share].numpy() for tensor in self._adam)
            graph.call(
                _kernels.adam,
                **dict(zip(names, arrays, strict=True)),
                params=self._params,
                beta1=train.adam_beta1,
                beta2=train.adam_beta2,
                eps=train.adam_eps,
            )
            step.append([("optimizer", graph)])
        self._plans = {"reduce": LaunchPlan(reduce), "step": LaunchPlan(step)}

    def views(self, tensor: Tensor) -> dict[str, Tensor]:
        """Return each parameter's view of a tensor (W,) with the layout of `grads`, by name."""
        return {
            name: tensor[place].view(self.parameters[name].shape)
            for name, place in self.places.items()
        }

    def thread_grads(self) -> list[dict[str, Tensor]]:
        """Return each thread's gradients, by parameter name."""
        return [self.views(grads) for grads in (self.grads, *self.extra_grads)]

    def copy(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return a copy of each weight in this dtype, by name; `step` and `sync_copy` update it."""
        self._copy = self._weights.to(dtype)
        return self.views(self._copy)

    def sync_copy(self) -> None:
        """Update the copy after something other than `step` changed weights."""
        if self._copy is not self._weights:
            self._copy.copy_(self._weights)

    def check(self, policy: nn.Module) -> None:
        """Raise RuntimeError if a parameter of the policy is no longer the one trained here."""
        begin, size = self._weights.data_ptr(), self._weights.element_size()
        there = {n: p.data_ptr() for n, p in policy.named_parameters() if p.requires_grad}
        for name, place in self.places.items():
            if place.start < place.stop and there.get(name) != begin + size * place.start:
                raise RuntimeError(
                    f"{name} of the policy was replaced, moved or frozen after its trainer was "
                    "made, which still trains the earlier one: change it in place, by "
                    "load_state_dict or copy_, or make a new trainer"
                )

    def clip(self) -> float | Tensor:
        """Make `step` scale the gradients down to `max_grad_norm`; return their norm.

        On a GPU the norm is a tensor on the GPU, so that nothing waits for it.
        """
        limit = self.train.max_grad_norm
        if self._plans:
            self.thread_pool.run(self._plans["reduce"])
            total = math.sqrt(self._squares.sum())
            self._scale = min(1.0, limit / (total + 1e-6)) if limit else 1.0
            return total
        norm: Tensor = torch.linalg.vector_norm(self.grads)
        if limit:
            self.grads.mul_((limit / (norm + 1e-6)).clamp_(max=1.0))
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights with the clipped gradients, and zero the gradients."""
        train, rate = self.train, self.learning_rate
        if self._plans:
            self._count += 1
            steps = int(self._count)
            if self._muon is not None:  # its gradients are scaled too
                self.grads.mul_(self._scale)
            self._params.set(
                grad_scale=1.0 if self._muon is not None else self._scale,
                step_size=rate / (1 - train.adam_beta1**steps),
                root_scale=(1 - train.adam_beta2**steps) ** -0.5,
                weight_factor=1 - rate * train.weight_decay,
            )
            self.thread_pool.run(self._plans["step"])
        else:
            weights, grads, mean, square = self._adam
            adamw(
                [weights],
                [grads],
                [mean],
                [square],
                [],
                [self._steps],
                fused=True,
                amsgrad=False,
                maximize=False,
                lr=rate,
                beta1=train.adam_beta1,
                beta2=train.adam_beta2,
                eps=train.adam_eps,
                weight_decay=train.weight_decay,
            )
        if self._muon is not None:
            for group in self._muon.param_groups:
                group["lr"] = rate
            self._muon.step()
        if self._muon is not None or not self._plans:
            self.zero_grad()
        self.sync_copy()

    def zero_grad(self) -> None:
        """Zero all gradients, including those of other threads."""
        self.grads.zero_()
        self.extra_grads.zero_()
        self._scale = 1.0

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state: `steps`, and `adam.PARAMETER.exp_avg` and the like."""
        state = {"steps": self._steps}
        for name, parameter in self.parameters.items():
            if self._muon is not None and parameter in self._muon.state:
                state[f"muon.{name}.momentum_buffer"] = self._muon.state[parameter][
                    "momentum_buffer"
                ]
                continue
            for key, moment in (("exp_avg", self._mean), ("exp_avg_sq", self._square)):
                state[f"adam.{name}.{key}"] = moment[self.places[name]].view(parameter.shape)
        return state

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the state. Raise ValueError, with nothing changed, if it does not fit."""
        own = self.tensors()
        for name in sorted(own.keys() ^ tensors.keys()):
            problem = "fits no parameter" if name in tensors else "is missing"
            raise ValueError(f"optimizer state {name} {problem}")
        for name, value in tensors.items():
            if value.shape != own[name].shape:
                raise ValueError(
                    f"optimizer state {name} has shape {tuple(value.shape)}, "
                    f"not {tuple(own[name].shape)}"
                )
        for name, value in tensors.items():
            own[name].copy_(value)


def _split(size: int, shares: int) -> list[slice]:
    """Divide `size` weights into equal shares that begin at cache lines."""
    share = 16 * -(-size // (16 * shares))
    return [slice(min(i * share, size), min((i + 1) * share, size)) for i in range(shares)]
