"""Make the runner of a kind of env: what steps Python envs and writes results into the mailbox.

A runner has a range of the engine's envs. It reads their actions, steps them, and writes rewards,
ends and observations into the mailbox. Backends decide in which thread or process it does so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import ROWS
from pufferenv.external._external import GymnasiumRunner, Mailbox
from pufferenv.external.description import EnvDescription, spaces_of_agent
from pufferenv.external.runners.pettingzoo import PettingZooRunner
from pufferenv.external.runners.vector_env import VectorEnvRunner


class Runner(Protocol):
    """What a backend calls. `begin`, `end`: envs of the runner's range, half-open."""

    def reset(
        self,
        begin: int,
        end: int,
        seeds: npt.NDArray[np.uint64] | None = None,
        mask: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Begin new episodes with `seeds` (E,) in the envs of `mask` (E,)."""

    def step(self, begin: int, end: int) -> None:
        """Step envs [begin, end) with the actions of the engine's arrays."""

    def close(self) -> None:
        """Close the envs."""


def make_runner(
    description: EnvDescription,
    make: Callable[[], Any],
    arrays: dict[str, npt.NDArray[Any]],
    first: int,
    last: int,
    mode: int,
) -> Runner:
    """Make envs [first, last) and the runner that steps them.

    arrays: those of a Mailbox. mode: the engine's. Raise ValueError if the envs' spaces differ.
    """
    current_env = arrays.get("current_env", np.zeros(1, np.int64))
    mailbox = Mailbox({**arrays, "current_env": current_env}, mode == ROWS)
    envs = []
    for i in range(first, last, description.envs_per_make):
        current_env[0] = i
        envs.append(make())
    expected = description.observations.space, description.actions.space
    for i, env in enumerate(envs):
        spaces = spaces_of_agent(description.kind, env, description.name)
        if spaces != expected:
            raise ValueError(
                f"{description.name}: env {first + i * description.envs_per_make} has spaces "
                f"{spaces}, the first env that was made has {expected}: all envs must have the "
                "same spaces"
            )
    what = description.name, description.observations, description.actions, description.masks
    if description.kind == "pettingzoo":
        return PettingZooRunner(mailbox, envs, first, mode, *what, description.num_agents)
    if description.autoreset is not None:
        return VectorEnvRunner(
            mailbox, envs, first, *what, description.envs_per_make, description.autoreset
        )
    return GymnasiumRunner(mailbox, envs, first, mode, *what)
