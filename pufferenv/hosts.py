"""Who plays an outside game's envs: reads actions, has the envs act, fills the mailbox.

A host is one of three, by the kind of env that `make()` returns: Singles (_outside.pyx) for
Gymnasium envs, Parallels for PettingZoo's, Batches for whole vector envs. Each plays envs
[first, first + count) of the engine's, in this process: backends.py decides in which.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium

from pufferenv._outside import Mail, Singles
from pufferenv.packing import ActionPacking, Packing

MAX_HEADS, MAX_AXES = 16, 64  # of an action; PUF_MAX_HEADS, PUF_MAX_AXES in spec.h


class Outline(NamedTuple):
    """What there is to know about an env before it is played."""

    kind: str
    name: str
    observations: Packing
    actions: ActionPacking
    num_agents: int  # of one env
    block: int  # envs that `make()` makes at once


def outline(env: Any, name: str | None = None) -> Outline:
    """Look at one env. Raise TypeError for what is none, or has spaces that cannot be handled."""
    if isinstance(env, gymnasium.Env):
        called = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
        return _checked(
            "single", name or called, env.observation_space, env.action_space, num_agents=1, block=1
        )
    raise TypeError(
        f"{type(env).__name__} is neither a Gymnasium env (gymnasium.Env), a Gymnasium vector env, "
        "nor a PettingZoo ParallelEnv"
    )


def _checked(
    kind: str, name: str, observation: Any, action: Any, *, num_agents: int, block: int
) -> Outline:
    try:
        observations, actions = Packing.of(observation), ActionPacking.of(action)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    for what, have, most in (
        ("discrete heads", len(actions.heads), MAX_HEADS),
        ("continuous axes", len(actions.axes), MAX_AXES),
    ):
        if have > most:
            raise ValueError(f"{name}: its action space {action} has {have} {what}, at most {most}")
    return Outline(kind, name, observations, actions, num_agents, block)


def make_host(
    form: Outline, make: Callable[[], Any], mail: Mail, first: int, count: int, mode: int
) -> Any:
    """Make `count` envs and who plays them."""
    envs = [make() for _ in range(0, count, form.block)]
    for i, env in enumerate(envs):
        spaces = env.observation_space, env.action_space
        if spaces != (form.observations.space, form.actions.space):
            raise ValueError(
                f"{form.name}: env {first + i * form.block} has spaces {spaces}, an env made "
                f"before had {(form.observations.space, form.actions.space)}: all must be alike"
            )
    return Singles(mail, envs, first, mode, form.name, form.observations, form.actions)
