"""Games that are played by external envs: Gymnasium's, PettingZoo's, whole vector envs.

An ExternalGame stands wherever a game's name does. Its engine is the one of every game; before it
steps a range of envs, the runner (runners/) has them act in Python and leaves what came of
it in a mailbox (mailbox_game.h). Runners write an observation straight into the slot that comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import DISABLED, NEXT_STEP, ROWS, Axis, Engine, Game, Head
from pufferenv.engine.arrays import given_memory
from pufferenv.external._external import EnvError, Mailbox, SpecTable
from pufferenv.external.backends.processes import Processes
from pufferenv.external.backends.threads import Backend, Serial, Threads
from pufferenv.external.description import describe
from pufferenv.external.episode_infos import BYTES, Tally

__all__ = ["EnvError", "ExternalEngine", "ExternalGame"]

BACKENDS: dict[str, type[Backend]] = {
    "serial": Serial,
    "threads": Threads,
    "processes": Processes,
}
TIMEOUT = 300.0  # seconds
SHARED = ("observation", "action", "axis", "slot", "row_end")  # of the engine's arrays


class ExternalGame(Game):
    """A game whose envs `make()` makes, in Python.

    make: returns a Gymnasium env, a PettingZoo ParallelEnv, or a Gymnasium vector env (envpool's
        too); called in every worker, so it must not depend on this process's state.
    backend: "serial", "threads" or "processes"; `num_workers` of the latter two, default: the
        cores at hand.
    timeout: seconds that an env in a worker process may take to be made, reset or stepped; None:
        any.
    agents: of a PettingZoo env without possible_agents, how many there are at once at most.

    One env is made here and closed, to look at its spaces. Raises TypeError or ValueError that
    names what cannot be handled.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        *,
        name: str | None = None,
        backend: str = "serial",
        num_workers: int | None = None,
        timeout: float | None = TIMEOUT,
        agents: int | None = None,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(
                f"backend={backend!r}, must be one of {', '.join(map(repr, BACKENDS))}"
            )
        self.make, self.backend, self.num_workers = make, backend, num_workers
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout={timeout} must be above 0 seconds, or None: any time")
        self.timeout = timeout
        probe = make()
        description = self.description = describe(probe, name, agents)
        if not isinstance(make, SingleEnvFactory):
            probe.close()
        self._table = SpecTable(
            description.name,
            f"{description.name}, played in Python",
            description.observations.shape,
            description.observations.dtype,
            [Head(head.name, f"{head.n} choices", head.n) for head in description.actions.heads],
            [Axis(axis.name, "", axis.low, axis.high) for axis in description.actions.axes],
            description.num_agents,
            description.legal is not None,
        )
        super().__init__(description.name, self._table.address)

    @property
    def block(self) -> int:
        """How many envs `make` makes at once: their number is a multiple of it."""
        return self.description.block

    def pack(self, config: Mapping[str, int | float]) -> bytes:
        """Return the config that shapes are asked with; an external game has no fields."""
        return self._table.config()

    def open(self, config: bytes, num_envs: int, **options: Any) -> ExternalEngine:
        """Make the envs and their runners."""
        return ExternalEngine(self, num_envs, **options)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self.name}: an external game cannot be pickled; pickle what makes its envs"
        )


class SingleEnvFactory:
    """Makes no env but the one that it was given, and that once at a time."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __call__(self) -> Any:
        return self.env


class ExternalEngine(Engine):
    """The engine of an external game's envs, and their runners."""

    game: ExternalGame

    def __init__(
        self,
        game: ExternalGame,
        num_envs: int,
        *,
        mode: int,
        seeds: npt.NDArray[np.uint64],
        allocate: Callable[[str, tuple[int, ...], np.dtype[Any]], Any] | None = None,
        **options: Any,
    ) -> None:
        description, block = game.description, game.description.block
        if isinstance(game.make, SingleEnvFactory) and (
            num_envs != block or game.backend != "serial"
        ):
            raise ValueError(
                f"num_envs={num_envs}, backend={game.backend!r}: one {description.name} as it is can only "
                f"be num_envs={block}, 'serial'; for more give a function that makes one"
            )
        if num_envs % block:
            near = max(num_envs // block, 1) * block
            raise ValueError(
                f"num_envs={num_envs} is no multiple of {block}, the envs of one vector env of "
                f"{description.name}; nearest: {near} or {near + block}"
            )
        if description.kind == "batch" and mode in (NEXT_STEP, DISABLED):
            raise ValueError(
                f"{description.name} is a whole vector env, whose new episodes begin by themselves: "
                "wrapped it has autoreset_mode='same_step' only; for another wrap what makes a "
                "single env"
            )
        self._backend: Backend = BACKENDS[game.backend](game, num_envs, mode)
        self._mode, self._seeds, self._begun = mode, seeds, False
        self._refusal = ""  # why nothing can be done any more
        self._seen: dict[str, npt.NDArray[Any]] = {}  # the engine's arrays, as runners have them
        self._direct = True  # runners reach the observations' slots

        def hand_out(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
            given = allocate(name, shape, dtype) if allocate is not None else None
            if name not in SHARED:
                return given
            if not self._backend.shares and (name != "observation" or mode == ROWS):
                given = None  # what workers read, and the pool, are shared memory in any case
            if given is None:
                self._seen[name] = self._backend.memory(shape, dtype)
                return self._seen[name]
            self._direct = self._backend.shares or name != "observation"
            self._seen[name] = given_memory(name, given, shape, dtype).view(dtype).reshape(shape)
            return given

        agents = num_envs * description.num_agents
        obs = (agents, *description.observations.shape)
        u1 = np.dtype("u1")
        box = {
            "reward": self._backend.memory((agents,), np.dtype("f4")),
            "done": self._backend.memory((agents,), u1),
            "alive": self._backend.memory((agents,), u1),
            "over": self._backend.memory((num_envs,), u1),
            "written": self._backend.memory((agents,), np.dtype("i8")),
            "obs": self._backend.memory(obs, description.observations.dtype),
            "final": self._backend.memory(obs, description.observations.dtype),
            "legal": self._backend.memory(
                (agents, description.legal.size if description.legal else 1), u1
            ),
            "told": self._backend.memory((num_envs,), np.dtype("i4")),
            "infos": self._backend.memory((num_envs, BYTES * description.num_agents), u1),
        }
        self._tally = Tally()  # of what is told in infos
        self.counted = np.ones(num_envs, bool)  # (E,) whose infos the log has; writable
        self._mailbox = Mailbox(box, mode == ROWS)  # the engine reads it: alive as long as this is
        config = game._table.config(self._mailbox)
        super().__init__(
            game, config, num_envs, mode=mode, seeds=seeds, allocate=hand_out, **options
        )
        slots = self._seen.pop("observation")
        self._seen |= {**box, "slots": slots} if self._direct else box
        if mode == ROWS:  # a plain vector env waits for its first reset, should it never come
            self.reset()

    @property
    def begun(self) -> bool:
        """Whether there are envs; the first reset makes them."""
        return self._begun

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None = None, mask: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Begin new episodes, with `seeds` (E,) where given. `mask` (E,): only these envs."""
        if mask is not None and self._mode != DISABLED:
            super().reset(seeds, mask)  # refuses it
        self._check()
        if not self._begun:
            seeds = self._seeds if seeds is None else seeds
            self._try(self._backend.start, self._seen)
            self._begun = True
        self._try(self._backend.drain)
        self._try(self._backend.reset, None if seeds is None else seeds >> np.uint64(33), mask)
        super().reset(seeds, mask)

    def step(self, begin: int = 0, end: int | None = None) -> None:
        """Have envs [begin, end) act, and step them."""
        self.send(begin, end)
        self.receive(begin, end)

    def send(self, begin: int = 0, end: int | None = None) -> None:
        """Have envs [begin, end) act with what stands in `actions` and `axes`; do not wait.

        Until they are received nobody may write to their agents' actions.
        """
        self._check()
        last = self.num_envs if end is None else end
        agents = (last - begin) * self.env_agents
        if self._mode == ROWS:
            finals = len(self.arrays["final_slot"]) - self.num_final
            if finals < agents or self.num_free < agents:
                super().step(begin, end)  # refuses it, before anybody has acted
        self._try(self._backend.send, begin, last)

    def receive(self, begin: int = 0, end: int | None = None) -> None:
        """Wait for envs [begin, end), and step them."""
        last = self.num_envs if end is None else end
        self._try(self._backend.wait, begin, last)
        if self._mailbox.has_told(begin, last):
            self._tally.take(self._mailbox.arrays, begin, last, self.counted)
        super().step(begin, end)

    def receive_any(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Wait for the first of these ranges that is ready, and step it -> which it was."""
        self._try(self._backend.wait_any, ranges)
        first = next(one for one in ranges if self._backend.ready(*one))
        self.receive(*first)
        return first

    def ready(self, begin: int = 0, end: int | None = None) -> bool:
        """Whether `receive` would not wait."""
        return self._backend.ready(begin, self.num_envs if end is None else end)

    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return the log of ended episodes, and the numbers that their envs told in infos.

        A number that is named as a field of the log is `info/NAME`.
        """
        log = super().log()
        if not log.get("episodes", (0,))[0]:
            return log  # lives that ended are told of with the next episode
        told = self._tally.log()
        return log | {f"info/{name}" if name in log else name: s for name, s in told.items()}

    def _check(self) -> None:
        if self._refusal:
            raise RuntimeError(f"{self.game.name} {self._refusal}: make a new one")

    def _try(self, do: Callable[..., None], *args: Any) -> None:
        """Have the backend do something; what it broke off half done is not gone on with."""
        try:
            do(*args)
        except BaseException:
            self._refusal = "failed or was interrupted in the middle of a step"
            raise

    def close(self) -> None:
        """Close the envs, and end their runners. Twice is fine."""
        self._refusal = self._refusal or "is closed"
        self._backend.close()
        super().close()
