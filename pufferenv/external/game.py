"""ExternalGame: environments written in Python as a game of the engine.

An ExternalGame is accepted wherever a game's name is. Its engine (engine.py) extends that of every
other game: before it steps a range of envs, a runner (runners/) steps them in Python and leaves the
results in a mailbox (mailbox_game.h), which the game's C functions read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pufferenv.engine._engine import DISABLED, NEXT_STEP, Axis, Game, Head
from pufferenv.external._external import EnvError, SpecTable
from pufferenv.external.backends.base import EnvSetup
from pufferenv.external.backends.registry import backend_class
from pufferenv.external.description import describe
from pufferenv.external.engine import ExternalEngine
from pufferenv.external.renderer import Appearance, ExternalRenderer, check_drawable

__all__ = ["EnvError", "ExternalGame", "SingleEnvFactory"]

DEFAULT_TIMEOUT = 300.0  # seconds


class SingleEnvFactory:
    """Returns the same env, which it was given, at each call."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __call__(self) -> Any:
        return self.env


class ExternalGame(Game):
    """A game whose envs `make()` returns.

    make: returns a Gymnasium env, a PettingZoo ParallelEnv, or a Gymnasium or envpool vector env.
        Every worker calls it, so it must not depend on the state of this process.
    backend: "serial", "threads" or "processes".
    num_workers: threads or processes; None: one per usable core.
    timeout: seconds that an env in a worker process may take to be made, reset or stepped; None:
        no limit.
    agents: the most agents that a PettingZoo env without `possible_agents` has at a time.

    One env is made, inspected and closed here. Raise TypeError or ValueError for an unknown
    backend, a timeout that is not positive, and an env that is not supported.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        name: str | None = None,
        backend: str = "serial",
        num_workers: int | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        agents: int | None = None,
    ) -> None:
        self._backend_class = backend_class(backend)
        self.make, self.backend, self.num_workers = make, backend, num_workers
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout={timeout} must be above 0 seconds, or None for no limit")
        self.timeout = timeout
        env = make()
        description = self.description = describe(env, name, agents)
        self.appearance = Appearance(env)
        if not isinstance(make, SingleEnvFactory):
            env.close()
        self._table = SpecTable(
            description.name,
            f"{description.name}, written in Python",
            description.observations.shape,
            description.observations.dtype,
            [Head(head.name, f"{head.n} choices", head.n) for head in description.actions.heads],
            [Axis(axis.name, "", axis.low, axis.high) for axis in description.actions.axes],
            description.num_agents,
            description.masks is not None,
        )
        super().__init__(description.name, self._table.address)

    @property
    def envs_per_make(self) -> int:
        """Number of envs that one call of `make` returns; num_envs is a multiple of it."""
        return self.description.envs_per_make

    def make_renderer(self) -> ExternalRenderer:
        """Return what draws the envs by their own render().

        Raises NotDrawn for envs that were not made with render_mode="rgb_array", and ValueError for
        envs in other processes.
        """
        check_drawable(self.name, self.appearance, self.backend)
        return ExternalRenderer(self.description, self.appearance)

    def pack(self, config: Mapping[str, int | float]) -> bytes:
        """Return a config that describes shapes only, because an external game has no fields."""
        return self._table.config()

    def open(self, config: bytes, num_envs: int, **options: Any) -> ExternalEngine:
        """Make the engine, and a backend that makes the envs later. `options` are the Engine's.

        Raise ValueError for a number of envs or a mode that the env does not support.
        """
        self._check_num_envs(num_envs)
        mode = options["mode"]
        if self.description.kind == "vector_env" and mode in (NEXT_STEP, DISABLED):
            raise ValueError(
                f"{self.name} is a whole vector env, which begins new episodes itself, so it can "
                "be wrapped with autoreset_mode='same_step' only; for another mode give wrap() a "
                "function that makes a single env"
            )
        backend = self._backend_class(
            EnvSetup(self.description, self.make, num_envs, mode, self.num_workers, self.timeout)
        )
        return ExternalEngine(self, self._table, self.description, backend, num_envs, **options)

    def _check_num_envs(self, num_envs: int) -> None:
        block = self.envs_per_make
        one_env = isinstance(self.make, SingleEnvFactory)
        if one_env and (num_envs != block or self.backend != "serial"):
            raise ValueError(
                f"num_envs={num_envs}, backend={self.backend!r}: one {self.name} that is made "
                f"already allows num_envs={block} and 'serial' only; for more envs or workers "
                "give a function that makes an env"
            )
        if num_envs % block:
            below = max(num_envs // block, 1) * block
            raise ValueError(
                f"num_envs={num_envs} is not a multiple of {block}, the envs of one vector env of "
                f"{self.name}; nearest: {below} or {below + block}"
            )

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self.name}: an ExternalGame cannot be pickled; pickle the function that makes its "
            "envs"
        )
