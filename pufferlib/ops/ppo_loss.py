"""PPO's loss and its gradient (Schulman et al. 2017, equations 7 and 9).

On the CPU one kernel computes both, and autograd can differentiate it; on a GPU the loss is
`reference.ppo_loss`, which consists of torch operators. Letters: M transitions of a minibatch, K
discrete heads, C their choices together, X continuous axes.
"""

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import LossParams
from pufferlib.ops import reference
from pufferlib.ops.output import Output
from pufferlib.runtime.graph import Executor
from pufferlib.runtime.tensors import as_array


class Transitions(NamedTuple):
    """M transitions of a minibatch, flat, on the policy's device."""

    action: Tensor | None  # (M, K) int32
    axis: Tensor | None  # (M, X) float32
    mask: Tensor | None  # (M, C) uint8
    logprob: Tensor  # (M,) under the weights at the start of the update
    value: Tensor  # (M,)
    advantage: Tensor  # (M,)
    target: Tensor  # (M,)


class LossStats(NamedTuple):
    """Means over the transitions of a minibatch: floats, or 0-dimensional tensors on a GPU."""

    loss: Any
    policy: Any
    value: Any
    entropy: Any
    approx_kl: Any
    clip_frac: Any
    old_approx_kl: Any


class AdvantageNormalization(NamedTuple):
    """The affine map that normalizes a minibatch's advantages, and its number of transitions.

    The loss uses (advantage - mean) * scale, and its means are over `num_transitions`. All chunks
    of a minibatch use the same normalization and number of transitions, so that their losses and
    gradients sum to those of the minibatch.
    """

    mean: float
    scale: float
    num_transitions: int

    @classmethod
    def of(
        cls,
        advantage: npt.NDArray[np.float32],
        train: TrainOptions,
        rows: npt.NDArray[np.int32] | None = None,
    ) -> "AdvantageNormalization":
        """Measure `rows` (m,) of advantages (R, H), or all advantages of an array of any shape."""
        if rows is None:
            advantage, rows = advantage.reshape(1, -1), np.zeros(1, np.int32)
        count = len(rows) * advantage.shape[1]
        if not train.norm_adv or count < 2:
            return cls(0.0, 1.0, count)
        mean, deviation = _kernels.moments(advantage, rows)
        return cls(mean, 1 / (deviation + 1e-8), count)

    def settings(self, train: TrainOptions) -> dict[str, Any]:
        """Return the loss kernel's scalar arguments."""
        return {
            "adv_mean": self.mean,
            "adv_scale": self.scale,
            "ent_coef": train.ent_coef,
            **_fixed(train),
        }

    def set_params(self, params: LossParams, train: TrainOptions) -> None:
        """Set the scalars of the loss that change between minibatches."""
        params.set(
            adv_mean=self.mean,
            adv_scale=self.scale,
            ent_coef=train.ent_coef,
            count=self.num_transitions,
        )


def _fixed(train: TrainOptions) -> dict[str, float]:
    """Return the scalars of the loss that stay the same during a run."""
    names = ("clip_coef", "vf_coef", "vf_clip_coef")
    return {name: getattr(train, name) for name in names}


class _NativeLoss(torch.autograd.Function):
    """The kernel computes loss and gradient in `forward`; `backward` returns the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        transitions: Transitions,
        settings: dict[str, Any],
        stats: list[LossStats],
        *outputs: Any,
    ) -> Tensor:
        """Compute the loss of logits (M, C), mean (M, X), log_std (M, X) or (X,), values (M,)."""
        outputs = tuple(None if x is None else x.detach().contiguous() for x in outputs)
        grads = [None if x is None else torch.zeros_like(x) for x in outputs]
        arrays = _arrays(Output(*outputs), Output(*grads), transitions)  # type: ignore[arg-type]
        stats.append(LossStats(*_kernels.ppo_loss(**arrays, **settings) or ()))
        ctx.grads = grads
        return torch.tensor(stats[-1].loss)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Scale the stored gradient by the gradient of the loss."""
        factor = grads[0].item()
        scaled = (g if g is None or factor == 1 else g * factor for g in ctx.grads)
        return (None, None, None, *scaled)


def _arrays(output: Output, grads: Output, transitions: Transitions) -> dict[str, Any]:
    """Return the loss kernel's array arguments by name."""
    names = ("logits", "mean", "log_std", "values")
    arrays: dict[str, Any] = {n: as_array(part) for n, part in zip(names, output, strict=True)}
    arrays |= {f"grad_{n}": as_array(part) for n, part in zip(names, grads, strict=True)}
    return arrays | {name: as_array(value) for name, value in _named(transitions).items()}


def _named(transitions: Transitions) -> dict[str, Any]:
    """Return the columns by the kernel's names; `value` becomes `old_value`."""
    columns = transitions._asdict()
    columns["old_value"] = columns.pop("value")
    return columns


def record_loss(
    executor: Executor,
    output: Output,
    grads: Output,
    transitions: Transitions,
    sizes: npt.NDArray[np.int32] | None,
    train: TrainOptions,
    params: LossParams,
    metrics: npt.NDArray[np.float64],
) -> None:
    """Write the gradient of the loss over a chunk of a minibatch into `grads`.

    At run time it reads `params`, which `AdvantageNormalization.set_params` sets, and adds the
    chunk's part of LossStats to `metrics` (7,). The gradient of a log_std (X,) accumulates.
    """
    executor.call(
        _kernels.ppo_loss,
        sizes=sizes,
        **_fixed(train),
        **_arrays(output, grads, transitions),
        params=params,
        metrics=metrics,
    )


def ppo_loss(
    output: Output,
    transitions: Transitions,
    sizes: npt.NDArray[np.int32] | None,
    train: TrainOptions,
    normalization: AdvantageNormalization | None = None,
) -> tuple[Tensor, LossStats]:
    """Return the loss of a whole minibatch, a scalar tensor to differentiate, and its terms.

    Without `normalization`, the advantages are normalized as `train` says.
    """
    if normalization is None:
        normalization = AdvantageNormalization.of(transitions.advantage.cpu().numpy(), train)
    settings = normalization.settings(train)
    if output.value.is_cuda:
        terms = LossStats(
            *reference.ppo_loss(
                values=output.value,
                logits=output.logits,
                mean=output.mean,
                log_std=output.log_std,
                sizes=sizes,
                **_named(transitions),
                **settings,
            )
        )
        return terms.loss, LossStats(*(term.detach() for term in terms))
    stats: list[LossStats] = []
    loss = _NativeLoss.apply(  # type: ignore[no-untyped-call]
        transitions,
        {"sizes": sizes, **settings},
        stats,
        output.logits,
        output.mean,
        output.log_std,
        output.value,
    )
    return cast(Tensor, loss), stats[0]
