"""Adam, or Muon for matrices and Adam for the rest, with their state as named tensors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pufferlib.options import TrainOptions


class Optimizer:
    """Takes the gradient steps of one policy; `parts` are torch's own optimizers by name."""

    def __init__(self, policy: nn.Module, train: TrainOptions) -> None:
        self.max_grad_norm = train.max_grad_norm
        self.names: dict[Tensor, str] = {
            p: name for name, p in policy.named_parameters() if p.requires_grad
        }
        self.parameters = list(self.names)
        matrices = [p for p in self.parameters if p.dim() == 2 and train.optimizer == "muon"]
        rest = [p for p in self.parameters if not any(p is m for m in matrices)]
        self.parts: dict[str, torch.optim.Optimizer] = {}
        if matrices:
            self.parts["muon"] = torch.optim.Muon(
                matrices,
                lr=train.learning_rate,
                momentum=train.muon_momentum,
                weight_decay=train.weight_decay,
                adjust_lr_fn="match_rms_adamw",  # one learning rate for both
            )
        if rest:
            self.parts["adam"] = torch.optim.AdamW(
                rest,
                lr=train.learning_rate,
                betas=(train.adam_beta1, train.adam_beta2),
                eps=train.adam_eps,
                weight_decay=train.weight_decay,
                fused=True,
            )

    def set_learning_rate(self, learning_rate: float) -> None:
        """Use this step size from now on."""
        for part in self.parts.values():
            for group in part.param_groups:
                group["lr"] = learning_rate

    def clip(self) -> Tensor:
        """Scale the gradients down to `max_grad_norm`; return their norm before."""
        limit = self.max_grad_norm or torch.inf
        return nn.utils.clip_grad_norm_(self.parameters, limit, foreach=True)

    def step(self) -> None:
        """Change the weights by their gradients, and forget the gradients."""
        for part in self.parts.values():
            part.step()
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Return the whole state, as `adam.PARAMETER.exp_avg`."""
        return {
            f"{kind}.{self.names[parameter]}.{key}": value
            for kind, part in self.parts.items()
            for parameter, values in part.state.items()
            for key, value in values.items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from `tensors`. Raise ValueError, with nothing changed, if they do not fit."""
        states: dict[str, dict[Tensor, dict[str, Tensor]]] = {kind: {} for kind in self.parts}
        owners = {
            f"{kind}.{self.names[p]}": (kind, p)
            for kind, part in self.parts.items()
            for group in part.param_groups
            for p in group["params"]
        }
        for name, value in tensors.items():
            owner, _, key = name.rpartition(".")
            if owner not in owners:
                raise ValueError(f"optimizer state {name} fits no parameter of {', '.join(states)}")
            kind, parameter = owners[owner]
            if value.dim() and value.shape != parameter.shape:
                raise ValueError(
                    f"optimizer state {name} has shape {tuple(value.shape)}, "
                    f"not {tuple(parameter.shape)}"
                )
            states[kind].setdefault(parameter, {})[key] = value.to(parameter.device, copy=True)
        for kind, part in self.parts.items():
            part.state.clear()
            part.state.update(states[kind])
