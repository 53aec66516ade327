"""ReplayRecorder: keep the actions of all envs of an evaluation, and make replays of some episodes.

A step costs one copy of the actions and a few numpy operations. What was observed is hashed later,
when a replay is made: its env is played once more, alone, and must give the same rewards, ends and
log as it did among the others.
Letters: E envs, N agents of one env, A of all, K discrete heads, X continuous axes, T steps.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.game_spec import GameSpec
from pufferlib.run.replay import Replay, ReplayError, dtype_of
from pufferlib.run.replay_player import checksums, completed

BLOCK = 256  # steps whose actions are compressed together
MOST_MEMORY = 1 << 30  # bytes of compressed actions


class Episode(NamedTuple):
    """One episode that has been recorded."""

    env: int
    number: int  # among the episodes of the env
    start: int  # step at which it began
    end: int  # step after its last one
    log: dict[str, float] | None  # None: it had not ended
    returns: tuple[int, int]  # checksums of the env's rewards and ends up to its end


class ReplayRecorder:
    """Records the envs of one evaluation, from their first step on.

    seeds: of each env, (E,) uint64, as the envs were made with. policy: who acts, for a title.
    Raises ReplayError for an env written in Python.
    """

    episodes: list[Episode]  # those that ended and count, in the order in which they ended

    def __init__(self, spec: GameSpec, seeds: npt.NDArray[np.uint64], *, policy: str = "") -> None:
        if (why := refusal(spec)) is not None:
            raise ReplayError(why)
        self._spec, self._seeds, self._policy = spec, seeds.copy(), policy
        self._block = _Block(spec, len(seeds) * spec.env_agents)
        self._packed: list[tuple[bytes, bytes]] = []  # choices and axes of the blocks before
        self._memory, self._steps = 0, 0
        self._starts = np.zeros(len(seeds), np.int64)  # (E,) of the episode that goes on
        self._numbers = np.zeros(len(seeds), np.int64)  # (E,)
        self._returns = [(0, 0)] * len(seeds)  # (E,) of the blocks before, see `checksums`
        self.episodes = []

    def step(
        self,
        actions: Any,
        acted: npt.NDArray[np.bool_],
        returns: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
        ended: npt.NDArray[np.bool_],
        logs: Mapping[str, npt.NDArray[np.float64]],
        counted: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Record one step of all envs.

        actions: int32 (A, K) or (A,), float32 (A, X), or a dict of both. acted: (A,) agents that
        were alive before the step. returns: rewards, terminated, truncated, each (A,). ended: (E,)
        envs whose episode ended, with their logs (E,) by field; counted: (E,) those of them that
        may become replays, by default all.
        """
        if self.full:
            return
        row = self._steps % BLOCK
        self._block.write(row, actions, acted, returns)
        self._steps += 1
        if ended.any():
            for env in np.flatnonzero(ended).tolist():
                if counted is None or counted[env]:
                    self._add(env, {name: float(values[env]) for name, values in logs.items()})
                self._numbers[env] += 1
                self._starts[env] = self._steps
        if row == BLOCK - 1:
            self._pack()

    @property
    def full(self) -> bool:
        """Whether there were more actions than are kept; there are no replays then."""
        return self._memory > MOST_MEMORY

    def _add(self, env: int, log: dict[str, float]) -> None:
        """Note an episode that ended in the step that was written last."""
        place = int(self._numbers[env]), int(self._starts[env]), self._steps
        self.episodes.append(Episode(env, *place, log, self._returns_of(env)))

    def _returns_of(self, env: int) -> tuple[int, int]:
        """Return the checksums of an env's rewards and ends up to the last step."""
        count = self._steps - len(self._packed) * BLOCK
        return checksums(*self._block.returns(count, self._own(env)), self._returns[env])

    def _own(self, env: int) -> slice:
        agents = self._spec.env_agents
        return slice(env * agents, (env + 1) * agents)

    def ranked(self, field: str) -> dict[str, Episode]:
        """Return the best, the median and the worst episode by a log field; {} without episodes.

        Of equal ones the first; of an even number the median is the lower one.
        """
        if not self.episodes:
            return {}
        order = sorted(range(len(self.episodes)), key=lambda i: (self._value(i, field), i))
        best = max(order, key=lambda i: (self._value(i, field), -i))
        places = {"best": best, "median": order[(len(order) - 1) // 2], "worst": order[0]}
        return {name: self.episodes[i] for name, i in places.items()}

    def replays(self, episodes: Sequence[Episode]) -> list[Replay]:
        """Return replays, with their hashes. Each plays its env once more, without a policy.

        Raise ReplayError if the actions were too many to keep, and if a run differs from what was
        recorded, because the game then depends on more than its seed and its actions.
        """
        if self.full:
            raise ReplayError(
                f"the actions have more than {MOST_MEMORY >> 20} MiB, compressed, so no replay is "
                "kept: evaluate fewer episodes"
            )
        made = []
        for episode, (choices, axes) in zip(episodes, self._actions(episodes), strict=True):
            replay = Replay(
                game=self._spec.name,
                source=self._spec.game.source,
                config=dict(self._spec.config),
                seed=int(self._seeds[episode.env]),
                env=episode.env,
                episode=episode.number,
                start=episode.start,
                num_choices=tuple(head.n for head in self._spec.heads),
                choices=choices,
                axes=axes,
                hashes=np.zeros(0, np.uint64),
                log=episode.log,
                policy=self._policy,
            )
            made.append(completed(replay, self._spec, episode.returns))
        return made

    def whole(self, env: int) -> Episode:
        """Return all steps of an env so far as if they were one episode, finished or not."""
        last = self.episodes[-1] if self.episodes else None
        is_end = last is not None and last.env == env and last.end == self._steps
        log = last.log if last is not None and is_end else None
        number = int(self._numbers[env]) - is_end
        return Episode(env, number, 0, self._steps, log, self._returns_of(env))

    @property
    def steps(self) -> int:
        """Number of steps so far."""
        return self._steps

    def _value(self, index: int, field: str) -> float:
        log = self.episodes[index].log
        assert log is not None  # those in the list have ended
        value = log[field]
        return value if value == value else float("-inf")

    def _pack(self) -> None:
        """Compress the actions of the block, which is full."""
        self._returns = [self._returns_of(env) for env in range(len(self._returns))]
        choices, axes = self._block.actions(BLOCK)
        packed = zlib.compress(choices.data, 1), zlib.compress(axes.data, 1)
        self._memory += len(packed[0]) + len(packed[1])
        self._packed = [] if self.full else [*self._packed, packed]

    def _actions(
        self, episodes: Sequence[Episode]
    ) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]]:
        """Return choices (T, N, K) and axes (T, N, X) of each episode's env, from step 0 on."""
        last = self._block.actions(self._steps % BLOCK)
        parts: list[tuple[list[Any], list[Any]]] = [([], []) for _ in episodes]
        for packed in [*self._packed, None]:
            arrays = last if packed is None else self._block.unpacked(packed)
            for episode, part in zip(episodes, parts, strict=True):
                for array, into in zip(arrays, part, strict=True):
                    into.append(array[:, self._own(episode.env)].copy())
        made = []
        for episode, (choices, axes) in zip(episodes, parts, strict=True):
            whole = np.concatenate(choices)[: episode.end], np.concatenate(axes)[: episode.end]
            made.append((whole[0].astype(np.int32), whole[1]))
        return made


class _Block:
    """What all agents did in up to BLOCK steps."""

    def __init__(self, spec: GameSpec, agents: int) -> None:
        heads = [head.n for head in spec.heads]
        self._low, self._high = spec.low, spec.high
        self._choices = np.zeros((BLOCK, agents, len(heads)), dtype_of(max(heads, default=1)))
        self._axes = np.zeros((BLOCK, agents, len(spec.axes)), np.float32)
        self._acted = np.zeros((BLOCK, agents), bool)
        self._returns = [np.zeros((BLOCK, agents), dtype) for dtype in (np.float32, bool, bool)]

    def write(
        self, row: int, actions: Any, acted: npt.NDArray[np.bool_], returns: Sequence[Any]
    ) -> None:
        """Write one step of all agents."""
        both = isinstance(actions, Mapping)
        if self._choices.shape[2]:
            given = actions["discrete"] if both else actions
            self._choices[row] = given if given.ndim == 2 else given[:, None]
        if self._axes.shape[2]:
            self._axes[row] = actions["continuous"] if both else actions
        self._acted[row] = acted
        for into, array in zip(self._returns, returns, strict=True):
            into[row] = array

    def actions(self, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return choices and axes of `count` steps, 0 for agents that did not act.

        Axes are clipped, as the engine clips them.
        """
        acted = self._acted[:count, :, None]
        axes = np.clip(self._axes[:count], self._low, self._high)
        return np.where(acted, self._choices[:count], 0), np.where(acted, axes, np.float32(0))

    def returns(self, count: int, agents: slice) -> tuple[Any, Any, Any]:
        """Return rewards, terminated and truncated of some agents in `count` steps, each (T, N)."""
        rewards, terminated, truncated = (array[:count, agents] for array in self._returns)
        return rewards, terminated, truncated

    def unpacked(self, packed: Sequence[bytes]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return choices and axes of a whole block that was compressed."""
        choices, axes = (
            np.frombuffer(zlib.decompress(content), array.dtype).reshape(array.shape)
            for content, array in zip(packed, (self._choices, self._axes), strict=True)
        )
        return choices, axes


def refusal(spec: GameSpec) -> str | None:
    """Return why no replays of a game are kept; None if they are."""
    if not spec.game.source:
        return (
            f"{spec.name}: replays are kept of games written in C only, because an env written in "
            "Python may depend on more than its seed and its actions. Keep a video instead: "
            "--output FILE.mp4"
        )
    return None
