"""Chunks: work or agents divided into consecutive parts of bounded size."""

import numpy as np
import numpy.typing as npt

# Consecutive agents, or the indices (N,) of some agents, ascending.
Agents = slice | npt.NDArray[np.int32]


def chunks(count: int, size: int) -> list[slice]:
    """Divide [0, count) into consecutive slices of `size`; the last one may be shorter."""
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, size)]


def num_agents(agents: Agents) -> int:
    """Return the number of these agents."""
    return agents.stop - agents.start if isinstance(agents, slice) else len(agents)


def select_agents(agents: Agents, chunk: slice) -> Agents:
    """Return the agents at the indices `chunk` of `agents`."""
    if isinstance(agents, slice):
        return slice(agents.start + chunk.start, agents.start + chunk.stop)
    return agents[chunk]
