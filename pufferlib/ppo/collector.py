"""Collection: agents act on the observations in the pool, envs step, transitions fill the rows.

The engine owns the pool; arrays here are views of it. A step reads the observations of the live
agents (observations.py) and their recurrent states (recurrent_state.py), acts by the backend, steps
the envs, and evaluates final observations when many are waiting (bootstrap.py).
"""

import functools
import itertools
from collections.abc import Callable
from typing import TypeVar

import torch

from pufferenv.row_env import RowEnv
from pufferlib.ops.sample import UNUSED
from pufferlib.ppo.backend import PolicyBackend
from pufferlib.ppo.bootstrap import Bootstrap
from pufferlib.ppo.observations import Observations
from pufferlib.ppo.recurrent_state import RecurrentState
from pufferlib.runtime.chunks import Agents, chunks, num_agents
from pufferlib.runtime.timer import Timer

Stepped = TypeVar("Stepped")
ENV_CHUNK = 2048  # agents that step between two calls of Bootstrap.limit_finals


class Collector:
    """Steps the envs of a RowEnv with a policy's backend.

    The envs are divided into `num_groups` groups, as equal as possible, that act and step in turn.
    Results depend on their number, never on timing. A group steps ENV_CHUNK agents at a time; if
    agents die, the chunk size also affects which rows lives are written to. Groups of external envs
    step while other groups act. With `asynchronous`, the group that finishes first acts next, and
    results depend on timing.

    Raises ValueError for more groups than envs, and for `asynchronous` without groups that step
    while others act.
    """

    def __init__(
        self,
        env: RowEnv,
        backend: PolicyBackend,
        bootstrap: Bootstrap,
        observations: Observations,
        states: RecurrentState | None,
        timer: Timer,
        num_groups: int = 1,
        asynchronous: bool = False,
    ) -> None:
        self.env, self.backend, self.states, self.timer = env, backend, states, timer
        self.bootstrap, self.observations = bootstrap, observations
        if num_groups > env.num_envs:
            raise ValueError(
                f"vec.num_groups={num_groups} is more than vec.num_envs={env.num_envs}: "
                "a group has at least one env"
            )
        if asynchronous and (num_groups == 1 or not env.is_async):
            raise ValueError(
                f"vec.asynchronous=true with vec.num_groups={num_groups} of {env.game.name}: it "
                "needs several groups of a wrapped env, which can overtake each other"
            )
        self.asynchronous = asynchronous
        bounds = [env.num_envs * g // num_groups for g in range(num_groups + 1)]
        self.groups = [slice(*ends) for ends in itertools.pairwise(bounds)]  # ranges of envs
        self._under_way: list[tuple[int, int]] = []  # groups that are stepping, in order of sending
        self.agent_steps = 0  # transitions that agents lived through
        self.steps = 0.0  # mean number of steps of an env

    def reset(self, seed: int) -> None:
        """Reset all envs with a new seed, and empty the pool."""
        self.env.reset(seed)
        versions = self.env.arrays["pool_version"]
        versions[versions[:, 0] != UNUSED] = UNUSED  # touches only rows that were ever used
        self._under_way = []

    @torch.no_grad()
    def step(self, version: int) -> slice:
        """Act for every live agent and step the envs; return the agents whose envs stepped.

        These are all agents, or one group's if there are several groups of external envs.
        The `version` of the current weights is stored with the actions.
        """
        if self.env.is_async and len(self.groups) > 1:
            self.bootstrap.limit_finals()
            stepped = self._step_async(version)
        else:
            size = self.env.num_envs if self.env.is_async else -(-ENV_CHUNK // self.env.env_agents)
            for group in self.groups:
                self._act(group, version)
                for chunk in chunks(group.stop - group.start, size):
                    self.bootstrap.limit_finals()
                    envs = group.start + chunk.start, group.start + chunk.stop
                    self._step(functools.partial(self.env.step, *envs))
            stepped = slice(0, self.env.num_envs)
        self.steps += (stepped.stop - stepped.start) / self.env.num_envs
        agents = self.env.env_agents
        return slice(stepped.start * agents, stepped.stop * agents)

    def finish(self) -> None:
        """Fill in every missing next_value of the full rows."""
        self.bootstrap.finish()

    def _step_async(self, version: int) -> slice:
        """Act for every group that is not stepping, then receive one group; return its envs."""
        for group in self.groups:
            if (group.start, group.stop) not in self._under_way:
                self._act(group, version)
                self.timer.enter("env")
                self.env.send(group.start, group.stop)
                self._under_way.append((group.start, group.stop))
        wanted = self._under_way if self.asynchronous else self._under_way[:1]
        stepped = self._step(lambda: self.env.receive(wanted))
        self._under_way.remove(stepped)
        return slice(*stepped)

    def _act(self, group: slice, version: int) -> None:
        """Act once for every live agent of these envs."""
        self.timer.enter("copy")
        # While all agents live, their slots are equally spaced in the pool, and a view suffices.
        first = self.env.engine.uniform_first_slot(group.start, group.stop)
        if first >= 0:
            per_env = self.env.env_agents
            everyone = slice(group.start * per_env, group.stop * per_env)
            agents: Agents = everyone
            obs = self.observations.strided(first, everyone)
        else:
            agents = live = self.env.engine.live_agents(group.start, group.stop)
            if not len(live):
                return
            obs = self.observations.gather(live)
        state = None if self.states is None else self.states.begin(agents)
        self.backend.act(obs, agents, state, version)
        if self.states is not None and state is not None:
            self.states.store(agents, state)
        self.agent_steps += num_agents(agents)

    def _step(self, step: Callable[[], Stepped]) -> Stepped:
        """Call `step`; save the states of truncated lives, to evaluate their final observations."""
        self.timer.enter("env")
        finals = self.env.engine.num_final
        stepped = step()
        self.timer.enter("other")
        if self.states is not None:
            self.states.keep_finals(finals, self.env.engine.num_final)
        return stepped
