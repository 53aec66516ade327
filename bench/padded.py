"""What the trainer is measured against: itself over a plain [agents, horizon] buffer.

`PlainTrainer` is pufferlib's Trainer with its rows taken away: an engine that resets in the same
step, whose observations are copied to `buffer[:, t]`, and a batch that is the whole buffer.
Network, sampling, advantage, gather and loss passes, optimizer, sizes and epochs are the trainer's.

`PaddedTrainer` is the same where agents die, done as stacks without rows do it: every agent has a
slot in every step, dead or alive; the dead observe zeros and are acted for in vain; forward and
backward go through all slots; the loss, and the mean and deviation that advantages are normalized
by, are those of the live slots alone. It is correct, and wasteful.

Both call the engine directly, without the range checks that actions from Python go through. CPU and
feed-forward networks only. Letters: A agents, H horizon, m rows of a minibatch, n live slots.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine._engine import SAME_STEP, Engine, mix_seed
from pufferenv.row_env import RowEnv
from pufferlib.config.batch_sizes import Sizes
from pufferlib.config.options import TrainOptions
from pufferlib.fused.network import FusedNetwork, Workspace, record_forward
from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import LossParams
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import (
    AdvantageNormalization,
    LossStats,
    Transitions,
    record_loss,
)
from pufferlib.policies.base import Policy
from pufferlib.ppo.batch import Minibatch, MinibatchBuffer
from pufferlib.ppo.collector import Collector
from pufferlib.ppo.learner import Learner
from pufferlib.ppo.trainer import Trainer
from pufferlib.runtime.graph import EAGER, Executor, Graph
from pufferlib.runtime.tensors import as_array

TERMINAL, TRUNCATED = 1, 2  # of `done`
POOLED = ("observation", "mask", "action", "axis", "logprob", "value")


def without_rows(env: RowEnv, seed: int) -> Engine:
    """The same envs, each resetting in the step that ends its episode."""
    return Engine(
        env.game,
        env.game_spec.packed,
        env.num_envs,
        mode=SAME_STEP,
        seeds=mix_seed(seed, env.num_envs),
        num_threads=env.engine.num_threads,
    )


def buffer_like(env: RowEnv) -> dict[str, npt.NDArray[Any]]:
    """The pool's columns, of one row per agent (A, H, ...); `live` says who acted."""
    names = (*POOLED, "next_value", "reward", "done", "segment_start", "version")
    shape = (env.num_agents, env.horizon)
    columns = {k: env.arrays[f"pool_{k}"] for k in names if f"pool_{k}" in env.arrays}
    made = {k: np.zeros((*shape, *c.shape[2:]), c.dtype) for k, c in columns.items()}
    return made | {"live": np.zeros(shape, bool)}


class PlainCollector:
    """Acts for all agents and writes what happened to `buffer[:, t]`, t = 0 to H - 1."""

    def __init__(self, env: RowEnv, engine: Engine, policy: Policy, model: Collector) -> None:
        self.engine, self.forward, self.timer = engine, policy, model.timer
        self.horizon, self.head_sizes = env.horizon, model.head_sizes
        self.buffer = buffer_like(env)
        self.counts, self.agent_steps, self.steps = model.counts, 0, 0
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
            "seed": model.seed,
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
        """Act for all agents, step the games, remember both at place `t` of every row."""
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
        """Fill in next_value: of the last slots by the present observations, of cut lives."""
        self.timer.enter("forward")
        self.buffer["next_value"][:, -1] = as_array(self.forward(self._obs, None)[0].value)
        if self._finals:
            obs = torch.from_numpy(np.concatenate([obs for _, obs in self._finals]))
            slots = np.concatenate([slots for slots, _ in self._finals])
            self._next_value[slots] = as_array(self.forward(obs, None)[0].value)
            self._finals.clear()
        self.timer.enter("other")


class Noted:
    """A network that acts for all agents by graphs noted once, as the trainer's own does."""

    def __init__(self, network: FusedNetwork, obs: Tensor) -> None:
        self.network, self.obs, self.parts = network, obs, []
        flat = obs.view(len(obs), -1)
        self.said = torch.empty((len(obs), network.num_outputs))
        for x, out in zip(
            *(torch.split(t, network.chunk_size) for t in (flat, self.said)), strict=True
        ):
            self.parts.append((record_forward(network, x, None), out))

    def __call__(self, obs: Tensor, state: None) -> tuple[Output, None]:
        """Act for these, who are all agents or some."""
        if obs is not self.obs:
            return self.network.forward(obs, state)
        self.network.sync_weights()
        for graph, out in self.parts:
            graph.replay()
            out.copy_(self.network.outputs[: len(out)])
        return self.network.output(self.said), None


class PlainBatch:
    """The whole buffer as the batch; minibatches are gathered from it by the trainer's pass."""

    density, carried, age = 1.0, 0.0, 0.0
    loaded = False  # nothing of the buffer is written over

    def __init__(self, collector: PlainCollector, sizes: Sizes, train: TrainOptions) -> None:
        self.buffer, self.train, self.sizes = collector.buffer, train, sizes
        shape = (sizes.batch_rows, sizes.horizon)
        self.rows = np.arange(sizes.batch_rows, dtype=np.int32)
        self.own = {name: torch.zeros(shape) for name in ("advantage", "target")}
        self.own["value"] = torch.from_numpy(self.buffer["value"])
        pooled = {k: self.buffer[k] for k in POOLED if k in self.buffer and self.buffer[k].size}
        self.pool = pooled | {k: t.numpy() for k, t in self.own.items()}
        reset = np.zeros((1, sizes.horizon), np.uint8)
        self._columns = {**self.pool, "reset": reset}

    def memory(self, rows: int, seen: torch.dtype | None = None) -> MinibatchBuffer:
        """Return where minibatches of up to so many rows are gathered, observations as float32."""
        made = {}
        for name, column in self._columns.items():
            dtype = torch.from_numpy(column[:0]).dtype
            if seen and name == "observation":
                dtype = seen
            made[name] = torch.zeros((rows, *column.shape[1:]), dtype=dtype)
        return MinibatchBuffer(made)

    def load(self, policy: Policy, version: int, reward_scale: float) -> None:
        """Compute advantages and value targets of all rows."""
        names = ("reward", "value", "next_value", "done", "segment_start")
        _kernels.advantage(
            rows=self.rows,
            **{f"pool_{name}": self.buffer[name] for name in names},
            gamma=self.train.gamma,
            gae_lambda=self.train.gae_lambda,
            rho_clip=self.train.rho_clip,
            c_clip=self.train.c_clip,
            reward_scale=reward_scale,
            reward_clip=self.train.reward_clip,
            out_advantage=self.own["advantage"].numpy(),
            out_target=self.own["target"].numpy(),
        )

    def note(self, do: Executor, memory: MinibatchBuffer, rows: npt.NDArray[np.int32]) -> Minibatch:
        """Gather these rows (m,) into `memory`."""
        made, arrays = memory.views(len(rows))
        for name, column in self.pool.items():
            do.call(_kernels.gather, pool=column, rows=rows, out=arrays[name])
        return made

    def release(self) -> None:
        """Nothing is to be freed: the next rollout writes over it."""


class PlainTrainer(Trainer):
    """The trainer over a plain buffer, for games whose agents all live in every step."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.policy.state_size or self.train.norm_obs or self.train.norm_return:
            raise ValueError("the plain buffer is for feed-forward networks, unnormalized")
        if self.sizes.batch_rows != self.env.num_agents:
            raise ValueError("the plain buffer is one row per agent: leave train.batch_size at 0")
        with self.env as env:  # closed afterwards: its sizes were needed, its memory never touched
            engine = without_rows(env, self.train.seed)
            self.collector = PlainCollector(env, engine, self.policy, self.collector)
        self.env = engine
        self.batch = PlainBatch(self.collector, self.sizes, self.train)
        self.learner.batch = self.batch
        self.collector.forward = Noted(self.learner.hands[0].network, self.collector._obs)

    def _collect(self) -> None:
        for t in range(self.sizes.horizon):
            self.collector.step(t)
        self.collector.finish()

    def _row_metrics(self, steps_before: int, agent_steps: int) -> dict[str, float]:
        return {"rows/live": agent_steps / (self.collector.steps - steps_before)}


class PaddedLearner(Learner):
    """Goes through all slots of its rows; standardization and loss are of the live ones."""

    def standard(self, rows: Tensor) -> AdvantageNormalization:
        """Return how the advantages of the live slots are standardized."""
        live = torch.from_numpy(self.batch.buffer["live"])[rows]
        return AdvantageNormalization.of(
            self.batch.own["advantage"][rows][live].numpy(), self.train
        )

    def minibatch(self, rows: Tensor) -> LossStats:
        """Add the gradient over these rows of the batch, (m,) int64; return means over them."""
        hand, timer, metrics = self.hands[0], self.timer, np.zeros(len(LossStats._fields))
        timer.enter("copy")
        params = LossParams()
        self.standard(rows).set_params(params, self.train)
        hand.network.sync_weights()
        hand.network.zero_folded_grads()
        for part in torch.split(rows, self.rows):
            timer.enter("copy")
            made = self.batch.note(EAGER, hand.memory, part.numpy().astype(np.int32))
            timer.enter("loss_backward")
            forward, back, lesson = self._lessons(len(part))
            forward.replay()
            self._loss(lesson.output, lesson.gradient, made, part, params, metrics)
            back.replay()
        hand.network.unfold_grads()
        return LossStats(*metrics.tolist())

    @functools.cached_property
    def _lessons(self) -> Callable[[int], tuple[Graph, Graph, Workspace]]:
        """The ways forward and back through so many rows, noted once for each number."""

        def note(rows: int) -> tuple[Graph, Graph, Workspace]:
            (made, _), forward, back = self.hands[0].memory.views(rows), Graph(), Graph()
            lesson = self.hands[0].network.record_unroll(forward, made.obs, None, made.reset)
            lesson.backward(back)
            return forward, back, lesson

        return functools.cache(note)

    def _loss(
        self,
        output: Output,
        gradient: Output,
        minibatch: Minibatch,
        rows: Tensor,
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
        record_loss(EAGER, mine, into, steps, self.head_sizes, self.train, params, metrics)
        for whole, part in zip(gradient, into, strict=True):
            if whole is not None and len(whole) == slots:
                whole.index_copy_(0, live, part)
            elif whole is not None:  # log_std for all
                whole += part


class PaddedTrainer(PlainTrainer):
    """The trainer over a plain buffer with dead agents' slots in it, masked in the loss."""

    learner_class = PaddedLearner

    def _collect(self) -> None:
        super()._collect()
        buffer = self.collector.buffer
        buffer["done"][~buffer["live"]] = TERMINAL  # nothing flows through the dead


def _of(output: Output, live: Tensor, slots: int) -> Output:
    """The output at these slots (n,); a deviation that all slots share stays as it is."""
    parts = (x if x is None or len(x) != slots else x.index_select(0, live) for x in output)
    return Output(*parts)
