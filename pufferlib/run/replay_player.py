"""ReplayPlayer: play a replay again and compare what is observed with what was recorded.

The env is made afresh from its seed, alone, and gets the recorded actions. Everything that a policy
could have seen is hashed: after each step the rewards, the ends, which agents are alive, and the
observations and action masks of those. Letters: T steps, N agents, K heads, X axes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv import games
from pufferenv.engine._engine import DISABLED, Engine, Game
from pufferenv.game_config import loaded
from pufferenv.game_spec import GameLike, GameSpec
from pufferenv.toolchain import targets
from pufferlib.run.replay import EVERY, Replay, ReplayError

RETURNS = ("reward", "termination", "truncation")  # arrays (N,) of an engine
SEEN = ("observation", "mask")  # arrays (N, ...) of which live agents' parts count


class ObservationHash:
    """A hash of what the agents of an engine of one env observe, from its reset on.

    Of a step, the returns are added before a new episode begins, and what is seen after that.
    """

    def __init__(self, engine: Engine) -> None:
        self._hash = hashlib.blake2b(digest_size=8)
        self._returns = [engine.arrays[name] for name in RETURNS]
        self._alive = engine.arrays["alive"]
        self._seen = [engine.arrays[name] for name in SEEN if name in engine.arrays]

    def add_returns(self) -> None:
        """Add the rewards and ends of a step."""
        for array in self._returns:
            self._hash.update(array.tobytes())

    def add_seen(self) -> None:
        """Add which agents are alive, and what they see, after a reset or a step."""
        self._hash.update(self._alive.tobytes())
        for array in self._seen:
            self._hash.update(array[self._alive].tobytes())

    def digest(self) -> int:
        """Return the hash of all that was observed so far, in [0, 2**64)."""
        return int.from_bytes(self._hash.copy().digest(), "little")


class ReplayPlayer:
    """One env that repeats a replay, step by step.

    After the last step of an episode the env stays as it is, so that its end can be drawn, until
    the next `step` or `settle`.

    game: the game, where its name is not enough: the path of a header, a loaded Game, or a GameSpec
        with the replay's config. Code is never run from a path in a replay.
    any_version: also play with a version of the game whose header differs from the recorded one.

    Raises ReplayError if the replay does not fit the game.
    """

    replay: Replay
    spec: GameSpec
    engine: Engine  # of the one env; closed by `close`
    step_number: int  # steps played so far
    hashes: list[int]  # of the checkpoints so far
    differs: tuple[int, int] | None  # steps between which something else was observed; None: none
    log: dict[str, float] | None  # of an episode that ended in the last step; None: none did

    def __init__(
        self,
        replay: Replay,
        game: GameLike | GameSpec | None = None,
        *,
        any_version: bool = False,
        num_threads: int = 1,
        debug: bool = False,
    ) -> None:
        self.replay, self.spec = replay, _spec(replay, game, debug)
        _check_fit(replay, self.spec, any_version)
        seeds = np.array([replay.seed], np.uint64)
        # Modes differ in when the next episode begins, and in nothing else.
        self.engine = self.spec.open(1, mode=DISABLED, seeds=seeds, num_threads=num_threads)
        self.engine.reset(seeds)
        self.step_number, self.hashes, self.differs, self.log = 0, [], None, None
        self._observed = ObservationHash(self.engine)
        self._observed.add_seen()
        self._settled = True

    @property
    def done(self) -> bool:
        """Whether all steps have been played."""
        return self.step_number == self.replay.steps

    def step(self) -> None:
        """Play the next step. Raise IndexError after the last one."""
        replay, t = self.replay, self.step_number
        if self.done:
            raise IndexError(f"the replay has {replay.steps} steps, and all were played")
        self.settle()
        heads, axes = self.spec.heads, self.spec.axes
        self.engine.set_actions(
            replay.choices[t] if heads else None, replay.axes[t] if axes else None
        )
        self.engine.step()
        self._observed.add_returns()
        self.step_number, self.log, self._settled = t + 1, None, False
        arrays = self.engine.arrays
        if arrays["has_final_log"][0]:
            values = arrays["final_log"][0].tolist()
            names = [name for name, _ in self.spec.log_fields]
            self.log = dict(zip(names, values, strict=True))

    def settle(self) -> None:
        """Begin the next episode if the last step ended one, and compare at a checkpoint."""
        if self._settled:
            return
        self._settled = True
        if self.engine.arrays["needs_reset"][0]:
            self.engine.reset(mask=np.ones(1, bool))
        self._observed.add_seen()
        if self.step_number % EVERY == 0 or self.done:
            self._compare()

    def skip(self) -> None:
        """Play the steps before the wanted episode."""
        while self.step_number < self.replay.start:
            self.step()
        self.settle()

    def verify(self) -> str | None:
        """Play all steps that are left; return what differs, None if all is as recorded."""
        while not self.done:
            self.step()
        self.settle()
        if self.differs is not None:
            begin, end = self.differs
            return f"something else was observed in steps {begin} to {end} of {self.replay.steps}"
        if not same_log(self.log, self.replay.log):
            return f"the episode's log is {self.log}, recorded was {self.replay.log}"
        return None

    def close(self) -> None:
        """Free the env."""
        self.engine.close()

    def _compare(self) -> None:
        """Compare with the hash of this checkpoint; hashes that were not recorded are not."""
        self.hashes.append(self._observed.digest())
        at = len(self.hashes) - 1
        recorded = self.replay.hashes
        if self.differs is None and at < len(recorded) and self.hashes[at] != int(recorded[at]):
            marks = [0, *self.replay.checkpoints()]
            self.differs = marks[at] + 1, marks[at + 1]


def same_log(one: dict[str, float] | None, other: dict[str, float] | None) -> bool:
    """Return whether two logs have the same values; NaN equals NaN."""
    if one is None or other is None:
        return one is other
    return one.keys() == other.keys() and all(
        value == other[name] or (math.isnan(value) and math.isnan(other[name]))
        for name, value in one.items()
    )


def command(file: Path, game: Game) -> str:
    """Return the command that plays this file; of a game from outside it names the header."""
    words = ["puffer", "replay", str(file)]
    header = game.header
    if header is not None and header not in targets.headers().values():
        here = Path.cwd()
        near = header.relative_to(here) if header.is_relative_to(here) else header
        words += ["--game", str(near)]
    return shlex.join(words)


def _spec(replay: Replay, game: GameLike | GameSpec | None, debug: bool) -> GameSpec:
    """Bind the game of a replay to its config. Raise ReplayError if one of them is unknown."""
    if game is None and replay.game not in games.names():
        raise ReplayError(
            f"the replay is of {replay.game}, which is none of the games here "
            f"({', '.join(games.names())}): name it yourself, as --game path/to/{replay.game}.h"
        )
    if isinstance(game, GameSpec):
        spec = GameSpec.of(game, debug=debug)
    else:
        found = loaded(replay.game if game is None else game, debug)
        if found.name != replay.game:
            raise ReplayError(f"the replay is of {replay.game}, not of {found.name}")
        try:
            spec = GameSpec.of(found, replay.config, debug=debug)
        except (TypeError, ValueError) as error:
            raise ReplayError(f"its config does not fit: {error}") from None
    if spec.config != replay.config:
        raise ReplayError(f"the replay has the config {replay.config}, not {spec.config}")
    return spec


def _check_fit(replay: Replay, spec: GameSpec, any_version: bool) -> None:
    """Raise ReplayError for another version of the game, or for actions of another shape."""
    if spec.game.source != replay.source and not any_version:
        raise ReplayError(
            f"the replay was recorded with another version of {spec.name}: its header's hash is "
            f"{replay.source}, here it is {spec.game.source}. To play it anyway, and to see "
            "whether the same is observed, add --any-version"
        )
    shape: Any = (spec.env_agents, tuple(head.n for head in spec.heads), len(spec.axes))
    if shape != (found := (replay.num_agents, replay.num_choices, replay.axes.shape[2])):
        raise ReplayError(
            f"the replay has {found[0]} agents with {list(found[1])} choices and {found[2]} axes; "
            f"{spec.name} with its config has {shape[0]} with {list(shape[1])} and {shape[2]}"
        )


def completed(
    replay: Replay, spec: GameSpec, rewards: npt.NDArray[np.float32], ends: npt.NDArray[np.uint8]
) -> Replay:
    """Return a replay with its hashes, from a run of a fresh env.

    rewards, ends: (T, N) as recorded, see `ends_of`. Raise ReplayError if the run has others, or
    another log.
    """
    player = ReplayPlayer(replay, spec)
    arrays = player.engine.arrays
    why = None
    try:
        while not player.done and why is None:
            player.step()
            t = player.step_number - 1
            found = ends_of(arrays["termination"], arrays["truncation"])
            same = arrays["reward"].tobytes() == rewards[t].tobytes() and (found == ends[t]).all()
            why = None if same else f"the rewards or ends of step {t + 1} differ"
        why = why or player.verify()
    finally:
        player.close()
    if why is not None:
        raise ReplayError(
            f"{spec.name}: an episode of env {replay.env} is not repeated by its seed and its "
            f"actions ({why}), so it has no replay. A game must depend on nothing else: "
            "--vec.debug true finds some causes"
        )
    return dataclasses.replace(replay, hashes=np.array(player.hashes, np.uint64))


def ends_of(
    terminated: npt.NDArray[np.bool_], truncated: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return 1 where terminated, plus 2 where truncated."""
    return terminated.astype(np.uint8) + 2 * truncated.astype(np.uint8)
