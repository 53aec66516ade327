"""A batch: the full rows that one update trains on, their advantages, and minibatches of them.

On the CPU a batch stays in the pool, and each minibatch is gathered from there when it is needed; a
GPU gets one copy of the batch. `load` processes the batch in chunks, and writes advantages, value
targets and resets over columns that training does not read, so that learning needs little memory
besides the pool.

Learning draws minibatches from sequences: whole rows, or single steps (config/batch_sizes.py). The
columns of sequences are views of the pool's columns. Letters: R rows of the pool, B rows of a
batch, b of a chunk, H horizon, Q sequences of a batch, m of a minibatch, L steps of a sequence, S
entries of a recurrent state, *O one observation.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine._engine import LIVE
from pufferenv.row_env import RowEnv
from pufferlib.config.batch_sizes import Sizes
from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.ops import reference
from pufferlib.ops.sample import UNUSED
from pufferlib.ppo.backend import PolicyBackend
from pufferlib.ppo.minibatch import Minibatch, MinibatchBuffer
from pufferlib.ppo.recurrent_state import RecurrentState
from pufferlib.runtime.chunks import chunks
from pufferlib.runtime.graph import EAGER, Executor
from pufferlib.runtime.tensors import as_array
from pufferlib.runtime.timer import Timer

# Columns of a minibatch that are read unchanged; column `x` is the engine's `pool_x`.
POOLED = ("observation", "mask", "action", "axis", "logprob", "value")
# Columns that `load` writes, each over the engine's column that it is computed from.
MADE = {"advantage": "pool_reward", "target": "pool_next_value", "reset": "pool_segment_start"}
LOAD_CHUNK = 8192  # slots that `load` processes at a time on the CPU, for its cache


def compute_advantages(
    columns: Mapping[str, npt.NDArray[Any]],
    rows: npt.NDArray[np.int32],
    train: TrainOptions,
    reward_scale: float,
    **optional: npt.NDArray[Any] | None,
) -> None:
    """Compute advantages and value targets of these rows (docs/design.md, "Values at the ends").

    `columns` are the pool's; `optional` has the other arrays that the kernel takes. Without any to
    write to, it writes in place of the rewards and next values.
    """
    names = ("reward", "value", "next_value", "done", "segment_start")
    _kernels.advantage(
        rows=rows,
        **{f"pool_{name}": columns[f"pool_{name}"] for name in names},
        gamma=train.gamma,
        gae_lambda=train.gae_lambda,
        rho_clip=train.rho_clip,
        c_clip=train.c_clip,
        reward_scale=reward_scale,
        reward_clip=train.reward_clip,
        **optional,
    )


class Batch:
    """The batch of the current update; each `load` replaces it."""

    def __init__(
        self,
        env: RowEnv,
        states: RecurrentState | None,
        sizes: Sizes,
        train: TrainOptions,
        head_sizes: npt.NDArray[np.int32] | None,
        timer: Timer,
        device: torch.device,
    ) -> None:
        self.env, self.states, self.train, self.timer = env, states, train, timer
        self.head_sizes, self.sizes, self.device = head_sizes, sizes, device
        on_gpu = device.type == "cuda"
        # The batch's rows (B,) and sequences (Q,) of the pool.
        self.rows: npt.NDArray[np.int32] = np.zeros(sizes.batch_rows, np.int32)
        self.sequences: npt.NDArray[np.int32] = np.zeros(sizes.batch_sequences, np.int32)

        # The columns (R, H, ...) by name, without those that the game lacks, and their views
        # (R * H / L, L, ...), which minibatches are gathered from.
        arrays = env.arrays
        pool = {name: arrays[f"pool_{name}"] for name in POOLED if f"pool_{name}" in arrays}
        self.columns = {name: column for name, column in pool.items() if column[0, 0].size}
        self.columns |= {name: arrays[place] for name, place in MADE.items()}
        self.pool = {name: self._in_sequences(column) for name, column in self.columns.items()}

        # Chunks bound the memory of `load`; a GPU needs memory for a whole batch.
        steps = sizes.minibatch_size if on_gpu else LOAD_CHUNK
        self._chunks = chunks(sizes.batch_rows, max(1, steps // sizes.horizon))
        self._host = self.buffer(sizes.batch_sequences).columns if on_gpu else {}  # page-locked
        self._device: dict[str, Tensor] = {}  # the batch's columns (Q, L, ...), on a GPU
        self._gathered: npt.NDArray[Any] = np.empty(0)  # the memory that `observations` returns

        self.loaded = False  # True from `load` to `release`, while advantages replace rewards
        self.density = 1.0  # share of slots that carry a transition
        self.age = self.carried = 0.0  # mean age of a slot in updates; share older than the weights

    def _in_sequences(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a column (R, H, ...) as a view (R * H / L, L, ...)."""
        count = len(column) * self.sizes.sequences_per_row
        if count > np.iinfo(np.int32).max:
            raise ValueError(
                f"train.shuffle=steps needs a pool of less than 2^31 steps, but this one has "
                f"{count:,}: set train.shuffle=rows, or fewer envs or a shorter horizon"
            )
        view: npt.NDArray[Any] = column.view()
        view.shape = (count, self.sizes.sequence, *column.shape[2:])  # raises instead of copying
        return view

    def buffer(self, size: int, obs_dtype: torch.dtype | None = None) -> MinibatchBuffer:
        """Allocate memory on the CPU for minibatches of up to `size` sequences.

        `obs_dtype` of the gathered observations is float32, bfloat16 or the pool's, as is None.
        """
        on_gpu = self.device.type == "cuda"
        made = {}
        for name, column in self.pool.items():
            dtype = torch.from_numpy(column[:0]).dtype
            if obs_dtype and name == "observation":
                dtype = obs_dtype
            made[name] = torch.zeros((size, *column.shape[1:]), dtype=dtype, pin_memory=on_gpu)
        if self.states is not None and not on_gpu:
            made["state"] = torch.zeros((size, self.states.row_state.shape[1]))
        return MinibatchBuffer(made)

    def load(self, backend: PolicyBackend, version: int, reward_scale: float) -> None:
        """Take the rows that became full first; compute their advantages and value targets.

        Slots written by older weights than `version` first get the value and log-probability of the
        current weights. Rewards are multiplied by `reward_scale`.
        """
        self.rows, self.loaded = self.env.engine.batch(), True
        count = self.sizes.sequences_per_row
        self.sequences = (
            self.rows[:, None] * np.int32(count) + np.arange(count, dtype=np.int32)
        ).reshape(-1)
        used = age = carried = 0
        arrays = self.env.arrays
        for chunk in self._chunks:
            rows = self.rows[chunk]
            ages = version - arrays["pool_version"][rows]  # (b, H); never rises within a row
            reset = self._reset(rows)
            used += np.count_nonzero(ages <= version - UNUSED - 1)
            age, carried = age + int(ages.sum()), carried + np.count_nonzero(ages > 0)
            ratio = self._reevaluate(backend, rows, ages, reset)
            compute_advantages(arrays, rows, self.train, reward_scale, ratio=ratio)
            self.columns["reset"][rows] = reset
        slots = self.rows.size * self.sizes.horizon
        self.density, self.age, self.carried = used / slots, age / slots, carried / slots
        self.timer.enter("copy")
        self._upload()
        self.timer.enter("other")

    def _reset(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Return where lives begin in these rows (b, H), except at slot 0, whose state is saved."""
        reset: npt.NDArray[np.bool_] = self.env.arrays["pool_segment_start"][rows]
        reset[:, 0] = False
        reset[:, 1:] |= self.env.arrays["pool_done"][rows, :-1] != LIVE
        return reset

    def _reevaluate(
        self,
        backend: PolicyBackend,
        rows: npt.NDArray[np.int32],
        ages: npt.NDArray[np.int32],
        reset: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float32] | None:
        """Evaluate slots of older weights again, with the current weights.

        Return the ratio (b, H) of new to old probability, 1 in other slots, or None if no row has
        such slots. A row that has any begins with one.
        """
        aged = np.flatnonzero(ages[:, 0] > 0)
        if not len(aged):
            return None
        arrays, old = self.env.arrays, ages[aged] > 0
        aged_rows = rows[aged]
        value, logprob = self._evaluate(
            backend, aged_rows, torch.from_numpy(reset[aged]).to(self.device)
        )
        ratio = np.ones(ages.shape, np.float32)
        acted = arrays["pool_logprob"][aged_rows]
        arrays["pool_logprob"][aged_rows] = now = np.where(old, logprob, acted)
        arrays["pool_value"][aged_rows] = np.where(old, value, arrays["pool_value"][aged_rows])
        ratio[aged] = np.exp(now - acted)
        return ratio

    @torch.no_grad()
    def _evaluate(
        self, backend: PolicyBackend, rows: npt.NDArray[Any], reset: Tensor
    ) -> tuple[Any, Any]:
        """Return values and log-probabilities (n, H) of n rows under the current weights."""
        columns = {
            name: torch.from_numpy(self.columns[name][rows]).to(self.device)
            for name in ("observation", "mask", "action", "axis")
            if name in self.columns
        }
        output = backend.unroll(columns["observation"], self._state(rows), reset)
        flat = {n: c.flatten(0, 1) for n, c in columns.items() if n != "observation"}
        logprob, _ = reference.logprob_and_entropy(
            logits=output.logits,
            mean=output.mean,
            log_std=output.log_std,
            sizes=self.head_sizes,
            **flat,
        )
        return as_array(output.value.cpu().view(reset.shape)), as_array(
            logprob.cpu().view(reset.shape)
        )

    def release(self) -> None:
        """Free the rows and mark their slots UNUSED, so that `density` counts later writes."""
        self.env.arrays["pool_version"][self.rows] = UNUSED
        self.env.engine.release()
        self.loaded = False

    def _state(self, rows: npt.NDArray[Any]) -> Tensor | None:
        """Return the states (n, S) before slot 0 of n rows of the pool."""
        return None if self.states is None else self.states.of_rows(rows)

    def _upload(self) -> None:
        """Copy the batch to the GPU through page-locked memory."""
        if self.device.type != "cuda":
            return
        for name, column in self.pool.items():
            _kernels.gather(column, self.sequences, self._host[name].numpy())
        self._device = {
            name: tensor.to(self.device, non_blocking=True) for name, tensor in self._host.items()
        }

    def observations(self, chunk: slice, as_float: bool) -> Tensor:
        """Return the observations (m * L, *O) of these sequences of the batch, on the device.

        On the CPU they are valid until the next call, and are float32 if `as_float`.
        """
        if self._device:
            return self._device["observation"][chunk].flatten(0, 1)
        taken, pool = self.sequences[chunk], self.pool["observation"]
        if len(self._gathered) < len(taken):
            dtype = np.dtype(np.float32) if as_float else pool.dtype
            self._gathered = np.empty((len(taken), *pool.shape[1:]), dtype)
        _kernels.gather(pool, taken, self._gathered[: len(taken)])
        return torch.from_numpy(self._gathered[: len(taken)]).flatten(0, 1)

    def minibatch(self, part: Tensor, buffer: MinibatchBuffer | None = None) -> Minibatch:
        """Return these sequences of the batch, `part` (m,) int64.

        On the CPU they are gathered into `buffer`, or into new memory if it is None; a GPU already
        has the batch.
        """
        taken = self.sequences[part.numpy()]
        if self._device:
            part = part.to(self.device)
            made = Minibatch({name: column[part] for name, column in self._device.items()})
            made.state = self._state(taken)  # a recurrent policy's sequences are rows
            return made
        return self.gather(EAGER, buffer or self.buffer(len(taken)), taken)

    def gather(
        self, executor: Executor, buffer: MinibatchBuffer, sequences: npt.NDArray[np.int32]
    ) -> Minibatch:
        """Gather sequences (m,) of the pool into `buffer` on the CPU, or record that on a graph."""
        pool = self.pool
        if self.states is not None:  # a recurrent policy's sequences are rows
            pool = pool | {"state": self.states.row_state.numpy()}
        return buffer.gather(executor, pool, sequences)
