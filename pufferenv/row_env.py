"""RowEnv: a game's envs, for trainers; they write straight into rows of `horizon` slots.

The engine owns the pool, assigns rows to agents and reports which are full (docs/design.md,
"Rows"); this class sizes the pool. It has `batch_rows + 2 * agents` rows, which always suffices if
batches are taken while `engine.num_full >= batch_rows`, before the next step.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import ROWS, Axis, Engine, Game, Head
from pufferenv.game_config import MOST, count, env_seeds, merged
from pufferenv.game_spec import GameLike, GameSpec


class RowEnv:
    """Envs of one game that write their transitions into the memory that is trained on.

    game: a name, a header's path, a loaded Game or a GameSpec.
    horizon: slots of one row; batch_rows: full rows of one batch, by default one row per agent.
    num_threads: C threads that step the envs; results are the same for any number.
    check: verify every invariant of the rows after each step.
    debug: load the game's debug object, which names game, env, agent and step of a broken rule.
    allocate: `allocate(name, shape, dtype)` returns the memory for one array, or None for the
        engine's own.
    fields: the game's config. `config` takes the same fields as a mapping, including those that
        have the name of an argument here.

    To act, read the slots of `arrays["slot"]`, write `arrays["action"]` and `arrays["axis"]`, and
    call `step`. While `engine.num_full >= batch_rows`, take `engine.batch()` and then
    `engine.release()` it. Raises TypeError or ValueError for impossible sizes, and warns
    (UserWarning) if full rows will wait during an update.
    """

    game_spec: GameSpec
    game: Game
    config: dict[str, int | float]
    engine: Engine
    arrays: dict[str, npt.NDArray[Any]]  # documented at Engine in engine/_engine.pyi
    num_envs: int
    env_agents: int  # agents of one env
    num_agents: int  # num_envs * env_agents
    horizon: int  # slots of one row
    batch_rows: int
    num_rows: int  # of the pool
    obs_shape: tuple[int, ...]
    obs_dtype: np.dtype[Any]
    heads: tuple[Head, ...]
    axes: tuple[Axis, ...]
    low: npt.NDArray[np.float32]  # (axes,)
    high: npt.NDArray[np.float32]  # (axes,)

    def __init__(
        self,
        game: GameLike | GameSpec,
        num_envs: int,
        *,
        horizon: int,
        batch_rows: int | None = None,
        num_threads: int = 1,
        seed: int = 0,
        debug: bool = False,
        check: bool = False,
        allocate: Callable[[str, tuple[int, ...], np.dtype[Any]], Any] | None = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        self.game_spec = spec = GameSpec.of(game, merged(config, fields), debug=debug)
        self.game, self.config = spec.game, spec.config
        self.env_agents, self.heads, self.axes = spec.env_agents, spec.heads, spec.axes
        self.obs_shape, self.obs_dtype = spec.obs_shape, spec.obs_dtype
        self.low, self.high = spec.low, spec.high
        self.num_envs = count("num_envs", num_envs, "copies of the game")
        self.num_agents = self.num_envs * self.env_agents
        self.horizon = count("horizon", horizon, "slots of one row")
        self.batch_rows = self._fitting(batch_rows)
        self.num_rows = self.batch_rows + 2 * self.num_agents
        self.engine = spec.open(
            self.num_envs,
            mode=ROWS,
            seeds=env_seeds(seed, self.num_envs),
            num_threads=count("num_threads", num_threads, "threads that step the envs"),
            horizon=self.horizon,
            num_rows=self.num_rows,
            batch_rows=self.batch_rows,
            num_finals=2 * self.num_agents,
            check=check,
            allocate=allocate,
        )
        self.arrays = self.engine.arrays

    def _fitting(self, batch_rows: int | None) -> int:
        """Return batch_rows, or one row per agent; warn if full rows will wait.

        A fixed population fills its rows at the same time. After k horizons, k * agents rows have
        been filled, and a batch leaves at most agents - gcd(agents, batch_rows) full rows behind.
        Raises ValueError for more rows than a pool can have.
        """
        agents = self.num_agents
        most = MOST - 2 * agents
        if most < 1:
            raise ValueError(
                f"num_envs={self.num_envs} of {self.env_agents} agents each needs "
                f"{2 * agents + 1} rows, more than a pool can have: {MOST}. "
                f"At most num_envs={(MOST - 1) // 2 // self.env_agents}"
            )
        if batch_rows is None:
            return agents
        rows = count("batch_rows", batch_rows, "full rows of one batch")
        if rows > most:
            raise ValueError(
                f"batch_rows={rows} with {agents} agents needs {rows + 2 * agents} rows, more than "
                f"a pool can have: {MOST}. At most batch_rows={most}"
            )
        waiting = agents - math.gcd(agents, rows)
        if rows % agents:
            floor = rows // agents * agents
            nearest = f"{floor} or {floor + agents}" if floor else f"{agents}"
            warnings.warn(
                f"batch_rows={rows} is not a multiple of the {agents} agents "
                f"(num_envs={self.num_envs}, {self.env_agents} each): while all of them live, up "
                f"to {waiting} full rows wait during an update and are trained on in the next one. "
                f"No rows wait with batch_rows={nearest}",
                stacklevel=3,
            )
        return rows

    def reset(self, seed: int | None = None) -> None:
        """Begin new episodes in an empty pool; `seed` re-creates the envs."""
        self.engine.reset(None if seed is None else env_seeds(seed, self.num_envs))

    def step(self, begin: int = 0, end: int | None = None) -> None:
        """Step envs [begin, end) with the arrays action and axis."""
        self.engine.step(begin, end)

    @property
    def is_async(self) -> bool:
        """Return whether envs step between `send` and `receive`, while the caller continues."""
        return hasattr(self.engine, "receive_any")

    def send(self, begin: int, end: int) -> None:
        """Start a step of envs [begin, end) without waiting for it; only if `is_async`."""
        cast(Any, self.engine).send(begin, end)

    def receive(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Wait for the first of these ranges that is done, finish its step and return it."""
        first: tuple[int, int] = cast(Any, self.engine).receive_any(ranges)
        return first

    def log(self) -> Mapping[str, tuple[float, float, float, float]]:
        """Return (mean, std, min, max) by log field, over the episodes since the last call."""
        return self.engine.log()

    def close(self) -> None:
        """Stop the threads. Arrays that are still in use stay valid; closing twice is fine."""
        self.engine.close()

    def __enter__(self) -> RowEnv:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
