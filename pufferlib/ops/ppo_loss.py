"""PPO's loss and its gradient: on the CPU both by one native pass, which autograd can go through.

Letters: M steps of a minibatch, K discrete heads, C their choices, X continuous axes.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.ops import reference
from pufferlib.policies.base import Output
from pufferlib.runtime.graph import Executor
from pufferlib.runtime.tensors import as_array


class Transitions(NamedTuple):
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


class AdvantageNormalization(NamedTuple):
    """How a minibatch standardizes advantages, and the steps that its means are over."""

    mean: float
    scale: float  # advantages are used as (advantage - mean) * scale
    steps: int

    @classmethod
    def of(
        cls,
        advantage: npt.NDArray[np.float32],
        train: TrainOptions,
        rows: npt.NDArray[np.int32] | None = None,
    ) -> "AdvantageNormalization":
        """Of these rows (m,) of advantages (R, H), or of all, which then may be of any shape."""
        if rows is None:
            advantage, rows = advantage.reshape(1, -1), np.zeros(1, np.int32)
        count = len(rows) * advantage.shape[1]
        if not train.norm_adv or count < 2:
            return cls(0.0, 1.0, count)
        mean, deviation = _kernels.moments(advantage, rows)
        return cls(mean, 1 / (deviation + 1e-8), count)

    def settings(self, train: TrainOptions) -> dict[str, Any]:
        """Return the numbers that the loss is made with."""
        return {
            "adv_mean": self.mean,
            "adv_scale": self.scale,
            "ent_coef": train.ent_coef,
            **_fixed(train),
        }

    def numbers(self, train: TrainOptions) -> tuple[float, ...]:
        """Return those that change from one minibatch to the next, as the native pass has them."""
        return self.mean, self.scale, train.ent_coef, self.steps


def _fixed(train: TrainOptions) -> dict[str, float]:
    """Return the settings that hold for a run."""
    names = ("clip_coef", "vf_coef", "vf_clip_coef")
    return {name: getattr(train, name) for name in names}


class _NativeLoss(torch.autograd.Function):
    """The native pass computes the gradient along with the loss; backward hands it out."""

    @staticmethod
    def forward(
        ctx: Any,
        steps: Transitions,
        settings: dict[str, Any],
        stats: list[LossStats],
        *outputs: Any,
    ) -> Tensor:
        """Outputs: logits (M, C), mean (M, X), log_std (M, X) or (X,), values (M,)."""
        outputs = tuple(None if x is None else x.detach().contiguous() for x in outputs)
        grads = [None if x is None else torch.zeros_like(x) for x in outputs]
        arrays = _arrays(Output(*outputs), Output(*grads), steps)  # type: ignore[arg-type]
        stats.append(LossStats(*_kernels.ppo_loss(**arrays, **settings) or ()))
        ctx.grads = grads
        return torch.tensor(stats[-1].loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """The loss is almost always the root, whose gradient is 1."""
        factor = grads[0].item()
        scaled = (g if g is None or factor == 1 else g * factor for g in ctx.grads)
        return (None, None, None, *scaled)


def _arrays(output: Output, grads: Output, steps: Transitions) -> dict[str, Any]:
    """Name what the native pass is given, as it has it."""
    names = ("logits", "mean", "log_std", "values")
    arrays: dict[str, Any] = {n: as_array(part) for n, part in zip(names, output, strict=True)}
    arrays |= {f"grad_{n}": as_array(part) for n, part in zip(names, grads, strict=True)}
    return arrays | {name: as_array(value) for name, value in _given(steps).items()}


def _given(steps: Transitions) -> dict[str, Any]:
    """Name what a minibatch's steps were as the loss names it."""
    given = steps._asdict()
    given["old_value"] = given.pop("value")
    return given


def record_loss(
    do: Executor,
    output: Output,
    grads: Output,
    steps: Transitions,
    sizes: npt.NDArray[np.int32] | None,
    train: TrainOptions,
    numbers: npt.NDArray[np.float64],
    metrics: npt.NDArray[np.float64],
) -> None:
    """Write the gradient of the loss over some steps of a minibatch into `grads`.

    `numbers` (4,) as AdvantageNormalization has them are read, and this part's share of LossStats is added to
    `metrics` (7,), when it is done. The gradient of a log_std for all is added to.
    """
    do.call(
        _kernels.ppo_loss,
        sizes=sizes,
        ent_coef=train.ent_coef,
        **_fixed(train),
        **_arrays(output, grads, steps),
        numbers=numbers,
        metrics=metrics,
    )


def ppo_loss(
    output: Output,
    steps: Transitions,
    sizes: npt.NDArray[np.int32] | None,
    train: TrainOptions,
    standard: AdvantageNormalization | None = None,
) -> tuple[Tensor, LossStats]:
    """Return PPO's loss (Schulman et al. 2017), to go backward from, and what it is made of.

    Over a whole minibatch, whose `standard` is made of `steps` if it is not given.
    """
    settings = (
        standard or AdvantageNormalization.of(steps.advantage.cpu().numpy(), train)
    ).settings(train)
    if output.value.is_cuda:
        said = LossStats(
            *reference.ppo_loss(
                values=output.value,
                logits=output.logits,
                mean=output.mean,
                log_std=output.log_std,
                sizes=sizes,
                **_given(steps),
                **settings,
            )
        )
        return said.loss, LossStats(*(part.detach() for part in said))
    stats: list[LossStats] = []
    loss = _NativeLoss.apply(  # type: ignore[no-untyped-call]
        steps,
        {"sizes": sizes, **settings},
        stats,
        output.logits,
        output.mean,
        output.log_std,
        output.value,
    )
    return cast(Tensor, loss), stats[0]
