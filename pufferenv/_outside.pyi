"""Games played by Python envs: their spec, the mailbox, the loop over Gymnasium envs.

Letters in shapes: E envs, A agents of all envs, S slots of the engine's observations, *O one
observation, K discrete heads, X continuous axes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv._engine import Axis, Head
from pufferenv.packing import ActionPacking, Packing

class Table:
    """The spec of an outside game and its config; the game keeps it alive."""

    def __init__(
        self,
        name: str,
        doc: str,
        obs_shape: tuple[int, ...],
        obs_dtype: np.dtype[Any],
        heads: Sequence[Head],
        axes: Sequence[Axis],
        num_agents: int,
    ) -> None: ...
    address: int  # of the PufSpec
    def config(self, mail: Mail | None = None) -> bytes:
        """Return the bytes of a PufOutside; without `mail` it says shapes and cannot be played."""

class Mail:
    """The mailbox of outside.h, and what of the engine's arrays a host reads and writes.

    `arrays` by name, written by hosts: reward (A,) float32; done, alive (A,) uint8; over (E,)
    uint8; written (A,) int64; obs, final (A, *O); of the engine: slots (S, *O), written by hosts;
    slot, row_end (A,) int64, actions (A, K) int32, axes (A, X) float32, read by them. Those of the
    engine may be missing where only it reads the mailbox. `rows`: the engine is in ROWS mode.
    `direct`: hosts reach `slots`; otherwise every observation goes through the mailbox.
    """

    arrays: dict[str, npt.NDArray[Any]]
    def __init__(
        self, arrays: dict[str, npt.NDArray[Any]], rows: bool, direct: bool = True
    ) -> None: ...
    def place(self, agent: int) -> int:
        """Note where an agent's next observation goes and return it: a slot, or -1: the mailbox."""

class EnvError(RuntimeError):
    """An outside env raised, or gave what it may not: which one and when."""

class Singles:
    """Gymnasium envs of one agent each, stepped one after the other.

    `first`: the engine's index of envs[0]; `mode`: the engine's. EnvError names env and step.
    """

    envs: list[Any]
    def __init__(
        self,
        mail: Mail,
        envs: list[Any],
        first: int,
        mode: int,
        name: str,
        observations: Packing,
        actions: ActionPacking,
    ) -> None: ...
    def reset(
        self,
        begin: int,
        end: int,
        seeds: npt.NDArray[np.uint64] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Begin new episodes in envs [begin, end), those of `mask` (E,), with `seeds` (E,)."""
    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end) with the actions of the engine's arrays."""
    def close(self) -> None:
        """Close all envs."""
