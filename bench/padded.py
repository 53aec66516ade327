"""Trainers over a plain [agents, horizon] buffer: the baselines that rows are measured against.

`PlainTrainer` is pufferlib's Trainer without rows. Its envs reset in the step that ends their
episode, observations are copied to `buffer[:, t]`, and the batch is the whole buffer. Network,
sampling, advantages, gathering, loss, optimizer, sizes and epochs are those of Trainer.

`PaddedTrainer` trains games whose agents die, as is usual without rows. Every agent has a slot in
every step, dead or alive. Dead agents observe zeros, and their sampled actions have no effect.
Forward and backward passes go through all slots; the loss, and the mean and standard deviation that
normalize advantages, are computed from the live slots only. It is correct but wasteful.

Both call the engine directly, without the range checks that actions from Python go through, and
support only the CPU and feed-forward networks. Letters: A agents, H horizon, m rows of a minibatch,
n live slots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine._engine import SAME_STEP, TERMINAL, TRUNCATED, Engine, mix_seed
from pufferenv.row_env import RowEnv
from pufferlib.config.batch_sizes import Sizes
from pufferlib.config.options import TrainOptions
from pufferlib.fused.backend import FusedBackend
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.network import Workspace, record_forward
from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import LossParams
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import (
    AdvantageNormalization,
    LossStats,
    Transitions,
    record_loss,
)
from pufferlib.ops.sample import Sampler
from pufferlib.policies.base import Policy
from pufferlib.ppo.batch import POOLED, compute_advantages
from pufferlib.ppo.learner import Learner
from pufferlib.ppo.minibatch import Minibatch, MinibatchBuffer
from pufferlib.ppo.trainer import Trainer
from pufferlib.runtime.graph import EAGER, Executor, Graph
from pufferlib.runtime.tensors import as_array
from pufferlib.runtime.timer import Timer


def without_rows(env: RowEnv, seed: int) -> Engine:
    """Return an engine of the same envs, each of which resets in the step that ends its episode."""
    return Engine(
        env.game,
        env.game_spec.packed,
        env.num_envs,
        mode=SAME_STEP,
        seeds=mix_seed(seed, env.num_envs),
        num_threads=env.engine.num_threads,
    )


def buffer_like(env: RowEnv) -> dict[str, npt.NDArray[Any]]:
    """Return the pool's columns, one row per agent (A, H, ...); `live` marks who acted."""
    names = (*POOLED, "next_value", "reward", "done", "segment_start", "version")
    shape = (env.num_agents, env.horizon)
    columns = {k: env.arrays[f"pool_{k}"] for k in names if f"pool_{k}" in env.arrays}
    made = {k: np.zeros((*shape, *c.shape[2:]), c.dtype) for k, c in columns.items()}
    return made | {"live": np.zeros(shape, bool)}


class PlainCollector:
    """Acts for all agents and writes each transition to `buffer[:, t]`, t = 0 to H - 1."""

    def __init__(
        self, env: RowEnv, engine: Engine, policy: Policy, sampler: Sampler, timer: Timer
    ) -> None:
        self.engine, self.forward, self.timer = engine, policy, timer
        self.horizon, self.head_sizes = env.horizon, sampler.head_sizes
        self.buffer = buffer_like(env)
        self.counts, self.agent_steps, self.steps = sampler.counts, 0, 0
        self.slot = np.arange(env.num_agents, dtype=np.int64) * self.horizon
        self._obs = torch.from_numpy(engine.arrays["observation"])
        self._finals: list[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]] = []
        flat = {
            name: c.reshape(c.shape[0] * c.shape[1], *c.shape[2:])
            for name, c in self.buffer.items()
        }
        self._next_value = flat["next_value"]
        self._sampling: dict[str, Any] = {
            "bootstrap_slot": np.full(env.num_agents, -1, np.int64),
            "counts": self.counts,
            "seed": sampler.seed,
            **{f"pool_{k}": flat[k] for k in ("logprob", "value", "next_value", "version")},
        }
        if env.heads:
            self._sampling["sizes"] = self.head_sizes
            self._sampling["action"] = engine.arrays["action"]
            self._sampling["pool_action"] = flat["action"]
        if env.axes:
            self._sampling |= {"low": env.low, "high": env.high, "axis": engine.arrays["axis"]}
            self._sampling["pool_axis"] = flat["axis"]
        if "mask" in flat:
            self._sampling["pool_mask"] = flat["mask"]

    @torch.no_grad()
    def step(self, t: int) -> None:
        """Act for all agents and step the games; write both to slot `t` of every row."""
        given, buffer, timer = self.engine.arrays, self.buffer, self.timer
        timer.enter("copy")
        buffer["observation"][:, t] = given["observation"]
        buffer["live"][:, t] = given["alive"]
        if "mask" in buffer:
            buffer["mask"][:, t] = given["mask"]
        timer.enter("forward")
        output = self.forward(self._obs, None)[0]
        timer.enter("sample")
        self._sample(output, self.slot + t)
        timer.enter("env")
        self.engine.step()
        timer.enter("other")
        live, cut = buffer["live"][:, t], given["truncation"] & ~given["termination"]
        buffer["reward"][:, t] = given["reward"]
        buffer["done"][:, t] = np.where(cut, TRUNCATED, given["termination"])
        if self.engine.any_final and len(who := np.flatnonzero(cut & live)):
            self._finals.append((self.slot[who] + t, given["final_observation"][who]))
        self.agent_steps += int(np.count_nonzero(live))
        self.steps += 1

    def _sample(self, output: Output, slot: npt.NDArray[np.int64]) -> None:
        logits, mean, log_std, values = (None if part is None else part.numpy() for part in output)
        _kernels.sample(
            values=values,
            logits=logits,
            mean=mean,
            log_std=log_std,
            slot=slot,
            version=0,
            **self._sampling,
        )

    @torch.no_grad()
    def finish(self) -> None:
        """Fill in next_value for the last slots and for truncated lives."""
        self.timer.enter("forward")
        self.buffer["next_value"][:, -1] = as_array(self.forward(self._obs, None)[0].value)
        if self._finals:
            obs = torch.from_numpy(np.concatenate([obs for _, obs in self._finals]))
            slots = np.concatenate([slots for slots, _ in self._finals])
            self._next_value[slots] = as_array(self.forward(obs, None)[0].value)
            self._finals.clear()
        self.timer.enter("other")


class RecordedForward:
    """A network that acts for all agents through recorded graphs, as FusedBackend does."""

    def __init__(self, runner: EagerRunner, obs: Tensor) -> None:
        self.runner, self.network, self.obs, self.chunks = runner, runner.network, obs, []
        flat, size = obs.view(len(obs), -1), self.network.chunk_size
        self.outputs = torch.empty((len(obs), self.network.num_outputs))
        for x, out in zip(torch.split(flat, size), torch.split(self.outputs, size), strict=True):
            self.chunks.append((record_forward(self.network, x, None), out))

    def __call__(self, obs: Tensor, state: None) -> tuple[Output, None]:
        """Act on these observations; the recorded graphs read only `self.obs`."""
        if obs is not self.obs:
            return self.runner.forward(obs, state)
        self.network.sync_weights()
        for graph, out in self.chunks:
            graph.replay()
            out.copy_(self.network.outputs[: len(out)])
        return self.network.split_heads(self.outputs), None


class PlainBatch:
    """The whole buffer as the batch; minibatches are gathered from it by the trainer's kernel."""

    density, carried, age = 1.0, 0.0, 0.0
    loaded = False  # `load` overwrites nothing that a later update reads
    device = torch.device("cpu")

    def __init__(self, collector: PlainCollector, sizes: Sizes, train: TrainOptions) -> None:
        self.buffer, self.train, self.sizes = collector.buffer, train, sizes
        shape = (sizes.batch_rows, sizes.horizon)
        self.rows = self.sequences = np.arange(sizes.batch_rows, dtype=np.int32)
        self.own = {name: torch.zeros(shape) for name in ("advantage", "target")}
        self.own["value"] = torch.from_numpy(self.buffer["value"])
        pooled = {k: self.buffer[k] for k in POOLED if k in self.buffer and self.buffer[k].size}
        self.pool = self.columns = pooled | {k: t.numpy() for k, t in self.own.items()}

    def load(self, backend: Any, version: int, reward_scale: float) -> None:
        """Compute advantages and value targets of all rows."""
        compute_advantages(
            {f"pool_{name}": column for name, column in self.buffer.items()},
            self.rows,
            self.train,
            reward_scale,
            out_advantage=self.own["advantage"].numpy(),
            out_target=self.own["target"].numpy(),
        )

    def gather(
        self, executor: Executor, buffer: MinibatchBuffer, rows: npt.NDArray[np.int32]
    ) -> Minibatch:
        """Gather these rows (m,) in `buffer`."""
        return buffer.gather(executor, self.pool, rows)

    def release(self) -> None:
        """Do nothing: the next rollout overwrites the buffer."""


class PlainTrainer(Trainer):
    """The trainer over a plain buffer, for games whose agents are all alive in every step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.policy.state_size or self.train.norm_obs or self.train.norm_return:
            raise ValueError("the plain buffer needs a feed-forward network without normalization")
        if self.train.shuffle != "rows":
            raise ValueError("the plain buffer's minibatches are rows: leave train.shuffle at rows")
        if self.sizes.batch_rows != self.env.num_agents:
            raise ValueError("the plain buffer has one row per agent: leave train.batch_size at 0")
        with self.env as env:  # needed only for its sizes, and closed afterwards
            engine = without_rows(env, self.train.seed)
            self.collector = PlainCollector(env, engine, self.policy, self.sampler, self.timer)
        self.env = engine
        self.batch = PlainBatch(self.collector, self.sizes, self.train)
        self.learner.batch = self.backend.batch = self.batch
        self.collector.forward = RecordedForward(self.backend.runner, self.collector._obs)

    def _collect(self) -> None:
        for t in range(self.sizes.horizon):
            self.collector.step(t)
        self.collector.finish()

    def _row_metrics(self, steps_before: int, agent_steps: int) -> dict[str, float]:
        return {"rows/live": agent_steps / (self.collector.steps - steps_before)}


class PaddedLearner(Learner):
    """A Learner whose advantages are normalized by the statistics of the live slots."""

    def normalization(self, rows: Tensor) -> AdvantageNormalization:
        """Return the normalization by the live slots of these rows."""
        live = torch.from_numpy(self.batch.buffer["live"])[rows]
        return AdvantageNormalization.of(
            self.batch.own["advantage"][rows][live].numpy(), self.train
        )


class PaddedBackend:
    """Learns as FusedBackend on one thread, with the loss of the live slots only."""

    def __init__(
        self, fused: FusedBackend, batch: PlainBatch, head_sizes: Any, timer: Timer
    ) -> None:
        self.worker, self.chunk_sequences = fused.workers[0], fused.chunk_sequences
        self.batch, self.head_sizes, self.timer = batch, head_sizes, timer

    def loss_and_grad(
        self, rows: Tensor, normalization: AdvantageNormalization, train: TrainOptions
    ) -> LossStats:
        """Add the gradient over these rows of the batch, (m,) int64; return means over them."""
        network, metrics = self.worker.network, np.zeros(len(LossStats._fields))
        params = LossParams()
        normalization.set_params(params, train)
        network.sync_weights()
        network.zero_folded_grads()
        for chunk in torch.split(rows, self.chunk_sequences):
            self.timer.enter("copy")
            chunk_rows = chunk.numpy().astype(np.int32)
            minibatch = self.batch.gather(EAGER, self.worker.buffer, chunk_rows)
            self.timer.enter("loss_backward")
            forward, backward, workspace = self._graphs(len(chunk))
            forward.replay()
            self._loss(
                workspace.output, workspace.gradient, minibatch, chunk, train, params, metrics
            )
            backward.replay()
        network.unfold_grads()
        return LossStats(*metrics.tolist())

    @functools.cached_property
    def _graphs(self) -> Callable[[int], tuple[Graph, Graph, Workspace]]:
        """The function rows -> forward graph, backward graph, workspace; each is recorded once."""

        def record(rows: int) -> tuple[Graph, Graph, Workspace]:
            (made, _), forward, backward = self.worker.buffer.views(rows), Graph(), Graph()
            workspace = self.worker.network.record_unroll(forward, made.obs, None, made.reset)
            workspace.backward(backward)
            return forward, backward, workspace

        return functools.cache(record)

    def _loss(
        self,
        output: Output,
        gradient: Output,
        minibatch: Minibatch,
        rows: Tensor,
        train: TrainOptions,
        params: LossParams,
        metrics: npt.NDArray[np.float64],
    ) -> None:
        """Write the gradient of the loss over the live slots, 0 for the others."""
        live = torch.from_numpy(np.flatnonzero(self.batch.buffer["live"][rows.numpy()]))
        slots = len(output.value)
        for part in gradient:
            if part is not None and len(part) == slots:
                part.zero_()
        if not len(live):
            return
        steps = Transitions(*(None if x is None else x[live] for x in minibatch.transitions))
        mine = _of(output, live, slots)
        into = Output(*(None if x is None else torch.zeros_like(x) for x in mine))
        record_loss(EAGER, mine, into, steps, self.head_sizes, train, params, metrics)
        for whole, part in zip(gradient, into, strict=True):
            if whole is not None and len(whole) == slots:
                whole.index_copy_(0, live, part)
            elif whole is not None:  # log_std for all
                whole += part


class PaddedTrainer(PlainTrainer):
    """The trainer over a plain buffer that holds dead agents' slots too; the loss masks them."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        backend = PaddedBackend(self.backend, self.batch, self.sampler.head_sizes, self.timer)
        self.learner = PaddedLearner(
            self.policy, backend, self.batch, self.optimizer, self.train, self.timer, 0
        )

    def _collect(self) -> None:
        super()._collect()
        buffer = self.collector.buffer
        buffer["done"][~buffer["live"]] = TERMINAL  # advantages do not cross dead slots


def _of(output: Output, live: Tensor, slots: int) -> Output:
    """Return the output at the slots `live` (n,); a log_std that all slots share is unchanged."""
    parts = (x if x is None or len(x) != slots else x.index_select(0, live) for x in output)
    return Output(*parts)
