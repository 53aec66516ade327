"""PlaySession: one env of a game that a person plays, or a policy, or both in turn.

The policy always acts, so that its random stream and recurrent states do not depend on who plays:
a run in which no key is pressed is the policy's run. While the person plays, the action of the
selected agent is replaced by that of the keys; all others go on as before.
Letters: A agents, K discrete heads, X continuous axes, C choices of all heads.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from pufferenv.drawing.keys import Choices, Values
from pufferenv.game_config import env_seeds
from pufferenv.vector_env import make
from pufferlib.run.actor import Actor
from pufferlib.run.replay_recorder import ReplayRecorder

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec
    from pufferlib.policies.base import Policy


class PlaySession:
    """Steps one env. An episode that ended stays as it is until `begin_next`.

    policy: None for a person alone, or for random actions if `random` is set. label: its name, for
        a recording. size: the width of a frame in pixels.
    record: a file for a replay of what is played; after a restart the next file has -2 in its name.
    """

    episodes: list[dict[str, float]]  # the logs of episodes that have ended
    agent: int  # the selected one, which the person plays
    steps: int  # of this episode

    def __init__(
        self,
        spec: "GameSpec",
        policy: "Policy | None" = None,
        *,
        random: bool = False,
        label: str = "",
        seed: int = 0,
        greedy: bool = False,
        size: int | None = None,
        record: Path | None = None,
    ) -> None:
        self.spec, self._seed, self._label = spec, seed, label
        self._record, self.recorded = record, list[Path]()
        mode = AutoresetMode.DISABLED
        self.env = make(spec, 1, seed=seed, autoreset_mode=mode, render_size=size)
        self.has_policy = policy is not None or random
        self._actor: Actor | None = None
        self._recorder: ReplayRecorder | None = None
        self._policy, self._greedy, self._person_played = policy, greedy, False
        self.episodes, self.agent = [], 0
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        """Make the env afresh."""
        self.ended = False
        self._obs, _ = self.env.reset(seed=self._seed)
        if self.has_policy:
            self._close_actor()
            self._actor = Actor(self._policy, self.env, seed=self._seed, greedy=self._greedy)
        if self._record is not None:
            seeds = env_seeds(self._seed, 1)
            self._recorder = ReplayRecorder(self.spec, seeds)
            self._person_played = False
        self._begin_episode()

    def _begin_episode(self) -> None:
        self._returns = np.zeros(self.env.num_envs)
        self.steps = 0
        self._select_living()

    @property
    def total(self) -> float:
        """Return the rewards of the selected agent in this episode."""
        return float(self._returns[self.agent])

    def restart(self) -> None:
        """Begin anew, with another seed. What was recorded is kept."""
        self.keep()
        self._seed += 1
        self._begin()

    def begin_next(self) -> None:
        """Begin the next episode, if the last step ended one."""
        if self.ended:
            self.ended = False
            self._obs, _ = self.env.reset(options={"reset_mask": np.ones(self.env.num_envs, bool)})
            self._begin_episode()

    def step(self, person: tuple[Choices, Values] | None) -> None:
        """Play one step; `person` has choices (K,) and values (X,) for the selected agent."""
        env, acted = self.env, self.env.alive.copy()
        choices, axes = self._others()
        if person is not None:
            self._person_played = True
            own, values = person
            choices[self.agent], axes[self.agent] = self._legal(own, self.agent), values
        actions: Any = choices if env.heads else axes
        if env.heads and env.axes:
            actions = {"discrete": choices, "continuous": axes}
        self._obs, rewards, terminated, truncated, infos = env.step(actions)
        self._returns += rewards
        self.steps += 1
        if self._actor is not None:
            self._actor.ended(terminated | truncated | ~acted)
        names = [name for name, _ in self.spec.log_fields]
        self.ended = bool(env.needs_reset[0])
        logs = {name: infos[name][:1] for name in names} if self.ended else {}
        if self._recorder is not None:
            ends = rewards, terminated, truncated
            self._recorder.step(actions, acted, ends, np.array([self.ended]), logs)
        if self.ended:
            self.episodes.append({name: float(value[0]) for name, value in logs.items()})
        else:
            self._select_living()

    def select(self, agent: int) -> None:
        """Select a living agent; the call has no effect for another."""
        if 0 <= agent < self.env.num_envs and self.env.alive[agent]:
            self.agent = agent

    def select_next(self) -> None:
        """Select the next living agent."""
        self._select_living(self.agent + 1)

    def _select_living(self, begin: int | None = None) -> None:
        """Select the first living agent from `begin`, by default the selected one, on."""
        agents = self.env.num_envs
        order = ((self.agent if begin is None else begin) + np.arange(agents)) % agents
        living = order[self.env.alive[order]]
        if len(living):
            self.agent = int(living[0])

    def _others(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return choices (A, K) and values (A, X) of all agents without the person."""
        env, agents = self.env, self.env.num_envs
        choices = np.zeros((agents, len(env.heads)), np.int32)
        axes = np.zeros((agents, len(env.axes)), np.float32)
        if self._actor is None:
            axes[:] = np.clip(axes, self.spec.low, self.spec.high)
            for agent in range(agents):
                choices[agent] = self._legal(choices[agent], agent)
            return choices, axes
        actions = self._actor.act(self._obs)
        both = isinstance(actions, dict)
        if env.heads:
            choices[:] = np.reshape(actions["discrete"] if both else actions, choices.shape)
        if env.axes:
            axes[:] = np.reshape(actions["continuous"] if both else actions, axes.shape)
        return choices, axes

    def _legal(self, choices: Choices, agent: int) -> Choices:
        """Return an agent's choices (K,); one that its mask forbids becomes the first legal one."""
        found: Choices = choices.copy()
        masks = self.env.action_masks
        if masks is None:
            return found
        at = 0
        for k, head in enumerate(self.env.heads):
            mask = masks[agent, at : at + head.n]
            at += head.n
            if not mask[found[k]]:
                found[k] = int(mask.argmax())
        return found

    def keep(self) -> None:
        """Write the replay of what was played since the env was made, if that is asked for."""
        if self._recorder is None or self._record is None or not self._recorder.steps:
            return
        path = self._record
        if self.recorded:
            path = path.with_name(f"{path.stem}-{len(self.recorded) + 1}{path.suffix}")
        players = [self._label] if self.has_policy else []
        players += ["a person"] if self._person_played else []
        replay = self._recorder.replays([self._recorder.whole(0)])[0]
        dataclasses.replace(replay, policy=" and ".join(players)).write(path)
        self.recorded.append(path)
        self._recorder = None

    def close(self) -> None:
        """Free the env. May be called twice."""
        self._close_actor()
        self.env.close()

    def _close_actor(self) -> None:
        if self._actor is not None:
            self._actor.close()
            self._actor = None
