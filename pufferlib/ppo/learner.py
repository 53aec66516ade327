"""The gradient of one minibatch: by autograd at once, or part by part by a network's own passes.

Parts of a minibatch share its mean over steps and its standardized advantages, so that their sum is
what the whole would have given. With several threads each takes an equal share of the rows, adds up
gradients of its own, and the optimizer sums them in a fixed order: a thread count has one result.
"""

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import can_fuse, chunk_rows, make_fused
from pufferlib.fused.network import FusedNetwork
from pufferlib.policies.autocast import Autocast
from pufferlib.kernels._kernels import LossParams
from pufferlib.ops.ppo_loss import AdvantageNormalization, LossStats, ppo_loss, record_loss
from pufferlib.policies.base import Policy
from pufferlib.ppo.batch import Batch, MinibatchBuffer
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool
from pufferlib.runtime.timer import Timer


class Hand(NamedTuple):
    """One of the threads' networks, and what it works with."""

    network: FusedNetwork
    memory: MinibatchBuffer  # of a part
    metrics: npt.NDArray[np.float64]  # (7,) sums over the parts


class Learner:
    """Adds the gradient of PPO's loss over rows of a batch to the optimizer's, which `clip` joins.

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
        thread_pool: ThreadPool,
    ) -> None:
        self.policy, self.optimizer, self.batch, self.train = policy, optimizer, batch, train
        self.head_sizes, self.timer, self.thread_pool = head_sizes, timer, thread_pool
        most = batch.sizes.minibatch_rows
        share = -(-most // thread_pool.size)
        self.rows = min(most, chunk_rows(policy, batch.sizes.horizon, share))
        self.hands: list[Hand] = []
        self._metrics = np.zeros((thread_pool.size, len(LossStats._fields)))
        rounded = None
        if train.precision == "bfloat16":
            rounded = optimizer.copy(torch.bfloat16) if can_fuse(policy) else None
            self.policy = Autocast(policy)
        for i in range(thread_pool.size):
            grads = optimizer.more[i - 1] if i else optimizer.grads
            steps = self.rows * batch.sizes.horizon
            network = make_fused(policy, optimizer.views(grads), steps, rounded)
            if network is None:
                break
            memory = batch.memory(self.rows, network.input_dtype)
            self.hands.append(Hand(network, memory, self._metrics[i]))
        self.runner = EagerRunner(self.hands[0].network) if self.hands else None
        self._loss_params = LossParams()  # of the current minibatch
        self._rows = np.zeros(most, np.int32)  # its rows of the pool
        self._work = functools.lru_cache(maxsize=2)(self._note)
        if not self.hands:
            self.rows = most
            self._memory = batch.memory(most) if batch.device.type == "cpu" else None

    @property
    def evaluator(self) -> EagerRunner | Policy:
        """Unrolls rows to what acting says of them; in bfloat16 another's roundings would show."""
        fused = self.hands and self.train.precision == "bfloat16"
        return self.runner if fused and self.runner else self.policy

    def minibatch(self, rows: Tensor) -> LossStats:
        """Add the gradient over these rows of the batch, (m,) int64; return means over them."""
        self.timer.enter("copy")
        standard = self.standard(rows)
        if not self.hands:
            return self._by_autograd(rows, standard)
        count = len(rows)
        self._rows[:count] = self.batch.rows[rows.numpy()]
        standard.set_params(self._loss_params, self.train)
        work = self._work(count)
        hands = self.hands[: len(work)]
        self._metrics.fill(0)
        for hand in hands:
            hand.network.sync_weights()
            hand.network.zero_folded_grads()
        self.timer.enter("loss_backward")
        self.timer.reassign(self.thread_pool.run(work))
        for hand in hands:
            hand.network.unfold_grads()
        return LossStats(*self._metrics.sum(0).tolist())

    def standard(self, rows: Tensor) -> AdvantageNormalization:
        """Return how the advantages of these rows are standardized."""
        return AdvantageNormalization.of(
            self.batch.pool["advantage"], self.train, self.batch.rows[rows.numpy()]
        )

    def _by_autograd(self, rows: Tensor, standard: AdvantageNormalization) -> LossStats:
        minibatch = self.batch.minibatch(rows, self._memory)
        self.timer.enter("loss_backward")
        output = self.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
        loss, stats = ppo_loss(output, minibatch.transitions, self.head_sizes, self.train, standard)
        loss.backward()  # type: ignore[no-untyped-call]
        return stats

    def _note(self, count: int) -> LaunchPlan:
        """Note what each thread does with its share of so many rows: part by part."""
        shares = np.array_split(
            np.arange(count), min(self.thread_pool.size, -(-count // self.rows))
        )
        return LaunchPlan([self._share(*given) for given in zip(self.hands, shares, strict=False)])

    def _share(self, hand: Hand, share: npt.NDArray[np.int64]) -> list[tuple[str, Graph]]:
        learn = functools.lru_cache(maxsize=None)(functools.partial(self._lesson, hand))
        track: list[tuple[str, Graph]] = []
        for begin in range(share[0], share[-1] + 1, self.rows):
            part = slice(begin, min(begin + self.rows, share[-1] + 1))
            copy = Graph()
            self.batch.note(copy, hand.memory, self._rows[part])
            track += [("copy", copy), ("loss_backward", learn(part.stop - begin))]
        return track

    def _lesson(self, hand: Hand, rows: int) -> Graph:
        """Note how a network learns from so many rows in its memory."""
        graph, (minibatch, _) = Graph(), hand.memory.views(rows)
        lesson = hand.network.record_unroll(graph, minibatch.obs, minibatch.state, minibatch.reset)
        given = (lesson.output, lesson.gradient, minibatch.transitions, self.head_sizes, self.train)
        record_loss(graph, *given, self._loss_params, hand.metrics)
        lesson.backward(graph)
        return graph
