"""The C part of external envs: the spec of their game, the mailbox, the loop over Gymnasium envs.

Letters in shapes: E envs, A agents of all envs, S slots of the engine's observations, *O one
observation, K discrete heads, X continuous axes, C choices of all heads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import Axis, Head
from pufferenv.external.description import EnvDescription
from pufferenv.external.runners.base import EnvMask, Seeds
from pufferenv.spaces import Packing

class EnvError(RuntimeError):
    """An external env raised or returned something illegal; the message names env and step."""

class SpecTable:
    """The PufSpec of an external game and its config; the game keeps it alive."""

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
        """Return the bytes of a PufMailboxConfig; without `mailbox` it describes shapes only."""

class Mailbox:
    """The mailbox of mailbox_game.h, and the engine's arrays that a runner reads and writes.

    `arrays` by name. Of the mailbox, written by runners:
        reward        (A,) float32
        done          (A,) uint8    0 LIVE, 1 TERMINAL, 2 TRUNCATED; LIVE if as the episode's
        alive         (A,) uint8
        episode_done  (E,) uint8    as `done`, of the episode
        written_slot  (A,) int64    where the runner wrote the observation; -1: to `obs`
        obs, final_obs (A, *O)
        action_mask   (A, C) uint8  (A, 1) if the env has no masks
        info, info_size (E, bytes) uint8, (E,) int32    see episode_infos.py
    Of the engine, unless only the engine reads the mailbox:
        slots         (S, *O)       written by runners; without it all observations go to `obs`
        slot, row_end (A,) int64
        action        (A, K) int32
        axis          (A, X) float32
    And current_env (1,) int64, to which a runner writes the index of the env that it runs.
    `rows`: the engine is in ROWS mode.
    """

    arrays: dict[str, npt.NDArray[Any]]
    def __init__(self, arrays: dict[str, npt.NDArray[Any]], rows: bool) -> None: ...
    def next_slot(self, agent: int) -> int:
        """Set `written_slot` of an agent to its next slot, or to -1 for `obs`, and return it."""
    def has_infos(self, begin: int, end: int) -> bool:
        """Return whether the mailbox of envs [begin, end) has numbers of infos to be read."""

def as_bytes(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return the bytes of (N, *shape) as (N, bytes)."""

class FiniteCheck:
    """Finds a NaN or an infinity in slots of a Packing."""

    def __init__(self, observations: Packing) -> None: ...
    def check(self, slots: npt.NDArray[np.uint8], index: int) -> None:
        """Raise ValueError for a NaN or an infinity in slot `index`; `slots` is from as_bytes."""
    def first_bad(self, slots: npt.NDArray[np.uint8]) -> int:
        """Return the first slot with a NaN or an infinity, or -1; `slots` is from as_bytes."""

class GymnasiumRunner:
    """Steps Gymnasium envs of one agent each, one after the other.

    `first`: the engine's index of envs[0]; `mode`: the engine's. Methods raise EnvError.
    """

    envs: list[Any]
    def __init__(
        self, mailbox: Mailbox, envs: list[Any], first: int, mode: int, description: EnvDescription
    ) -> None: ...
    def reset(self, begin: int, end: int, seeds: Seeds = None, mask: EnvMask = None) -> None:
        """Begin new episodes with `seeds` (E,) in the envs of `mask` (E,) within [begin, end)."""
    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end) with the actions of the engine's arrays."""
    def render(self, envs: Sequence[int]) -> list[Any]:
        """Return what the own render() of each of these envs returns."""
    def close(self) -> None:
        """Close all envs."""

CHANNEL_BYTES: int  # of a WorkerChannel's memory

class WorkerChannel:
    """One end of a channel between a process and one of its workers (worker_channel.h).

    `memory` (CHANNEL_BYTES,) uint8 is shared and zeroed at first; `fd` is this end of the socket.
    """

    def __init__(self, memory: npt.NDArray[np.uint8], fd: int) -> None: ...
    sent: int  # number of the last command that was sent
    current_env: int  # the env that the worker runs
    def current_env_view(self) -> npt.NDArray[np.int64]:
        """Return (1,) to write `current_env` to; valid as long as the memory."""
    def send(self, kind: int, begin: int, end: int) -> int:
        """Send a command and return its number. Raise RuntimeError if too many are in flight."""
    def take(self, spin_us: int) -> tuple[int, int, int] | None:
        """Wait for the next command: kind, begin, end; None: the other process has ended."""
    def finish(self) -> None:
        """Report that the command taken last is done."""
    def reached(self, number: int) -> bool:
        """Return whether the command of this number is done."""

def wait_any(
    channels: Sequence[WorkerChannel], numbers: Sequence[int], spin_us: int, timeout_ms: int
) -> bool:
    """Wait until one channel's command of its number is done; return False after `timeout_ms`.

    Polls for `spin_us` before it sleeps. Raises EOFError if a worker has ended, and whatever a
    signal handler raises.
    """

def watch(fd: int, parent: int) -> None:
    """End this process, and the group that it leads, when `fd`'s end is closed or `parent` ends."""
