"""Evaluation of a policy: whole episodes on fixed seeds, equally many in every env.

The number of episodes per env is fixed before the first step, so long episodes count as much as
short ones. Neither a global random stream nor the envs of a trainer are used.
Letters: E envs, A agents of all envs, K action heads, C choices of all heads, X continuous axes,
L log fields.
"""

import dataclasses
import shlex
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv.game_config import env_seeds
from pufferenv.vector_env import make
from pufferlib.config.options import PolicyOptions
from pufferlib.config.resolve import Config
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run.actor import Actor
from pufferlib.run.checkpoint import (
    CheckpointError,
    check_compatible,
    compatibility_note,
    load_policy,
    read_note,
)
from pufferlib.run.replay_recorder import ReplayRecorder
from pufferlib.runtime.device import pick_device

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

MAX_ENVS = 128  # default of num_envs
MAX_STEPS = 100_000  # steps of an env after which an evaluation ends


class Stats(NamedTuple):
    """Statistics of one log field over the episodes; `std` is that of the population."""

    mean: float
    std: float
    min: float
    max: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of one evaluation."""

    episodes: int  # number of episodes that ended and were counted
    unfinished: int  # requested episodes that had not ended after `max_steps` steps
    agent_steps: int
    seconds: float
    fields: dict[str, Stats]  # the log fields, then the numbers in external envs' infos

    def asdict(self) -> dict[str, Any]:
        """Return the result, ready for JSON."""
        fields = {name: stats._asdict() for name, stats in self.fields.items()}
        return {**dataclasses.asdict(self), "fields": fields}


def main_field(spec: "GameSpec") -> str | None:
    """Return the log field that ranks policies: `score`, else the first, else None."""
    names = [name for name, _ in spec.log_fields]
    return "score" if "score" in names else (names[0] if names else None)


def load_policy_for(path: Path, spec: "GameSpec", config: Config) -> Policy:
    """Load a policy file: create the network that it names and check it against the game.

    The code of a user's own network runs only if `config.policy.path` names it. It is loaded from
    that path, because the file may have moved. Raise CheckpointError if the file does not fit.
    """
    note = read_note(path, "policy")
    check_compatible(path, note, compatibility_note(spec))
    try:
        options = PolicyOptions.make(note["policy"])
        norm_obs = bool(note["norm_obs"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no valid note of its network: {error}") from None
    if options.path:
        if not config.policy.path:
            raise CheckpointError(
                f"{path} is for the network {options.path}, whose code runs only on request: "
                f"--policy.path {shlex.quote(options.path)}"
            )
        options = dataclasses.replace(options, path=config.policy.path)
    policy = make_policy(options, PolicySpec.of(spec), norm_obs=norm_obs)
    load_policy(policy, path, compatibility_note(spec))
    return policy.to(pick_device(config.train.device))


class Step(NamedTuple):
    """What one step of all envs did. Arrays of the env are views that the next step overwrites."""

    actions: Any  # as the actor chose them: int32 (A, K), float32 (A, X), or a dict of both
    rewards: npt.NDArray[np.float32]  # (A,)
    terminated: npt.NDArray[np.bool_]  # (A,)
    truncated: npt.NDArray[np.bool_]  # (A,)
    acted: npt.NDArray[np.bool_]  # (A,) agents that were alive before the step
    ended: npt.NDArray[np.bool_]  # (E,) envs whose episode ended in this step
    counted: npt.NDArray[np.bool_]  # (E,) those whose episode counts
    logs: dict[str, npt.NDArray[np.float64]]  # (E,) by log field; valid where `ended`


class Evaluator:
    """An evaluation that is stepped from outside: each `step` acts once in all envs.

    It is a context manager. `evaluate` runs one to its end and documents the arguments.
    show_endings: do not begin the next episodes within a step, so that the last state of an episode
        can be drawn; the caller calls `begin_next` after each step. This changes no result.
    render_size: width in pixels of what env.renderer draws of an env.
    """

    def __init__(
        self,
        policy: Policy | None,
        spec: "GameSpec",
        *,
        episodes: int = 100,
        num_envs: int | None = None,
        num_threads: int = 1,
        seed: int = 0,
        greedy: bool = False,
        max_steps: int = MAX_STEPS,
        show_endings: bool = False,
        render_size: int | None = None,
    ) -> None:
        if not spec.log_fields:
            raise ValueError(f"{spec.name} logs nothing to evaluate by: its PUF_LOG is empty")
        self.spec, self.seed = spec, seed
        self.recorder: ReplayRecorder | None = None
        self._start = time.perf_counter()
        # Decide before the first step how many episodes of each env count.
        envs_per_make = getattr(spec.game, "envs_per_make", 1)  # more for a wrapped vector env
        num_envs = -(-min(episodes, num_envs or MAX_ENVS) // envs_per_make) * envs_per_make
        self._quota = np.full(num_envs, episodes // num_envs)
        self._quota[: episodes % num_envs] += 1
        self._requested = self._quota.copy()
        self._max_steps, self._steps = max_steps, 0
        self._logged: list[npt.NDArray[np.float64]] = []  # (ended episodes, L) per step
        mode = AutoresetMode.DISABLED if show_endings else AutoresetMode.SAME_STEP
        self.env = make(
            spec,
            num_envs,
            num_threads=num_threads,
            seed=seed,
            autoreset_mode=mode,
            render_size=render_size,
        )
        try:
            self.actor = Actor(policy, self.env, seed=seed, greedy=greedy)
            self.obs, _ = self.env.reset(seed=seed)  # (A, *O) what the next step acts on; a view
        except BaseException:
            self.close()
            raise

    @property
    def num_envs(self) -> int:
        """Return E, the number of envs; env.num_envs counts agents."""
        return len(self._quota)

    @property
    def done(self) -> bool:
        """Return whether all episodes have ended or the last step is reached."""
        return not self._quota.any() or self._steps >= self._max_steps

    def step(self) -> Step:
        """Act once in all envs. Episodes that end after their env's quota do not count."""
        env = self.env
        dead = ~env.alive
        if env.counted is not None:  # the numbers in an external env's infos count alike
            env.counted[:] = self._quota > 0
        actions = self.actor.act(self.obs)
        self.obs, rewards, terminated, truncated, infos = env.step(actions)
        self._steps += 1
        self.actor.ended(terminated | truncated | dead)
        each = slice(None, None, env.env_agents)  # all agents of an env have the same log
        fields = infos.get("final_info", infos)
        ended, logs = np.zeros(self.num_envs, bool), {}
        counts = ended
        if f"_{self.spec.log_fields[0][0]}" in fields:
            ended = fields[f"_{self.spec.log_fields[0][0]}"][each].copy()
            logs = {name: fields[name][each] for name, _ in self.spec.log_fields}
            counts = ended & (self._quota > 0)
            self._quota -= counts
            self._logged.append(np.stack([logs[name][counts] for name in logs], 1))
        step = Step(actions, rewards, terminated, truncated, ~dead, ended, counts, logs)
        if self.recorder is not None:
            self.recorder.step(
                actions, step.acted, (rewards, terminated, truncated), ended, logs, counts
            )
        return step

    def record(self, label: str) -> ReplayRecorder:
        """Record from now on, before the first step, and return what makes the replays.

        label: who acts. Raise ReplayError for an env written in Python.
        """
        if self._steps:
            raise RuntimeError("record() was called after the first step")
        seeds = env_seeds(self.seed, self.num_envs)
        self.recorder = ReplayRecorder(self.spec, seeds, policy=label)
        return self.recorder

    def begin_next(self, ended: npt.NDArray[np.bool_]) -> None:
        """Begin the next episode in the envs `ended` (E,), if `show_endings` left that to do."""
        if ended.any() and self.env.autoreset_mode is AutoresetMode.DISABLED:
            agents = ended.repeat(self.env.env_agents)
            self.obs, _ = self.env.reset(options={"reset_mask": agents})

    def finish(self) -> "Evaluation":
        """Play to the end; return the result."""
        while not self.done:
            self.begin_next(self.step().ended)
        return self.result()

    def result(self) -> "Evaluation":
        """Return the statistics of the episodes that have counted so far."""
        names = [name for name, _ in self.spec.log_fields]
        logs = np.concatenate([np.empty((0, len(names))), *self._logged])
        fields = {name: _stats(logs[:, i]) for i, name in enumerate(names) if len(logs)}
        # Numbers in an external env's infos are not log fields; the env has collected them itself.
        others = self.env.log()
        fields |= {n: Stats(*s) for n, s in others.items() if n not in fields and n != "episodes"}
        return Evaluation(
            episodes=int((self._requested - self._quota).sum()),
            unfinished=int(self._quota.sum()),
            agent_steps=self._steps * self.env.num_envs,
            seconds=time.perf_counter() - self._start,
            fields=fields,
        )

    def close(self) -> None:
        """Close the envs and return the policy to its mode. May be called twice."""
        if hasattr(self, "actor"):
            self.actor.close()
        self.env.close()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def evaluate(
    policy: Policy | None,
    spec: "GameSpec",
    *,
    episodes: int = 100,
    num_envs: int | None = None,
    num_threads: int = 1,
    seed: int = 0,
    greedy: bool = False,
    max_steps: int = MAX_STEPS,
) -> Evaluation:
    """Play `episodes` whole episodes; return statistics of each log field.

    The first `episodes // num_envs` episodes of each env count, and one more in each of the first
    `episodes % num_envs` envs. `greedy` takes the most likely choices and the means of the axes;
    otherwise actions are sampled with `seed`. Without a policy, actions are random among the legal
    ones. Raise ValueError for a game without a log.
    """
    with Evaluator(
        policy,
        spec,
        episodes=episodes,
        num_envs=num_envs,
        num_threads=num_threads,
        seed=seed,
        greedy=greedy,
        max_steps=max_steps,
    ) as run:
        return run.finish()


def _stats(values: npt.NDArray[np.float64]) -> Stats:
    numbers = (values.mean(), values.std(), values.min(), values.max())
    return Stats(*(float(number) for number in numbers))
