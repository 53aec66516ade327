"""The gradient of one minibatch: by autograd at once, or part by part by a network's own passes.

Parts of a minibatch share its mean over steps and its standardized advantages, so that their sum is
what the whole would have given. With several threads each takes an equal share of the rows, adds up
gradients of its own, and they are summed in a fixed order: a thread count has one result.
"""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.batch import Batch, Memory, Minibatch
from pufferlib.crew import Crew
from pufferlib.loss import LossStats, Standard, manual_loss, ppo_loss
from pufferlib.manual import Manual, fits, manual, rows_at_once
from pufferlib.optimizer import Optimizer
from pufferlib.options import TrainOptions
from pufferlib.policy import Output, Policy
from pufferlib.precision import Autocast
from pufferlib.profile import Timer


@dataclass
class Hand:
    """What one thread works with."""

    network: Manual
    memory: Memory  # of a part
    grads: Tensor  # (W,) those of the optimizer, or its own


class Learner:
    """Adds the gradient of PPO's loss over rows of a batch to the optimizer's.

    With `hands`, minibatches are done in parts of `rows` rows, without autograd.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: Optimizer,
        batch: Batch,
        train: TrainOptions,
        head_sizes: npt.NDArray[np.int32] | None,
        timer: Timer,
        crew: Crew,
    ) -> None:
        self.policy, self.optimizer, self.batch, self.train = policy, optimizer, batch, train
        self.head_sizes, self.timer, self.crew = head_sizes, timer, crew
        most = batch.sizes.minibatch_rows
        share = -(-most // crew.size)
        self.rows = min(most, rows_at_once(policy, batch.sizes.horizon, share))
        self.hands: list[Hand] = []
        rounded, seen = None, torch.float32
        if train.precision == "bfloat16":
            rounded = optimizer.copy(torch.bfloat16) if fits(policy) else None
            seen = torch.float32 if policy.norm else torch.bfloat16
            self.policy = Autocast(policy)
        for i in range(crew.size):
            grads = torch.zeros_like(optimizer.grads) if i else optimizer.grads
            steps = self.rows * batch.sizes.horizon
            network = manual(policy, optimizer.views(grads), steps, rounded)
            if network is None:
                break
            self.hands.append(Hand(network, batch.memory(self.rows, seen), grads))
        if not self.hands:
            self.rows = most
            self._memory = batch.memory(most) if batch.device.type == "cpu" else None

    @property
    def evaluator(self) -> Manual | Policy:
        """Unrolls rows to what acting says of them; in bfloat16 another's roundings would show."""
        by_hand = self.hands and self.train.precision == "bfloat16"
        return self.hands[0].network if by_hand else self.policy

    def minibatch(self, rows: Tensor) -> LossStats:
        """Add the gradient over these rows of the batch, (m,) int64; return means over them."""
        self.timer.enter("copy")
        standard = self.standard(rows)
        if not self.hands:
            return self._by_autograd(rows, standard)
        shares = torch.chunk(rows, min(self.crew.size, -(-len(rows) // self.rows)))
        timers = [self.timer, *[None] * len(shares)]  # the first thread keeps the time
        jobs = [
            functools.partial(self._by_hand, hand, share, standard, timer)
            for hand, share, timer in zip(self.hands, shares, timers, strict=False)
        ]
        others = [hand.grads for hand in self.hands[1 : len(shares)]]
        for grads in others:
            grads.zero_()
        stats = self.crew.run(jobs)
        for grads in others:
            self.optimizer.grads += grads
        return LossStats(*map(sum, zip(*stats, strict=True)))

    def standard(self, rows: Tensor) -> Standard:
        """Return how the advantages of these rows are standardized."""
        return Standard.of(self.batch.own["advantage"][rows], self.train)

    def loss(
        self, output: Output, gradient: Output, minibatch: Minibatch, rows: Tensor, of: Standard
    ) -> LossStats:
        """Write the gradient of the loss over these rows, a part of a minibatch."""
        given = (output, gradient, minibatch.steps, self.head_sizes, self.train, of)
        return manual_loss(*given)

    def _by_autograd(self, rows: Tensor, standard: Standard) -> LossStats:
        minibatch = self.batch.minibatch(rows, self._memory)
        self.timer.enter("loss_backward")
        output = self.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
        loss, stats = ppo_loss(output, minibatch.steps, self.head_sizes, self.train, standard)
        loss.backward()  # type: ignore[no-untyped-call]
        return stats

    def _by_hand(
        self, hand: Hand, rows: Tensor, standard: Standard, timer: Timer | None
    ) -> LossStats:
        """Do these rows part by part; return their share of the means."""
        stats = []
        for part in torch.split(rows, self.rows):
            if timer:
                timer.enter("copy")
            minibatch = self.batch.minibatch(part, hand.memory)
            if timer:
                timer.enter("loss_backward")
            output = hand.network.unroll(minibatch.obs, minibatch.state, minibatch.reset)
            gradient = hand.network.gradient()
            stats.append(self.loss(output, gradient, minibatch, part, standard))
            hand.network.back()
        return LossStats(*map(sum, zip(*stats, strict=True)))
