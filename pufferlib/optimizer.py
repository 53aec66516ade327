"""Adam, or Muon for matrices and Adam for the rest, with their state as named tensors.

All weights lie in one tensor and all gradients in another, of which the policy's parameters become
views: Adam, clipping and zeroing cost the same for any number of layers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from pufferlib import _kernels
from pufferlib.options import TrainOptions


class Optimizer:
    """Takes the gradient steps of one policy. Gradients add up in `grads` until `step`.

    Raises ValueError for a policy whose trained parameters are of several dtypes.
    """

    def __init__(self, policy: nn.Module, train: TrainOptions) -> None:
        self.train, self.learning_rate = train, train.learning_rate
        trained = {name: p for name, p in policy.named_parameters() if p.requires_grad}
        dtypes = sorted({str(p.dtype) for p in trained.values()})
        if len(dtypes) > 1:
            raise ValueError(f"the policy has parameters of {' and '.join(dtypes)}; make them one")
        muon = {n: p for n, p in trained.items() if p.dim() == 2 and train.optimizer == "muon"}
        self.parameters = {n: p for n, p in trained.items() if n not in muon} | muon
        weights = torch.cat([p.detach().flatten() for p in self.parameters.values()])  # (W,)
        self._weights, self._copy = weights, weights
        self.grads = torch.zeros_like(weights)
        self.places: dict[str, slice] = {}  # of each parameter in them
        begin = 0
        for name, parameter in self.parameters.items():
            place = slice(begin, begin + parameter.numel())
            parameter.data = weights[place].view(parameter.shape)
            parameter.grad = self.grads[place].view(parameter.shape)
            self.places[name], begin = place, place.stop
        rest = begin - sum(p.numel() for p in muon.values())  # Adam's come first
        self._mean, self._square = torch.zeros(
            (2, rest), dtype=weights.dtype, device=weights.device
        )
        self._adam = (weights[:rest], self.grads[:rest], self._mean, self._square)
        self._arrays: dict[str, Any] = {}  # for the native pass; empty: torch's does it
        if weights.device.type == "cpu" and weights.dtype == torch.float32:
            names = ("weights", "grads", "mean", "square")
            self._arrays = {n: t.detach().numpy() for n, t in zip(names, self._adam, strict=True)}
            self._all_grads = self.grads.numpy()
        self._steps = torch.zeros((), device=weights.device)  # gradient steps taken
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

    def views(self, tensor: Tensor) -> dict[str, Tensor]:
        """Show each parameter's part of a tensor that lies as `grads` does, by name."""
        return {
            name: tensor[place].view(self.parameters[name].shape)
            for name, place in self.places.items()
        }

    def copy(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return each weight in this dtype, by name, brought up to date by `step` and `renew`."""
        self._copy = self._weights.to(dtype)
        return self.views(self._copy)

    def renew(self) -> None:
        """Bring the copy up to date after weights were changed from outside."""
        if self._copy is not self._weights:
            self._copy.copy_(self._weights)

    def check(self, policy: nn.Module) -> None:
        """Raise RuntimeError if what is trained here is not the policy's any more."""
        begin, size = self._weights.data_ptr(), self._weights.element_size()
        there = {n: p.data_ptr() for n, p in policy.named_parameters() if p.requires_grad}
        for name, place in self.places.items():
            if place.start < place.stop and there.get(name) != begin + size * place.start:
                raise RuntimeError(
                    f"{name} of the policy was replaced, moved or frozen after its trainer was "
                    "made, which goes on with what it was: change it in place, by load_state_dict "
                    "or copy_, or make a new trainer"
                )

    def clip(self) -> float | Tensor:
        """Scale the gradients down to `max_grad_norm`; return their norm before, on a GPU there."""
        limit = self.train.max_grad_norm
        if self._arrays:
            length = _kernels.norm(self._all_grads)
            if limit and length > limit:
                self.grads.mul_(limit / (length + 1e-6))
            return length
        norm: Tensor = torch.linalg.vector_norm(self.grads)
        if limit:  # without waiting for it
            self.grads.mul_((limit / (norm + 1e-6)).clamp_(max=1.0))
        return norm

    @torch.no_grad()
    def step(self) -> None:
        """Change the weights by their gradients, and forget the gradients."""
        train = self.train
        settings: dict[str, Any] = {
            "beta1": train.adam_beta1,
            "beta2": train.adam_beta2,
            "eps": train.adam_eps,
            "weight_decay": train.weight_decay,
        }
        if self._arrays:
            self._steps += 1
            _kernels.adam(
                **self._arrays,
                steps=int(self._steps),
                learning_rate=self.learning_rate,
                **settings,
            )
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
                lr=self.learning_rate,
                **settings,
            )
        if self._muon is not None:
            for group in self._muon.param_groups:
                group["lr"] = self.learning_rate
            self._muon.step()
        if self._muon is not None or not self._arrays:
            self.zero_grad()
        self.renew()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.grads.zero_()

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
        """Go on from `tensors`. Raise ValueError, with nothing changed, if they do not fit."""
        own = self.tensors()
        for name in sorted(own.keys() ^ tensors.keys()):
            said = "fits no parameter" if name in tensors else "is missing"
            raise ValueError(f"optimizer state {name} {said}")
        for name, value in tensors.items():
            if value.shape != own[name].shape:
                raise ValueError(
                    f"optimizer state {name} has shape {tuple(value.shape)}, "
                    f"not {tuple(own[name].shape)}"
                )
        for name, value in tensors.items():
            own[name].copy_(value)
