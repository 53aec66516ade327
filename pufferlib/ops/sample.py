"""Sampling: one kernel draws every agent's action and stores it for the game and in the pool.

The draws are counter-based: they depend only on (seed, agent, number of the agent's earlier draws).
Letters: A agents, N of them act, C choices of all heads, X continuous axes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pufferenv.row_env import RowEnv
from pufferlib.kernels import _kernels
from pufferlib.ops.output import Output
from pufferlib.runtime.chunks import Agents
from pufferlib.runtime.graph import Executor

UNUSED = 0  # version of a slot not acted on since its row was free; weights count from 1


class Sampler:
    """Samples actions from a policy's output for the agents of a RowEnv.

    The action goes to the game's `action` and `axis`; action, log-probability, value and the
    version of the weights go into the agent's slot of the pool. If the agent's previous row became
    full in the previous step, the value is also the `next_value` of that row's last slot.
    """

    def __init__(self, env: RowEnv, seed: int) -> None:
        self.seed = seed
        self.counts = np.zeros(env.num_agents, np.uint64)  # (A,) earlier draws of each agent
        self.head_sizes: npt.NDArray[np.int32] | None = None  # (K,) choices of each discrete head
        arrays, slots = env.arrays, env.num_rows * env.horizon

        # Columns that sampling writes in every game.
        self._arguments: dict[str, Any] = {
            "slot": arrays["slot"],
            "bootstrap_slot": arrays["bootstrap_slot"],
            "counts": self.counts,
            "seed": seed,
            **{
                name: arrays[name].reshape(slots)
                for name in ("pool_logprob", "pool_value", "pool_next_value", "pool_version")
            },
        }

        # Columns of discrete heads, continuous axes and masks, if the game has them.
        if env.heads:
            self.head_sizes = np.array([head.n for head in env.heads], np.int32)
            self._arguments |= {
                "sizes": self.head_sizes,
                "action": arrays["action"],
                "pool_action": arrays["pool_action"].reshape(slots, -1),
            }
        if env.axes:
            self._arguments |= {
                "low": env.low,
                "high": env.high,
                "axis": arrays["axis"],
                "pool_axis": arrays["pool_axis"].reshape(slots, -1),
            }
        if "pool_mask" in arrays:
            self._arguments["pool_mask"] = arrays["pool_mask"].reshape(slots, -1)

    def record(self, executor: Executor, output: Output, agents: Agents, **options: Any) -> None:
        """Sample for these N agents from their output, or record that on a graph.

        `options` is the kernel's `version`, or for a graph its `params`, which a replay reads: the
        version, and how many of the N agents act.
        """
        executor.call(
            _kernels.sample,
            values=output.value.cpu().numpy(),
            logits=_with_contiguous_rows(output.logits),
            mean=_with_contiguous_rows(output.mean),
            log_std=_with_contiguous_rows(output.log_std),
            **({"first": agents.start} if isinstance(agents, slice) else {"agents": agents}),
            **options,
            **self._arguments,
        )


def _with_contiguous_rows(part: Tensor | None) -> npt.NDArray[Any] | None:
    """Return an output (N, C) or (X,) on the CPU, copied only if its rows are not contiguous."""
    if part is None:
        return None
    part = part.cpu()
    return (part if part.stride(-1) == 1 else part.contiguous()).numpy()
