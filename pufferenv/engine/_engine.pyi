"""The engine's Cython layer: one class for a loaded game, one for its envs. numpy only, no torch.

Letters in shapes: E envs, N agents of one env, A = E * N agents (agent `e * N + n` is agent n of
env e), R rows, H horizon, S = R * H slots (slot `r * H + t` is place t of row r), F final slots,
K discrete heads, C the sum of all heads' choices, X continuous axes, L log fields, *O one
observation.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

ABI: int
MAX_DIMS: int  # dimensions of one observation
MAX_HEADS: int  # discrete heads of one action
MAX_AXES: int  # continuous axes of one action
LIVE: int  # values of pool_done: how a step ended for its agent
TERMINAL: int
TRUNCATED: int
ROWS: int
SAME_STEP: int
NEXT_STEP: int
DISABLED: int

class Field(NamedTuple):
    """One config field, as the game's header declares it."""

    name: str
    doc: str
    dtype: np.dtype[Any]
    default: int | float
    min: int | float
    max: int | float

class Head(NamedTuple):
    """One discrete head of an action: 0 <= action < n."""

    name: str
    doc: str
    n: int

class Axis(NamedTuple):
    """One continuous axis of an action: low <= action <= high."""

    name: str
    doc: str
    low: float
    high: float

class Shapes(NamedTuple):
    """Shapes of a game's observations and actions under one config."""

    num_agents: int  # of one env
    obs_shape: tuple[int, ...]
    heads: tuple[Head, ...]
    axes: tuple[Axis, ...]

class Game:
    """A loaded game. Raises ImportError for a file that is not a game of this ABI.

    `table`: the address of a PufSpec to use instead of a file; the subclass keeps it alive.
    `header`: the header that the file was built from, if that is known.
    """

    def __init__(self, path: str, table: int = 0, header: Path | None = None) -> None: ...
    path: str
    header: Path | None
    name: str
    doc: str
    source: str  # hash of the header and of what it includes; "" for an external env
    debug: bool
    has_mask: bool
    draws: bool  # the header has PUF_VIEW and env_draw
    obs_dtype: np.dtype[Any]
    config_fields: tuple[Field, ...]
    log_fields: tuple[tuple[str, str], ...]
    def pack(self, config: Mapping[str, int | float]) -> bytes:
        """Return the game's struct Config with these values: checked, and every field given."""
    def shapes(self, config: bytes) -> Shapes:
        """Return the shapes of observations and actions under a packed config."""
    def open(self, config: bytes, num_envs: int, **options: Any) -> Engine:
        """Make the envs and return their Engine; `options` are the Engine's."""

class Engine:
    """All envs of one vector env: memory, threads, resets, rows.

    `allocate(name, shape, dtype)` returns the memory for one array: a C-contiguous, writable buffer
    of that size, or None for the engine's own. ValueError for a buffer that does not fit.

    `arrays` are live views by name. What belongs to the current step has a bare name:
        action         (A, K) int32     what the games read; already range-checked
        axis           (A, X) float32   what the games read; already clipped
        reward         (A,) float32     of the last step
        alive          (A,) bool
        final_log      (E, L) float64   log of the episode that ended in the last step,
        has_final_log  (E,) bool        where one ended
    Without rows (SAME_STEP, NEXT_STEP, DISABLED):
        observation        (A, *O) game dtype   dead agents: zeros
        mask               (A, C) bool          legal choices; only games with masks
        termination, truncation (A,) bool       of the last step
        final_observation  (A, *O)              SAME_STEP: of the episode or life that ended in the
        has_final          (A,) bool            last step, where one ended or was cut
        final_mask         (A, C) bool          the same agents' masks; only games with masks
        needs_reset        (E,) bool            NEXT_STEP, DISABLED: the episode ended in an earlier
                                                step and the env was not reset since
    With rows (ROWS), columns of the pool:
        pool_observation   (R, H, *O)           written by the games
        pool_mask          (R, H, C) bool       written by the games; only games with masks
        pool_reward        (R, H) float32       written by step, unscaled
        pool_done          (R, H) uint8         written by step: 0 LIVE, 1 TERMINAL, 2 TRUNCATED
        pool_segment_start (R, H) bool          written by step: a segment starts in this slot
        pool_action        (R, H, K) int32      this and the rest: written by the policy's side
        pool_axis          (R, H, X) float32    the sample before clipping
        pool_logprob, pool_value, pool_next_value (R, H) float32
        pool_version       (R, H) int32         of the weights that acted
    and for the current step
        slot            (A,) int64   of the current observation; dead agents: behind the pool
        life_start      (A,) bool    the current observation is the first of a life
        bootstrap_slot  (A,) int64   last slot of the row that the agent, alive, filled in the last
                                     step: its next_value is the value of the current observation.
                                     The policy's side writes that value and sets -1. -1: none
        final_observation (F, *O)    of truncated lives, in the first `num_final` places
        final_slot        (F,) int64   the slot whose next_value is the value of that observation
        final_agent       (F,) int32   the agent that it belongs to
    """

    game: Game
    arrays: dict[str, npt.NDArray[Any]]
    num_envs: int
    env_agents: int
    num_agents: int
    num_threads: int
    def __init__(
        self,
        game: Game,
        config: bytes,
        num_envs: int,
        *,
        mode: int,
        seeds: npt.NDArray[np.uint64],
        num_threads: int = 1,
        horizon: int = 0,
        num_rows: int = 0,
        batch_rows: int = 0,
        num_finals: int = 0,
        check: bool = False,
        allocate: Callable[[str, tuple[int, ...], np.dtype[Any]], Any] | None = None,
    ) -> None: ...
    def reset(
        self, seeds: npt.NDArray[np.uint64] | None = None, mask: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Begin new episodes; `seeds` (E,) re-creates the envs, `mask` (E,) selects envs.

        With rows every row is free afterwards, and a mask raises ValueError.
        """
    def step(self, begin: int = 0, end: int | None = None) -> None:
        """Step envs [begin, end) with the arrays action and axis; releases the GIL.

        RuntimeError: the engine is closed, another thread is in a step, the process was forked, a
        debug object or a drawing found a fault (the message names game, env, agent and step), fewer
        final slots or rows are free than agents step, or no agent has been alive for longer than a
        horizon.
        AssertionError: `check` found a broken invariant.
        """
    def set_actions(
        self, actions: npt.NDArray[Any] | None = None, axes: npt.NDArray[Any] | None = None
    ) -> None:
        """Check and copy integers (A, K) and floats (A, X); the floats are clipped.

        ValueError names the array, the agent and the head or axis, what was given and what is
        legal. Nothing is copied then.
        """
    def env_address(self, env: int) -> int:
        """Return the address of one env's state, valid until the next step or reset.

        Raises RuntimeError while another thread is in a step, and ValueError for no such env.
        """
    def alive_address(self, env: int) -> int:
        """Return the address of one env's part of `alive`, valid until the engine is closed."""
    shared_address: int  # of what the game's env_load made for all envs, or 0
    env_bytes: int  # of one env's own state, the game's struct
    addresses: dict[str, int]  # engine, step, release: for loops written in C
    @property
    def begun(self) -> bool:
        """Return whether every env was at the start of an episode when the engine was made."""
    any_final: bool  # the last step set some has_final
    any_log: bool  # the last step set some has_final_log
    # With rows:
    num_final: int  # final slots in use
    num_full: int  # rows in each state
    num_open: int
    num_abandoned: int
    num_free: int
    num_live: int  # agents alive
    def clear_finals(self) -> None:
        """Free the final slots, once their observations have been evaluated."""
    def uniform_first_slot(self, begin: int = 0, end: int | None = None) -> int:
        """Return the first agent's slot s if each agent a of the range is at s + a * H, else -1."""
    def live_agents(self, begin: int = 0, end: int | None = None) -> npt.NDArray[np.int32]:
        """Return the live agents of envs [begin, end), ascending."""
    def batch(self) -> npt.NDArray[np.int32]:
        """Return the `batch_rows` oldest full rows, the oldest first; ties by env, then agent."""
    def release(self) -> None:
        """Free the rows of `batch()`."""
    def check(self) -> None:
        """Raise AssertionError with the first invariant of the rows that does not hold."""
    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return (mean, population deviation, min, max) by log field, since the last call.

        The first entry, "episodes", is the number of episodes.
        """
    def close(self) -> None:
        """Stop the threads and free the envs. The arrays stay valid; closing twice is fine."""

def compiled() -> Mapping[str, str | bool]:
    """Return compiler, flags and kind of this build, which a benchmark prints."""

def mix_seed(seed: int, count: int, begin: int = 0) -> npt.NDArray[np.uint64]:
    """Return one seed per env, a mix of (seed, env) that is independent of `count`."""
