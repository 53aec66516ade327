"""A batch: the rows that one update trains on, their advantages, and minibatches of them.

On the CPU a minibatch is gathered from the pool when it is needed; on a GPU the batch is copied
there once. Letters: B rows of a batch, m of a minibatch, H horizon, S entries of a recurrent
state, *O one observation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.done import LIVE
from pufferlib import _kernels, reference
from pufferlib.collect import UNUSED, Collector
from pufferlib.loss import Steps, array
from pufferlib.manual import Manual, shown
from pufferlib.options import Sizes, TrainOptions
from pufferlib.policy import Policy


class Minibatch:
    """m whole rows as a policy unrolls them, and what happened in them."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.obs = columns["observations"]  # (m, H, *O)
        self.reset = columns["reset"].view(torch.bool)  # (m, H): a life begins here, slot 0 aside
        self.state: Tensor | None = None  # (m, S) before slot 0
        self.steps = Steps._make(
            columns[name].flatten(0, 1) if name in columns else None for name in Steps._fields
        )


class Memory:
    """Where minibatches of up to so many rows are gathered on the CPU."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns  # (rows, H, ...)
        self._views: dict[int, tuple[Minibatch, dict[str, npt.NDArray[Any]]]] = {}

    def views(self, rows: int) -> tuple[Minibatch, dict[str, npt.NDArray[Any]]]:
        """Return the first rows as a minibatch and as arrays, made once for each number."""
        if rows not in self._views:
            columns = {name: column[:rows] for name, column in self.columns.items()}
            arrays = {name: shown(column) for name, column in columns.items()}
            self._views[rows] = Minibatch(columns), arrays
        return self._views[rows]


class Batch:
    """Memory of one batch, filled anew by each `load`."""

    def __init__(
        self, collector: Collector, sizes: Sizes, train: TrainOptions, device: torch.device
    ) -> None:
        self.env, self.collector, self.train = collector.env, collector, train
        self.sizes, self.device = sizes, device
        shape, on_gpu = (sizes.batch_rows, sizes.horizon), device.type == "cuda"
        self.rows: npt.NDArray[np.int32] = np.zeros(sizes.batch_rows, np.int32)
        own = ("logprob", "value", "advantage", "target")
        self.own = {name: torch.zeros(shape, pin_memory=on_gpu) for name in own}
        self.own["reset"] = torch.zeros(shape, dtype=torch.uint8, pin_memory=on_gpu)
        self._own: dict[str, npt.NDArray[Any]] = {n: t.numpy() for n, t in self.own.items()}
        pooled = ("observations", "masks", "action", "axis")
        pool = {name: self.env.arrays[name] for name in pooled if name in self.env.arrays}
        self.pool = {name: column for name, column in pool.items() if column[0, 0].size}
        self._host = self.memory(sizes.batch_rows).columns if on_gpu else {}
        self._device: dict[str, Tensor] = {}
        self.density = 1.0  # share of slots that carry a transition
        self.age = self.carried = 0.0  # mean age of a slot in updates; share older than the weights

    def memory(self, rows: int, seen: torch.dtype | None = None) -> Memory:
        """Return where minibatches of up to so many rows are gathered.

        `seen`: observations as this, float32 or bfloat16, not as the pool has them.
        """
        on_gpu = self.device.type == "cuda"
        made = {}
        for name, column in {**self.pool, **({} if on_gpu else self._own)}.items():
            dtype = torch.from_numpy(column[:0]).dtype
            if seen and name == "observations":
                dtype = seen
            made[name] = torch.zeros((rows, *column.shape[1:]), dtype=dtype, pin_memory=on_gpu)
        return Memory(made)

    def load(self, policy: Policy | Manual, version: int, reward_scale: float) -> None:
        """Take the rows that are full longest; re-evaluate older slots, compute advantages."""
        arrays, own = self.env.arrays, self._own
        self.rows = self.env.engine.batch()
        ratio = self._reevaluate(policy, version)
        _kernels.advantage(
            rows=self.rows,
            reward=arrays["reward"],
            value=arrays["value"],
            next_value=arrays["next_value"],
            done=arrays["done"],
            piece_start=arrays["piece_start"],
            ratio=ratio,
            gamma=self.train.gamma,
            gae_lambda=self.train.gae_lambda,
            rho_clip=self.train.rho_clip,
            c_clip=self.train.c_clip,
            reward_scale=reward_scale,
            reward_clip=self.train.reward_clip,
            out_advantage=own["advantage"],
            out_target=own["target"],
        )
        _kernels.gather(arrays["value"], self.rows, own["value"])
        self.collector.timer.enter("copy")
        self._upload()
        self.collector.timer.enter("other")

    def _reevaluate(self, policy: Policy | Manual, version: int) -> npt.NDArray[np.float32] | None:
        """Give slots written by older weights the value and log-probability of the present ones.

        Fills `logprob` and `reset`; returns the ratio (B, H) of new to old probability, None
        where no slot is old.
        """
        arrays, own = self.env.arrays, self._own
        _kernels.gather(arrays["logprob"], self.rows, own["logprob"])
        done, starts = arrays["done"][self.rows], arrays["piece_start"][self.rows]
        own["reset"][:, 1:] = (done[:, :-1] != LIVE) | starts[:, 1:].astype(bool)
        written = arrays["version"][self.rows]
        self.density = float((written != UNUSED).mean())
        age = version - written  # (B, H); never rises within a row
        self.age, self.carried = float(age.mean()), float((age > 0).mean())
        old = np.flatnonzero(age[:, 0] > 0)
        if not len(old):
            return None
        for part in np.array_split(old, -(-len(old) // self.sizes.minibatch_rows)):
            where = age[part] > 0
            value, logprob = self._evaluate(policy, part)
            own["logprob"][part] = np.where(where, logprob, own["logprob"][part])
            rows = self.rows[part]
            arrays["value"][rows] = np.where(where, value, arrays["value"][rows])
        ratio: npt.NDArray[np.float32] = np.exp(own["logprob"] - arrays["logprob"][self.rows])
        return ratio

    @torch.no_grad()
    def _evaluate(self, policy: Policy | Manual, part: npt.NDArray[Any]) -> tuple[Any, Any]:
        """Return value and log-probability (n, H) of n rows of the batch by present weights."""
        rows = self.rows[part]
        given = {n: torch.from_numpy(c[rows]).to(self.device) for n, c in self.pool.items()}
        reset = self.own["reset"][torch.from_numpy(part)].bool().to(self.device)
        output = policy.unroll(given["observations"], self._state(rows), reset)
        flat = {n: c.flatten(0, 1) for n, c in given.items() if n != "observations"}
        logprob, _ = reference.logprob_and_entropy(
            logits=output.logits,
            mean=output.mean,
            log_std=output.log_std,
            sizes=self.collector.head_sizes,
            **flat,
        )
        return array(output.value.cpu().view(reset.shape)), array(logprob.cpu().view(reset.shape))

    def release(self) -> None:
        """Free the rows, and mark their slots: `density` shows it if one is trained on unused."""
        self.env.arrays["version"][self.rows] = UNUSED
        self.env.engine.release()

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
            name: tensor.to(self.device, non_blocking=True)
            for name, tensor in {**self._host, **self.own}.items()
        }

    def observations(self, part: Tensor) -> Tensor:
        """Return those of these rows of the batch, (m * H, *O), on the device."""
        if self._device:
            return self._device["observations"][part.to(self.device)].flatten(0, 1)
        return torch.from_numpy(self.pool["observations"][self.rows[part.numpy()]]).flatten(0, 1)

    def minibatch(self, part: Tensor, memory: Memory | None = None) -> Minibatch:
        """Return these rows of the batch, `part` (m,) int64, in `memory`, or in new one.

        On a GPU the batch is there already, and `memory` is not used.
        """
        index = part.numpy()
        rows = self.rows[index]
        if self._device:
            part = part.to(self.device)
            made = Minibatch({name: column[part] for name, column in self._device.items()})
        else:
            made, arrays = (memory or self.memory(len(rows))).views(len(rows))
            for name, column in self.pool.items():
                _kernels.gather(column, rows, arrays[name])
            for name, column in self._own.items():
                _kernels.gather(column, index, arrays[name])
        made.state = self._state(rows)
        return made
