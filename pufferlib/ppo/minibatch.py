"""A minibatch: whole rows of a batch for the policy to unroll, and memory to gather them into.

Letters: m rows of the minibatch, H horizon, S entries of a recurrent state, *O one observation.
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
    """m whole rows of transitions."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.obs = columns["observation"]  # (m, H, *O)
        self.reset = columns["reset"].view(torch.bool)  # (m, H): a life begins; slot 0 is False
        self.state = columns.get("state")  # (m, S) before slot 0
        self.transitions = Transitions._make(
            columns[name].flatten(0, 1) if name in columns else None for name in Transitions._fields
        )


class MinibatchBuffer:
    """Memory on the CPU for minibatches of up to `rows` rows, `columns` of (rows, H, ...)."""

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self.columns = columns
        self._views: dict[int, tuple[Minibatch, dict[str, npt.NDArray[Any]]]] = {}

    def views(self, rows: int) -> tuple[Minibatch, dict[str, npt.NDArray[Any]]]:
        """Return the first `rows` rows as a minibatch and as arrays; cached for each `rows`."""
        if rows not in self._views:
            columns = {name: column[:rows] for name, column in self.columns.items()}
            arrays = {name: as_array(column) for name, column in columns.items()}
            self._views[rows] = Minibatch(columns), arrays
        return self._views[rows]

    def gather(
        self,
        executor: Executor,
        pool: dict[str, npt.NDArray[Any]],
        rows: npt.NDArray[np.int32],
    ) -> Minibatch:
        """Gather rows (m,) of the pool's columns here, immediately or as part of a graph."""
        minibatch, arrays = self.views(len(rows))
        for name, column in pool.items():
            executor.call(_kernels.gather, pool=column, rows=rows, out=arrays[name])
        return minibatch
