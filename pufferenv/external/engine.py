"""ExternalEngine: the engine of an external game, with the backend that runs its envs.

A step has two halves: `send` makes the backend step the envs in Python; `receive` waits for them
and steps the engine, which reads the results from the mailbox. In between, other ranges of envs or
the policy can run. A runner writes an observation straight to its slot of the engine's array if it
can reach that array and the slot is known; otherwise the observation goes through the mailbox.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import DISABLED, ROWS, Engine, Game
from pufferenv.engine.arrays import given_memory
from pufferenv.external._external import EnvError, Mailbox, SpecTable
from pufferenv.external.backends.base import Arrays, Backend
from pufferenv.external.description import EnvDescription
from pufferenv.external.episode_infos import BYTES_PER_AGENT, InfoStatistics

SHARED = ("observation", "action", "axis", "slot", "row_end")  # engine arrays that runners use

Allocate = Callable[[str, tuple[int, ...], np.dtype[Any]], Any]


class ExternalEngine(Engine):
    """Steps the envs of an ExternalGame, whose `open` makes it."""

    def __init__(
        self,
        game: Game,
        table: SpecTable,
        description: EnvDescription,
        backend: Backend,
        num_envs: int,
        *,
        mode: int,
        seeds: npt.NDArray[np.uint64],
        allocate: Allocate | None = None,
        **options: Any,
    ) -> None:
        self._backend, self._mode, self._seeds = backend, mode, seeds
        self._begun = False  # the first reset makes the envs
        self._unusable = ""  # the reason why every further call raises

        # The mailbox is made first, because the spec's config holds its addresses, and the engine
        # copies that config.
        self._mailbox = Mailbox(self._mailbox_arrays(description, num_envs), mode == ROWS)
        self._statistics = InfoStatistics()
        self.counted = np.ones(num_envs, bool)  # (E,) envs whose infos are in `log`; writable

        # The engine calls _memory for its arrays; the backend allocates those that runners use.
        self._engine_arrays: Arrays = {}
        self._direct = True  # runners can write to the slots
        super().__init__(
            game,
            table.config(self._mailbox),
            num_envs,
            mode=mode,
            seeds=seeds,
            allocate=lambda *array: self._memory(allocate, *array),
            **options,
        )
        slots = self._engine_arrays.pop("observation")
        self._runner_arrays = {**self._engine_arrays, **self._mailbox.arrays}
        if self._direct:
            self._runner_arrays["slots"] = slots

        # A RowEnv begins now. A plain vector env makes no env before its first reset.
        if mode == ROWS:
            self.reset()

    def _mailbox_arrays(self, description: EnvDescription, num_envs: int) -> Arrays:
        """Allocate the arrays of the mailbox (see Mailbox for what each holds)."""
        allocate = self._backend.allocate
        agents = num_envs * description.num_agents
        obs = (agents, *description.observations.shape)
        choices = description.masks.num_choices if description.masks else 1
        byte = np.dtype("u1")
        return {
            "reward": allocate((agents,), np.dtype("f4")),
            "done": allocate((agents,), byte),
            "alive": allocate((agents,), byte),
            "episode_done": allocate((num_envs,), byte),
            "written_slot": allocate((agents,), np.dtype("i8")),
            "obs": allocate(obs, description.observations.dtype),
            "final_obs": allocate(obs, description.observations.dtype),
            "action_mask": allocate((agents, choices), byte),
            "info_size": allocate((num_envs,), np.dtype("i4")),
            "info": allocate((num_envs, BYTES_PER_AGENT * description.num_agents), byte),
        }

    def _memory(
        self, allocate: Allocate | None, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> Any:
        """Return the memory of one of the engine's arrays; None: the engine allocates it."""
        given = allocate(name, shape, dtype) if allocate is not None else None
        if name not in SHARED:
            return given
        # Workers in other processes need shared memory for the arrays that they read and for the
        # pool. A vector env's caller may give memory for observations, which they cannot reach;
        # then observations go through the mailbox.
        same_process = self._backend.same_process
        if not same_process and (name != "observation" or self._mode == ROWS):
            given = None
        if given is None:
            self._engine_arrays[name] = self._backend.allocate(shape, dtype)
            return self._engine_arrays[name]
        self._direct = same_process or name != "observation"
        array = given_memory(name, given, shape, dtype).view(dtype).reshape(shape)
        self._engine_arrays[name] = array
        return given

    @property
    def begun(self) -> bool:
        """True once the first reset has made the envs."""
        return self._begun

    def reset(
        self, seeds: npt.NDArray[np.uint64] | None = None, mask: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Begin new episodes, with `seeds` (E,) if given, and only in the envs of `mask` (E,)."""
        if mask is not None and self._mode != DISABLED:
            super().reset(seeds, mask)  # raises
        self._check_usable()
        if not self._begun:
            seeds = self._seeds if seeds is None else seeds
            self._call(self._backend.start, self._runner_arrays)
            self._begun = True
        self._call(self._backend.wait_all)
        env_seeds = None if seeds is None else seeds >> np.uint64(33)  # Gymnasium's are 31 bits
        self._call(self._backend.reset, env_seeds, mask)
        super().reset(seeds, mask)

    def step(self, begin: int = 0, end: int | None = None) -> None:
        """Step envs [begin, end) with the current `action` and `axis`."""
        self.send(begin, end)
        self.receive(begin, end)

    def send(self, begin: int = 0, end: int | None = None) -> None:
        """Start stepping envs [begin, end) with the current `action` and `axis`; do not wait.

        The actions of their agents must not be written before the envs are received.
        """
        self._check_usable()
        last = self.num_envs if end is None else end
        agents = (last - begin) * self.env_agents
        if self._mode == ROWS:
            # If rows or final slots do not suffice for this step, raise before any env has stepped.
            finals = len(self.arrays["final_slot"]) - self.num_final
            if finals < agents or self.num_free < agents:
                super().step(begin, end)  # raises
        self._call(self._backend.send, begin, last)

    def receive(self, begin: int = 0, end: int | None = None) -> None:
        """Wait for envs [begin, end), which were sent, and complete their step."""
        last = self.num_envs if end is None else end
        self._call(self._backend.wait, begin, last)
        if self._mailbox.has_infos(begin, last):
            self._statistics.take(self._mailbox.arrays, begin, last, self.counted)
        super().step(begin, end)

    def receive_any(self, ranges: Sequence[tuple[int, int]]) -> tuple[int, int]:
        """Wait for the first of these ranges that is ready, receive it, and return it."""
        self._call(self._backend.wait_any, ranges)
        first = next(one for one in ranges if self._backend.ready(*one))
        self.receive(*first)
        return first

    def ready(self, begin: int = 0, end: int | None = None) -> bool:
        """Return whether `receive` would return without waiting."""
        return self._backend.ready(begin, self.num_envs if end is None else end)

    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return the log of ended episodes, with the numbers in their envs' last infos.

        A number with the same name as a field of the log is called `info/NAME`.
        """
        log = super().log()
        if not log.get("episodes", (0,))[0]:
            return log  # numbers of ended lives are kept until an episode has ended too
        infos = self._statistics.log()
        return log | {f"info/{name}" if name in log else name: s for name, s in infos.items()}

    def render(self, envs: Sequence[int]) -> list[Any]:
        """Return what the own render() of each of these envs returns.

        Raises EnvError if an env raises.
        """
        self._check_usable()
        try:
            return self._backend.render(envs)
        except EnvError:
            raise
        except Exception as error:
            raise EnvError(f"{self.game.name}: render: {type(error).__name__}: {error}") from error

    def _check_usable(self) -> None:
        if self._unusable:
            raise RuntimeError(f"{self.game.name} {self._unusable}: make a new one")

    def _call(self, method: Callable[..., None], *args: Any) -> None:
        """Call the backend. After a call that raised, and may be half done, every call raises."""
        try:
            method(*args)
        except BaseException:
            self._unusable = "failed or was interrupted in the middle of a step"
            raise

    def close(self) -> None:
        """Close the envs, and end the workers. A second call does nothing."""
        self._unusable = self._unusable or "is closed"
        self._backend.close()
        super().close()
