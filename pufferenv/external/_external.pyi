"""Games played by Python envs: their spec, the mailbox, the loop over Gymnasium envs.

Letters in shapes: E envs, A agents of all envs, S slots of the engine's observations, *O one
observation, K discrete heads, X continuous axes, C choices of all heads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import Axis, Head
from pufferenv.external.action_masks import Legal
from pufferenv.spaces import ActionPacking, Packing

class SpecTable:
    """The spec of an external game and its config; the game keeps it alive."""

    def __init__(
        self,
        name: str,
        doc: str,
        obs_shape: tuple[int, ...],
        obs_dtype: np.dtype[Any],
        heads: Sequence[Head],
        axes: Sequence[Axis],
        num_agents: int,
        has_mask: bool,
    ) -> None: ...
    address: int  # of the PufSpec
    def config(self, mailbox: Mailbox | None = None) -> bytes:
        """Return the bytes of a PufMailboxConfig; without `mailbox` it says shapes and cannot be played."""

class Mailbox:
    """The mailbox of mailbox_game.h, and what of the engine's arrays a runner reads and writes.

    `arrays` by name, written by runners: reward (A,) float32; done, alive (A,) uint8; over (E,)
    uint8; written (A,) int64; obs, final (A, *O); legal (A, C) uint8, without masks (A, 1);
    told (E,) int32, infos (E, bytes) uint8, see infos.py; of the engine: slots (S, *O), written by
    runners; slot, row_end (A,) int64, actions (A, K) int32, axes (A, X) float32, read by them. Those
    of the engine may be missing where only it reads the mailbox; without slots every observation
    goes through the mailbox. `at` (1,) int64, where given, gets the env at hand. `rows`: the engine
    is in ROWS mode.
    """

    arrays: dict[str, npt.NDArray[Any]]
    def __init__(self, arrays: dict[str, npt.NDArray[Any]], rows: bool) -> None: ...
    def place(self, agent: int) -> int:
        """Note where an agent's next observation goes and return it: a slot, or -1: the mailbox."""
    def has_told(self, begin: int, end: int) -> bool:
        """Whether envs [begin, end) told numbers of an info that nobody has taken yet."""

def raw(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of (N, *shape) as (N, bytes)."""

class Floats:
    """The floats of an observation, which have to be finite."""

    def __init__(self, observations: Packing) -> None: ...
    def check(self, slots: npt.NDArray[np.uint8], index: int) -> None:
        """Raise ValueError for a NaN or an infinity in slot `index` of raw(slots)."""
    def first_bad(self, slots: npt.NDArray[np.uint8]) -> int:
        """Return the first of raw(slots) that has one; -1: none."""

class EnvError(RuntimeError):
    """An external env raised, or gave what it may not: which one and when."""

class GymnasiumRunner:
    """Gymnasium envs of one agent each, stepped one after the other.

    `first`: the engine's index of envs[0]; `mode`: the engine's. EnvError names env and step.
    """

    envs: list[Any]
    def __init__(
        self,
        mailbox: Mailbox,
        envs: list[Any],
        first: int,
        mode: int,
        name: str,
        observations: Packing,
        actions: ActionPacking,
        legal: Legal | None,
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

CHANNEL_BYTES: int  # of a WorkerChannel's memory

class WorkerChannel:
    """One end of a line between this process and a worker (worker_channel.h).

    `memory` (CHANNEL_BYTES,) uint8 is shared and zeroed at first, `fd` this end of the socket.
    """

    def __init__(self, memory: npt.NDArray[np.uint8], fd: int) -> None: ...
    sent: int  # number of the last command that was sent
    at: int  # the env that the worker has at hand
    def place(self) -> npt.NDArray[np.int64]:
        """Return where the worker says which env is at hand, (1,); valid while the memory is."""
    def send(self, kind: int, begin: int, end: int) -> int:
        """Give a command -> its number. RuntimeError where too many are under way."""
    def take(self, spin_us: int) -> tuple[int, int, int] | None:
        """Wait for the next command -> kind, begin, end; None: the other end is gone."""
    def finish(self) -> None:
        """Say that the command taken last is done."""
    def reached(self, number: int) -> bool:
        """Return whether the command of this number is done."""

def wait_any(
    lines: Sequence[WorkerChannel], numbers: Sequence[int], spin_us: int, timeout_ms: int
) -> bool:
    """Wait until one line's command of its number is done -> whether it is; False: time is up.

    Looks for `spin_us` before it sleeps. Raises EOFError where a worker is gone, and whatever a
    signal's handler raises.
    """

def watch(fd: int, parent: int) -> None:
    """End this process, and the group that it leads, when `fd`'s end or `parent` is gone."""
