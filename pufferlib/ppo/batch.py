"""A batch: the rows that one update trains on, their advantages, and minibatches of them.

On the CPU a minibatch is gathered from the pool when it is needed; on a GPU the batch is copied
there once. What is done to a whole batch is done part by part, so that beside the pool's rows there
is only what learning adds to them. Letters: B rows of a batch, b of a part, m of a minibatch, H
horizon, S entries of a recurrent state, *O one observation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine.transition import LIVE
from pufferlib.config.batch_sizes import Sizes
from pufferlib.config.options import TrainOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.kernels import _kernels
from pufferlib.ops import reference
from pufferlib.ops.ppo_loss import Transitions
from pufferlib.policies.base import Policy
from pufferlib.ppo.collector import UNUSED, Collector, parts
from pufferlib.runtime.graph import EAGER, Executor
from pufferlib.runtime.tensors import as_array

# Columns of a minibatch that are read as acting left them: `name` is the engine's `pool_name`.
POOLED = ("observation", "mask", "action", "axis", "logprob", "value")
# `load` writes these in the batch's rows, in place of the column that it computes them from.
MADE = {"advantage": "pool_reward", "target": "pool_next_value", "reset": "pool_segment_start"}
PART = 8192  # slots of the batch at a time on the CPU: what is made of them stays in its cache


class Minibatch:
    """m whole rows as a policy unrolls them, and what happened in them."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.obs = columns["observation"]  # (m, H, *O)
        self.reset = columns["reset"].view(torch.bool)  # (m, H): a life begins here, slot 0 aside
        self.state = columns.get("state")  # (m, S) before slot 0
        self.transitions = Transitions._make(
            columns[name].flatten(0, 1) if name in columns else None for name in Transitions._fields
        )


class MinibatchBuffer:
    """Where minibatches of up to so many rows are gathered on the CPU."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns  # (rows, H, ...)
        self._views: dict[int, tuple[Minibatch, dict[str, npt.NDArray[Any]]]] = {}

    def views(self, rows: int) -> tuple[Minibatch, dict[str, npt.NDArray[Any]]]:
        """Return the first rows as a minibatch and as arrays, made once for each number."""
        if rows not in self._views:
            columns = {name: column[:rows] for name, column in self.columns.items()}
            arrays = {name: as_array(column) for name, column in columns.items()}
            self._views[rows] = Minibatch(columns), arrays
        return self._views[rows]


class Batch:
    """Memory of one batch, filled anew by each `load`."""

    def __init__(
        self, collector: Collector, sizes: Sizes, train: TrainOptions, device: torch.device
    ) -> None:
        self.env, self.collector, self.train = collector.env, collector, train
        self.sizes, self.device = sizes, device
        on_gpu = device.type == "cuda"
        self.rows: npt.NDArray[np.int32] = np.zeros(sizes.batch_rows, np.int32)
        arrays = self.env.arrays
        pool = {name: arrays[f"pool_{name}"] for name in POOLED if f"pool_{name}" in arrays}
        self.pool = {name: column for name, column in pool.items() if column[0, 0].size}
        self.pool |= {name: arrays[place] for name, place in MADE.items()}
        part = sizes.minibatch_rows if on_gpu else max(1, PART // sizes.horizon)
        self._parts = parts(sizes.batch_rows, part)
        self._host = self.memory(sizes.batch_rows).columns if on_gpu else {}
        self._device: dict[str, Tensor] = {}
        self._seen: npt.NDArray[Any] = np.empty(0)  # of `observation`
        self.loaded = False  # since when these rows have no rewards any more
        self.density = 1.0  # share of slots that carry a transition
        self.age = self.carried = 0.0  # mean age of a slot in updates; share older than the weights

    def memory(self, rows: int, seen: torch.dtype | None = None) -> MinibatchBuffer:
        """Return where minibatches of up to so many rows are gathered.

        `seen`: observations as this, float32 or bfloat16, not as the pool has them.
        """
        on_gpu = self.device.type == "cuda"
        made = {}
        for name, column in self.pool.items():
            dtype = torch.from_numpy(column[:0]).dtype
            if seen and name == "observation":
                dtype = seen
            made[name] = torch.zeros((rows, *column.shape[1:]), dtype=dtype, pin_memory=on_gpu)
        if self.collector.row_state is not None and not on_gpu:
            made["state"] = torch.zeros((rows, self.collector.row_state.shape[1]))
        return MinibatchBuffer(made)

    def load(self, policy: Policy | EagerRunner, version: int, reward_scale: float) -> None:
        """Take the rows that are full longest; re-evaluate older slots, compute advantages."""
        self.rows, self.loaded = self.env.engine.batch(), True
        used = age = carried = 0
        arrays = self.env.arrays
        for part in self._parts:
            rows = self.rows[part]
            ages = version - arrays["pool_version"][rows]  # (b, H); never rises within a row
            reset = self._reset(rows)
            used += np.count_nonzero(ages <= version - UNUSED - 1)
            age, carried = age + int(ages.sum()), carried + np.count_nonzero(ages > 0)
            self._advantage(rows, self._reevaluate(policy, rows, ages, reset), reward_scale)
            self.pool["reset"][rows] = reset
        slots = self.rows.size * self.sizes.horizon
        self.density, self.age, self.carried = used / slots, age / slots, carried / slots
        self.collector.timer.enter("copy")
        self._upload()
        self.collector.timer.enter("other")

    def _reset(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return where in these rows (b, H) lives begin, slot 0 aside."""
        reset: npt.NDArray[np.bool_] = self.env.arrays["pool_segment_start"][rows]
        reset[:, 0] = False
        reset[:, 1:] |= self.env.arrays["pool_done"][rows, :-1] != LIVE
        return reset

    def _reevaluate(
        self,
        policy: Policy | EagerRunner,
        part: npt.NDArray[np.int32],
        ages: npt.NDArray[np.int32],
        reset: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32] | None:
        """Give slots written by older weights the value and log-probability of the present ones.

        Return the ratio (b, H) of new to old probability, None where no slot is old.
        """
        some = np.flatnonzero(ages[:, 0] > 0)
        if not len(some):
            return None
        arrays, rows, old = self.env.arrays, part[some], ages[some] > 0
        begins = torch.from_numpy(reset[some]).to(self.device)
        value, logprob = self._evaluate(policy, rows, begins)
        ratio = np.ones(ages.shape, np.float32)
        acted = arrays["pool_logprob"][rows]
        arrays["pool_logprob"][rows] = now = np.where(old, logprob, acted)
        arrays["pool_value"][rows] = np.where(old, value, arrays["pool_value"][rows])
        ratio[some] = np.exp(now - acted)
        return ratio

    def _advantage(
        self,
        rows: npt.NDArray[np.int32],
        ratio: npt.NDArray[np.float32] | None,
        reward_scale: float,
    ) -> None:
        """Compute advantages and value targets of these rows."""
        names = ("reward", "value", "next_value", "done", "segment_start")
        _kernels.advantage(
            rows=rows,
            **{f"pool_{name}": self.env.arrays[f"pool_{name}"] for name in names},
            ratio=ratio,
            gamma=self.train.gamma,
            gae_lambda=self.train.gae_lambda,
            rho_clip=self.train.rho_clip,
            c_clip=self.train.c_clip,
            reward_scale=reward_scale,
            reward_clip=self.train.reward_clip,
        )

    @torch.no_grad()
    def _evaluate(
        self, policy: Policy | EagerRunner, rows: npt.NDArray[Any], reset: Tensor
    ) -> tuple[Any, Any]:
        """Return value and log-probability (n, H) of n rows of the pool by present weights."""
        seen = ("observation", "mask", "action", "axis")
        given = {
            name: torch.from_numpy(self.pool[name][rows]).to(self.device)
            for name in seen
            if name in self.pool
        }
        output = policy.unroll(given["observation"], self._state(rows), reset)
        flat = {n: c.flatten(0, 1) for n, c in given.items() if n != "observation"}
        logprob, _ = reference.logprob_and_entropy(
            logits=output.logits,
            mean=output.mean,
            log_std=output.log_std,
            sizes=self.collector.head_sizes,
            **flat,
        )
        return as_array(output.value.cpu().view(reset.shape)), as_array(
            logprob.cpu().view(reset.shape)
        )

    def release(self) -> None:
        """Free the rows, and mark their slots: `density` shows it if one is trained on unused."""
        self.env.arrays["pool_version"][self.rows] = UNUSED
        self.env.engine.release()
        self.loaded = False

    def _state(self, rows: npt.NDArray[Any]) -> Tensor | None:
        if self.collector.row_state is None:
            return None
        return self.collector.row_state[torch.from_numpy(rows.astype(np.int64)).to(self.device)]

    def _upload(self) -> None:
        if self.device.type != "cuda":
            return
        for name, column in self.pool.items():
            _kernels.gather(column, self.rows, self._host[name].numpy())
        self._device = {
            name: tensor.to(self.device, non_blocking=True) for name, tensor in self._host.items()
        }

    def observations(self, part: slice, floats: bool) -> Tensor:
        """Return those of these rows of the batch, (m * H, *O), on the device: on the CPU in memory
        that is used again, and as float32 if `floats`."""
        if self._device:
            return self._device["observation"][part].flatten(0, 1)
        rows, pool = self.rows[part], self.pool["observation"]
        if len(self._seen) < len(rows):
            dtype = np.dtype(np.float32) if floats else pool.dtype
            self._seen = np.empty((len(rows), *pool.shape[1:]), dtype)
        _kernels.gather(pool, rows, self._seen[: len(rows)])
        return torch.from_numpy(self._seen[: len(rows)]).flatten(0, 1)

    def minibatch(self, part: Tensor, memory: MinibatchBuffer | None = None) -> Minibatch:
        """Return these rows of the batch, `part` (m,) int64, in `memory`, or in new one.

        On a GPU the batch is there already, and `memory` is not used.
        """
        rows = self.rows[part.numpy()]
        if self._device:
            part = part.to(self.device)
            made = Minibatch({name: column[part] for name, column in self._device.items()})
            made.state = self._state(rows)
            return made
        return self.note(EAGER, memory or self.memory(len(rows)), rows)

    def note(self, do: Executor, memory: MinibatchBuffer, rows: npt.NDArray[np.int32]) -> Minibatch:
        """Gather rows of the pool on the CPU, (m,), which are the batch's."""
        made, arrays = memory.views(len(rows))
        for name, column in self.pool.items():
            do.call(_kernels.gather, pool=column, rows=rows, out=arrays[name])
        if self.collector.row_state is not None:
            states = self.collector.row_state.numpy()
            do.call(_kernels.gather, pool=states, rows=rows, out=arrays["state"])
        return made
