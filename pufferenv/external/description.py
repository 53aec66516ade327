"""What an external env is, found by looking at one, and the runner that plays its kind.

A runner plays envs [first, last) of the engine's: it reads actions, has the envs act, fills the
mailbox. GymnasiumRunner (_external.pyx) plays Gymnasium envs, PettingZooRunner PettingZoo's, VectorEnvRunner whole vector
envs. In which thread or process is the business of backends.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from pufferenv.external._external import GymnasiumRunner, Mailbox
from pufferenv.external.action_masks import Legal, find
from pufferenv.external.runners.pettingzoo import PettingZooRunner
from pufferenv.external.runners.vector_env import VectorEnvRunner, autoreset_of, is_envpool
from pufferenv.spaces import ActionPacking, Packing

MAX_HEADS, MAX_AXES = 16, 64  # of an action; PUF_MAX_HEADS, PUF_MAX_AXES in spec.h


class EnvDescription(NamedTuple):
    """What there is to know about an env before it is played."""

    kind: str  # single, parallel, batch
    name: str
    observations: Packing
    actions: ActionPacking
    num_agents: int  # of one env
    block: int  # envs that `make()` makes at once
    autoreset: AutoresetMode | None  # of a vector env
    legal: Legal | None  # None: it tells no action masks
    limit: int | None  # steps after which it truncates an episode, where it says so


def describe(env: Any, name: str | None = None, agents: int | None = None) -> EnvDescription:
    """Look at one env. `agents`: of a PettingZoo env that does not say how many there can be.

    Raise TypeError for what is none, TypeError or ValueError for what cannot be handled.
    """
    kind = _kind(env)
    name = name or _name(env)
    observation, action = _spaces(kind, env, name)
    try:
        observations, actions = Packing.of(observation), ActionPacking.of(action)
        legal = find(env, kind, observations, actions)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    for what, have, most in (
        ("discrete heads", len(actions.heads), MAX_HEADS),
        ("continuous axes", len(actions.axes), MAX_AXES),
    ):
        if have > most:
            raise ValueError(f"{name}: its action space {action} has {have} {what}, at most {most}")
    if agents is not None and kind != "parallel":
        raise ValueError(f"agents={agents}: {name} is no PettingZoo env, it has one agent")
    return EnvDescription(
        kind,
        name,
        observations,
        actions,
        _places(env, name, agents) if kind == "parallel" else 1,
        _block(env, name) if kind == "batch" else 1,
        autoreset_of(env) if kind == "batch" else None,
        legal,
        _limit(env),
    )


def make_runner(
    description: EnvDescription,
    make: Callable[[], Any],
    mailbox: Mailbox,
    first: int,
    last: int,
    mode: int,
) -> Any:
    """Make envs [first, last) and who plays them."""
    envs = []
    for i in range(first, last, description.block):
        mailbox.arrays["at"][0] = i
        envs.append(make())
    known = description.observations.space, description.actions.space
    for i, env in enumerate(envs):
        spaces = _spaces(description.kind, env, description.name)
        if spaces != known:
            raise ValueError(
                f"{description.name}: env {first + i * description.block} has spaces {spaces}, an env made "
                f"before had {known}: all must be alike"
            )
    what = description.name, description.observations, description.actions, description.legal
    if description.kind == "parallel":
        return PettingZooRunner(mailbox, envs, first, mode, *what, description.num_agents)
    if description.autoreset is not None:
        return VectorEnvRunner(
            mailbox, envs, first, *what, description.block, description.autoreset
        )
    return GymnasiumRunner(mailbox, envs, first, mode, *what)


# --- looking ------------------------------------------------------------------------------


def _kind(env: Any) -> str:
    if isinstance(env, VectorEnv) or is_envpool(env):
        return "batch"
    if isinstance(env, gymnasium.Env):
        return "single"
    if hasattr(env, "agent_iter"):
        raise TypeError(
            f"{type(env).__name__} is an AECEnv, whose agents take turns; make it a ParallelEnv: "
            "pettingzoo.utils.conversions.aec_to_parallel(env)"
        )
    if callable(getattr(env, "observation_space", None)) and hasattr(env, "step"):
        return "parallel"
    raise TypeError(
        f"{type(env).__name__} is neither a Gymnasium env (gymnasium.Env), a Gymnasium vector env, "
        "nor a PettingZoo ParallelEnv"
    )


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    metadata = getattr(env, "metadata", None) or {}
    told = getattr(spec, "id", None) or metadata.get("name")
    return str(told or type(getattr(env, "unwrapped", env)).__name__)


def _spaces(kind: str, env: Any, name: str) -> tuple[Any, Any]:
    """Return the spaces of one agent."""
    if kind == "single" or is_envpool(env):
        return env.observation_space, env.action_space
    if kind == "batch":
        return env.single_observation_space, env.single_action_space
    agents = list(getattr(env, "possible_agents", ()))
    if not agents:
        env.reset(seed=0)
        agents = list(env.agents)
    known = env.observation_space(agents[0]), env.action_space(agents[0])
    for agent in agents[1:]:
        spaces = env.observation_space(agent), env.action_space(agent)
        if spaces != known:
            raise ValueError(
                f"{name}: {agent!r} has spaces {spaces}, {agents[0]!r} has {known}: one policy "
                "needs the same of all agents; pad them, as supersuit's pad_observations_v0 and "
                "pad_action_space_v0 do"
            )
    return known


def _places(env: Any, name: str, agents: int | None) -> int:
    """Return how many agents of a PettingZoo env there can be at once."""
    possible = len(getattr(env, "possible_agents", ()))
    if agents is None and not possible:
        raise ValueError(
            f"{name} has no possible_agents: wrap(agents=...) says how many there are at once"
        )
    if agents is not None and agents < 1:
        raise ValueError(f"agents={agents} must be at least 1")
    return agents or possible


def _limit(env: Any) -> int | None:
    """Return after how many steps an env truncates: Gymnasium's spec or PettingZoo's max_cycles."""
    known = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    known = known or getattr(getattr(env, "unwrapped", env), "max_cycles", None)
    return int(known) if known else None


def _block(env: Any, name: str) -> int:
    if not is_envpool(env):
        return int(env.num_envs)
    count, batch = int(env.config["num_envs"]), int(env.config["batch_size"])
    if batch not in (0, count):
        raise ValueError(
            f"{name}: batch_size={batch} of num_envs={count}: an envpool that answers for a part "
            "of its envs at a time cannot be wrapped; make it without batch_size"
        )
    return count
