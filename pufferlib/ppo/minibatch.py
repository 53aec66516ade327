"""A minibatch: sequences of a batch for the policy to unroll, and memory to gather them into.

Letters: m sequences of the minibatch, L steps of a sequence, S entries of a recurrent state, *O one
observation.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.kernels import _kernels
from pufferlib.ops.ppo_loss import Transitions
from pufferlib.runtime.graph import Executor
from pufferlib.runtime.tensors import as_array


class Minibatch:
    """m sequences of transitions: whole rows, or single steps."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.obs = columns["observation"]  # (m, L, *O)
        self.reset = columns["reset"].view(torch.bool)  # (m, L): a life begins, but not at slot 0
        self.state = columns.get("state")  # (m, S) before slot 0
        self.transitions = Transitions._make(
            columns[name].flatten(0, 1) if name in columns else None for name in Transitions._fields
        )


class MinibatchBuffer:
    """Memory on the CPU for minibatches of up to `size` sequences, `columns` of (size, L, ...)."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns
        self._views: dict[int, tuple[Minibatch, dict[str, npt.NDArray[Any]]]] = {}

    def views(self, size: int) -> tuple[Minibatch, dict[str, npt.NDArray[Any]]]:
        """Return the first `size` sequences as a minibatch and as arrays; cached for each size."""
        if size not in self._views:
            columns = {name: column[:size] for name, column in self.columns.items()}
            arrays = {name: as_array(column) for name, column in columns.items()}
            self._views[size] = Minibatch(columns), arrays
        return self._views[size]

    def gather(
        self,
        executor: Executor,
        pool: dict[str, npt.NDArray[Any]],
        sequences: npt.NDArray[np.int32],
    ) -> Minibatch:
        """Gather sequences (m,) of the pool's columns here, immediately or as part of a graph."""
        minibatch, arrays = self.views(len(sequences))
        for name, column in pool.items():
            executor.call(_kernels.gather, pool=column, rows=sequences, out=arrays[name])
        return minibatch
