"""Make the runner for a kind of env."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import ROWS
from pufferenv.external._external import GymnasiumRunner, Mailbox
from pufferenv.external.description import EnvDescription, spaces_of_agent
from pufferenv.external.runners.base import Runner
from pufferenv.external.runners.pettingzoo import PettingZooRunner
from pufferenv.external.runners.vector_env import VectorEnvRunner


def make_runner(
    description: EnvDescription,
    make: Callable[[], Any],
    arrays: dict[str, npt.NDArray[Any]],
    first: int,
    last: int,
    mode: int,
) -> Runner:
    """Make envs [first, last) and the runner that steps them.

    arrays: all arrays of a Mailbox. mode: the engine's. Raise ValueError if the spaces of the envs
    differ.
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
    if description.kind == "pettingzoo":
        return PettingZooRunner(mailbox, envs, first, mode, description)
    if description.kind == "vector_env":
        return VectorEnvRunner(mailbox, envs, first, description)
    return GymnasiumRunner(mailbox, envs, first, mode, description)
