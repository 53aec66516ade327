"""PPO's epochs (Schulman et al. 2017, algorithm 1): everything that changes the weights.

`Learner.learn` reads top to bottom: shuffle the batch's sequences, which are whole rows or single
steps, divide them into minibatches, compute each one's gradient, clip it, take an optimizer step.
The loss is in ops/ppo_loss.py; docs/design.md draws the flow of data into the batch ("A training
step").
"""

import math
from typing import Any

import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.ops.ppo_loss import AdvantageNormalization, LossStats
from pufferlib.policies.base import Policy
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.ppo.backend import PolicyBackend
from pufferlib.ppo.batch import Batch
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.runtime.timer import Timer

STATISTICS_CHUNK = 2048  # slots whose observations are added to the statistics at a time
BOUNDS_STEPS = 4096  # steps of a batch in which out_of_bounds counts


class TrainingDiverged(RuntimeError):
    """A loss, gradient or weight is NaN or infinite: training cannot continue."""


class Learner:
    """Trains a policy on loaded batches. `train` may be replaced between batches.

    `seed` determines the order in which sequences are trained on.
    """

    def __init__(
        self,
        policy: Policy,
        backend: PolicyBackend,
        batch: Batch,
        optimizer: Optimizer,
        train: TrainOptions,
        timer: Timer,
        seed: int,
    ) -> None:
        self.policy, self.backend, self.batch = policy, backend, batch
        self.optimizer, self.train, self.timer = optimizer, train, timer
        self.shuffle = torch.Generator().manual_seed(seed)

    def learn(self, when: str = "") -> dict[str, float]:
        """Train on the batch for up to `update_epochs` epochs; return means over gradient steps.

        Raise TrainingDiverged before a NaN or an infinity reaches the weights, or on a GPU after
        the last epoch; its message names `when`.
        """
        train, timer, sizes = self.train, self.timer, self.batch.sizes
        stats: list[LossStats] = []
        norms: list[float | Tensor] = []

        # Drop gradients that an interrupted update may have left.
        self.optimizer.zero_grad()

        # Update the statistics that normalize observations. They take effect after the last epoch,
        # so that acting and learning use the same statistics for a batch.
        if self.policy.norm is not None:
            self._update_statistics(self.policy.norm)

        for _ in range(train.update_epochs):
            # Each sequence is in one minibatch of an epoch.
            order = torch.randperm(sizes.batch_sequences, generator=self.shuffle)
            for part in torch.split(order, sizes.minibatch_sequences):
                stats.append(self.minibatch(part))
                self._require_finite("loss", stats[-1].loss, when)
                timer.enter("optimizer")
                norms.append(self.optimizer.clip())
                self._require_finite("gradient", norms[-1], when)
                self.optimizer.step()
            timer.enter("other")

            # Stop early once the policy has moved too far from the one that acted.
            epoch = stats[-sizes.minibatches :]
            if train.target_kl and _mean(epoch, "approx_kl") > train.target_kl:
                break

        if self.policy.norm is not None:
            self.policy.norm.publish()
        weights = [parameter.detach() for parameter in self.policy.parameters()]
        norm = torch.stack(torch._foreach_norm(weights)).sum()
        self._require_finite("weights", norm, when, now=True)

        means = {f"loss/{name}": _mean(stats, name) for name in LossStats._fields}
        means["loss/grad_norm"] = float(sum(norms) / len(norms))
        means["loss/explained_variance"] = self._explained_variance()
        if "axis" in self.batch.pool:
            means["policy/out_of_bounds"] = self._out_of_bounds()
        return means

    def minibatch(self, part: Tensor) -> LossStats:
        """Add the gradient over these sequences of the batch, (m,) int64; return their means."""
        self.timer.enter("copy")
        return self.backend.loss_and_grad(part, self.normalization(part), self.train)

    def normalization(self, part: Tensor) -> AdvantageNormalization:
        """Return the normalization of these sequences' advantages, by their own statistics."""
        taken = self.batch.sequences[part.numpy()]
        return AdvantageNormalization.of(self.batch.pool["advantage"], self.train, taken)

    def _update_statistics(self, norm: ObservationNorm) -> None:
        """Add the batch's observations to the statistics that normalize observations."""
        self.timer.enter("copy")
        sizes, parts = self.batch.sizes, self.policy.parts
        size = max(1, STATISTICS_CHUNK // sizes.sequence)
        for begin in range(0, sizes.batch_sequences, size):
            chunk = slice(begin, begin + size)
            norm.update(parts.numbers(self.batch.observations(chunk, parts.flat)))

    def _require_finite(self, name: str, value: Any, when: str, *, now: bool = False) -> None:
        """Raise TrainingDiverged for NaN or infinity; on a GPU only if `now`, because it waits."""
        if self.batch.device.type == "cuda" and not now:
            return
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"{name} is {float(value)} in {when}: the weights are not saved. vec.debug=true "
                "finds NaN in the game's observations and rewards; if there is none, a lower "
                "train.learning_rate or train.reward_scale (returns of order 1) often helps"
            )

    def _explained_variance(self) -> float:
        """Return 1 - Var(target - value) / Var(target), or 0 if all targets are equal.

        `value` is the value when acting; target - value is the advantage.
        """
        names = ("advantage", "target")
        columns = (self.batch.columns[name] for name in names)
        residual, variance = (_kernels.moments(c, self.batch.rows)[1] ** 2 for c in columns)
        return 1 - residual / variance if variance > 0 else 0.0

    def _out_of_bounds(self) -> float:
        """Return the share of sampled axis values that lay outside their bounds.

        The game gets them clipped, so that for it they are all the same. An axis of one value,
        which is not sampled to any effect, has none.
        """
        env, few = self.batch.env, max(1, BOUNDS_STEPS // self.batch.sizes.sequence)
        axis = self.batch.pool["axis"][self.batch.sequences[:few]]
        return float((((axis < env.low) | (axis > env.high)) & (env.low < env.high)).mean())


def _mean(stats: list[LossStats], name: str) -> float:
    return sum(float(getattr(stat, name)) for stat in stats) / len(stats)
