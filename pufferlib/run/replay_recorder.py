"""ReplayRecorder: keep the actions of all envs of an evaluation, and make replays of some episodes.

A step costs one copy of actions, rewards and ends. What was observed is hashed later, when a replay
is made: its env is played once more, alone, and must give the same rewards, ends and log as it did
among the others.
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
from pufferlib.run.replay_player import completed, ends_of

BLOCK = 256  # steps that are kept together
MOST_PLAIN = 1 << 26  # bytes that are kept as they are; more are compressed
MOST_MEMORY = 1 << 30  # bytes that are kept at all


class Episode(NamedTuple):
    """One episode that has been recorded."""

    env: int
    number: int  # among the episodes of the env
    start: int  # step at which it began
    end: int  # step after its last one
    log: dict[str, float] | None  # None: it had not ended


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
        self._packed: list[list[Any]] = []  # the arrays of the blocks before, or their bytes
        self._memory, self._steps = 0, 0
        self._starts = np.zeros(len(seeds), np.int64)  # (E,) of the episode that goes on
        self._numbers = np.zeros(len(seeds), np.int64)  # (E,)
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
        self.episodes.append(Episode(env, *place, log))

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
                f"the actions and rewards have more than {MOST_MEMORY >> 20} MiB, compressed, so "
                "no replay is kept: evaluate fewer episodes"
            )
        made = []
        for episode, arrays in zip(episodes, self._arrays(episodes), strict=True):
            choices, axes, rewards, ends = arrays
            replay = Replay(
                game=self._spec.name,
                source=self._spec.game.source,
                config=dict(self._spec.config),
                seed=int(self._seeds[episode.env]),
                env=episode.env,
                episode=episode.number,
                start=episode.start,
                num_choices=tuple(head.n for head in self._spec.heads),
                choices=choices.astype(np.int32),
                axes=axes,
                hashes=np.zeros(0, np.uint64),
                log=episode.log,
                policy=self._policy,
            )
            made.append(completed(replay, self._spec, rewards, ends))
        return made

    def whole(self, env: int) -> Episode:
        """Return all steps of an env so far as if they were one episode, finished or not."""
        last = self.episodes[-1] if self.episodes else None
        is_end = last is not None and last.env == env and last.end == self._steps
        log = last.log if last is not None and is_end else None
        number = int(self._numbers[env]) - is_end
        return Episode(env, number, 0, self._steps, log)

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
        """Keep the block, which is full, and begin the next one."""
        arrays: list[Any] = self._block.arrays(BLOCK)
        if self._memory + sum(array.nbytes for array in arrays) > MOST_PLAIN:
            arrays = [zlib.compress(np.ascontiguousarray(array).data, 1) for array in arrays]
        self._memory += sum(memoryview(array).nbytes for array in arrays)
        self._packed = [] if self.full else [*self._packed, arrays]

    def _arrays(self, episodes: Sequence[Episode]) -> list[list[npt.NDArray[Any]]]:
        """Return choices, axes, rewards and ends (T, N, ...) of each episode's env, from step 0."""
        last = self._block.arrays(self._steps % BLOCK)
        parts: list[list[list[Any]]] = [[[] for _ in last] for _ in episodes]
        for packed in [*self._packed, last]:
            arrays = [self._block.unpacked(i, array) for i, array in enumerate(packed)]
            for episode, part in zip(episodes, parts, strict=True):
                for array, into in zip(arrays, part, strict=True):
                    into.append(array[:, self._own(episode.env)].copy())
        return [
            [np.concatenate(arrays)[: episode.end] for arrays in part]
            for episode, part in zip(episodes, parts, strict=True)
        ]


class _Block:
    """What all agents did in up to BLOCK steps, and what they got for it."""

    def __init__(self, spec: GameSpec, agents: int) -> None:
        heads = [head.n for head in spec.heads]
        self._has_heads, self._has_axes = bool(heads), bool(spec.axes)
        self._low, self._high = spec.low, spec.high
        self._choices = np.zeros((BLOCK, agents, len(heads)), dtype_of(max(heads, default=1)))
        self._axes = np.zeros((BLOCK, agents, len(spec.axes)), np.float32)
        self._rewards = np.zeros((BLOCK, agents), np.float32)
        self._acted, self._terminated, self._truncated = np.zeros((3, BLOCK, agents), bool)

    def write(
        self, row: int, actions: Any, acted: npt.NDArray[np.bool_], returns: Sequence[Any]
    ) -> None:
        """Write one step of all agents."""
        if self._has_heads and self._has_axes:
            choices, self._axes[row] = actions["discrete"], actions["continuous"]
        elif self._has_axes:
            choices, self._axes[row] = None, actions
        else:
            choices = actions
        if choices is not None:
            self._choices[row] = choices if choices.ndim == 2 else choices[:, None]
        self._acted[row] = acted
        self._rewards[row], self._terminated[row], self._truncated[row] = returns

    def arrays(self, count: int) -> list[npt.NDArray[Any]]:
        """Return choices, axes, rewards and ends of `count` steps, as new arrays.

        Agents that did not act have 0. Axes are clipped, as the engine clips them.
        """
        acted, choices, axes = (
            self._acted[:count, :, None],
            self._choices[:count],
            self._axes[:count],
        )
        return [
            choices * acted,
            np.where(acted, np.clip(axes, self._low, self._high), np.float32(0)),
            self._rewards[:count].copy(),
            ends_of(self._terminated[:count], self._truncated[:count]),
        ]

    def unpacked(self, index: int, packed: Any) -> npt.NDArray[Any]:
        """Return one of the arrays of a block that was compressed, or as it is."""
        if isinstance(packed, np.ndarray):
            return packed
        shape = (
            BLOCK,
            *(self._choices.shape, self._axes.shape, *[self._acted.shape] * 2)[index][1:],
        )
        dtype = (self._choices.dtype, np.float32, np.float32, np.uint8)[index]
        return np.frombuffer(zlib.decompress(packed), dtype).reshape(shape)


def refusal(spec: GameSpec) -> str | None:
    """Return why no replays of a game are kept; None if they are."""
    if not spec.game.source:
        return (
            f"{spec.name}: replays are kept of games written in C only, because an env written in "
            "Python may depend on more than its seed and its actions. Keep a video instead: "
            "--output FILE.mp4"
        )
    return None
