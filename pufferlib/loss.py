"""PPO's loss as one autograd function: on the CPU a native pass gives the loss and its gradient.

Letters: M steps of a minibatch, K discrete heads, C their choices, X continuous axes.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib import _kernels, reference
from pufferlib.options import TrainOptions
from pufferlib.policy import Output


class Steps(NamedTuple):
    """What a minibatch's steps were: M of each, flat, on the policy's device."""

    action: Tensor | None  # (M, K) int32
    axis: Tensor | None  # (M, X) float32
    masks: Tensor | None  # (M, C) uint8
    logprob: Tensor  # (M,) by the weights that the update began with
    value: Tensor  # (M,)
    advantage: Tensor  # (M,)
    target: Tensor  # (M,)


class LossStats(NamedTuple):
    """Means over a minibatch; floats, or on a GPU tensors of no dimension."""

    loss: Any
    policy: Any
    value: Any
    entropy: Any
    approx_kl: Any
    clip_frac: Any
    old_approx_kl: Any


class _NativeLoss(torch.autograd.Function):
    """The native pass computes the gradient along with the loss; backward hands it out."""

    @staticmethod
    def forward(
        ctx: Any, fixed: dict[str, Any], stats: list[LossStats], *outputs: Tensor | None
    ) -> Tensor:
        """Outputs: logits (M, C), mean (M, X), log_std (M, X) or (X,), values (M,)."""
        outputs = tuple(None if x is None else x.detach().contiguous() for x in outputs)
        grads = [None if x is None else torch.empty_like(x) for x in outputs]
        given = zip(("logits", "mean", "log_std", "values"), outputs, grads, strict=True)
        for name, output, grad in given:
            fixed[name], fixed[f"grad_{name}"] = array(output), array(grad)
        stats.append(LossStats(*_kernels.ppo_loss(**fixed)))
        ctx.grads = grads
        return torch.tensor(stats[-1].loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The loss is almost always the root, whose gradient is 1."""
        factor = grads[0].item()
        scaled = (g if g is None or factor == 1 else g * factor for g in ctx.grads)
        return (None, None, *scaled)


def ppo_loss(
    output: Output, steps: Steps, sizes: npt.NDArray[np.int32] | None, train: TrainOptions
) -> tuple[Tensor, LossStats]:
    """Return PPO's loss (Schulman et al. 2017), to go backward from, and what it is made of."""
    mean, scale = 0.0, 1.0
    if train.norm_adv and steps.advantage.numel() > 1:
        deviation, average = torch.std_mean(steps.advantage, correction=0)
        mean, scale = average.item(), 1 / (deviation.item() + 1e-8)
    settings: dict[str, Any] = {
        "adv_mean": mean,
        "adv_scale": scale,
        "clip_coef": train.clip_coef,
        "vf_coef": train.vf_coef,
        "vf_clip_coef": train.vf_clip_coef,
        "ent_coef": train.ent_coef,
    }
    given: dict[str, Any] = {
        "action": steps.action,
        "axis": steps.axis,
        "masks": steps.masks,
        "logprob": steps.logprob,
        "old_value": steps.value,
        "advantage": steps.advantage,
        "target": steps.target,
    }
    if output.value.is_cuda:
        said = LossStats(
            *reference.ppo_loss(
                values=output.value,
                logits=output.logits,
                mean=output.mean,
                log_std=output.log_std,
                sizes=sizes,
                **given,
                **settings,
            )
        )
        return said.loss, LossStats(*(part.detach() for part in said))
    fixed = {name: array(value) for name, value in given.items()}
    stats: list[LossStats] = []
    loss = _NativeLoss.apply(  # type: ignore[no-untyped-call]
        {"sizes": sizes, **fixed, **settings},
        stats,
        output.logits,
        output.mean,
        output.log_std,
        output.value,
    )
    return cast(Tensor, loss), stats[0]


def array(tensor: Tensor | None) -> npt.NDArray[Any] | None:
    """Show a CPU tensor to a native pass, without a copy."""
    return None if tensor is None else tensor.detach().numpy()
