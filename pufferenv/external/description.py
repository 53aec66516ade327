"""EnvDescription: spaces, number of agents and kind of an external env, found by inspecting one.

Three kinds of env can be wrapped: Gymnasium envs, PettingZoo's parallel envs, and whole vector
envs (Gymnasium's or envpool's). runners/factory.py makes the runner that steps each kind.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from pufferenv.engine._engine import MAX_AXES, MAX_HEADS
from pufferenv.external.action_masks import MaskReader, find_masks
from pufferenv.spaces import ActionPacking, Packing

Kind = Literal["gymnasium", "pettingzoo", "vector_env"]


class EnvDescription(NamedTuple):
    """The properties of an env that are known before it runs."""

    kind: Kind
    name: str
    observations: Packing
    actions: ActionPacking
    num_agents: int  # of one env
    envs_per_make: int  # envs that one call of `make` returns; above 1 for a vector env
    autoreset: AutoresetMode | None  # of a vector env
    masks: MaskReader | None  # None: the env gives no action masks
    max_episode_steps: int | None  # steps after which it truncates an episode; None: unknown


def describe(env: Any, name: str | None = None, agents: int | None = None) -> EnvDescription:
    """Inspect one env.

    agents: the most agents that a PettingZoo env without `possible_agents` has at a time.
    Raise TypeError for an object that is not an env, TypeError or ValueError for spaces or numbers
    of agents that are not supported.
    """
    kind = _kind(env)
    name = name or _name(env)
    observation, action = spaces_of_agent(kind, env, name)
    try:
        observations, actions = Packing.of(observation), ActionPacking.of(action)
        masks = find_masks(env, kind == "pettingzoo", observations, actions)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    for what, count, most in (
        ("discrete heads", len(actions.heads), MAX_HEADS),
        ("continuous axes", len(actions.axes), MAX_AXES),
    ):
        if count > most:
            raise ValueError(
                f"{name}: its action space {action} has {count} {what}, at most {most} are "
                "supported"
            )
    if agents is not None and kind != "pettingzoo":
        raise ValueError(
            f"agents={agents}: {name} is not a PettingZoo env, so it has one agent; leave `agents` "
            "out"
        )
    return EnvDescription(
        kind,
        name,
        observations,
        actions,
        _num_agents(env, name, agents) if kind == "pettingzoo" else 1,
        _num_envs(env, name) if kind == "vector_env" else 1,
        autoreset_mode(env) if kind == "vector_env" else None,
        masks,
        _max_episode_steps(env),
    )


def spaces_of_agent(kind: Kind, env: Any, name: str) -> tuple[Any, Any]:
    """Return the observation and action space of one agent.

    Raise ValueError if the agents of a PettingZoo env have different spaces.
    """
    if kind == "gymnasium" or is_envpool(env):
        return env.observation_space, env.action_space
    if kind == "vector_env":
        return env.single_observation_space, env.single_action_space
    agents = list(getattr(env, "possible_agents", ()))
    if not agents:
        env.reset(seed=0)
        agents = list(env.agents)
    expected = env.observation_space(agents[0]), env.action_space(agents[0])
    for agent in agents[1:]:
        spaces = env.observation_space(agent), env.action_space(agent)
        if spaces != expected:
            raise ValueError(
                f"{name}: agent {agent!r} has spaces {spaces}, {agents[0]!r} has {expected}: one "
                "policy needs the same spaces for all agents; pad them with supersuit's "
                "pad_observations_v0 and pad_action_space_v0"
            )
    return expected


def is_envpool(env: Any) -> bool:
    """Return whether an env is envpool's: a vector env that does not derive from VectorEnv."""
    return hasattr(env, "async_reset") and hasattr(env, "config")


def autoreset_mode(env: Any) -> AutoresetMode:
    """Return the autoreset mode of a vector env. Raise ValueError if its metadata lacks it."""
    if is_envpool(env):
        return AutoresetMode.NEXT_STEP
    mode = env.metadata.get("autoreset_mode")
    if not isinstance(mode, AutoresetMode):
        raise ValueError(
            f"{type(env).__name__} does not declare when it begins new episodes: its "
            f"metadata['autoreset_mode'] is {mode!r}; it must be a gymnasium.vector.AutoresetMode"
        )
    return mode


# --- one property each ------------------------------------------------------------------------


def _kind(env: Any) -> Kind:
    if isinstance(env, VectorEnv) or is_envpool(env):
        return "vector_env"
    if isinstance(env, gymnasium.Env):
        return "gymnasium"
    if hasattr(env, "agent_iter"):
        raise TypeError(
            f"{type(env).__name__} is a PettingZoo AECEnv, whose agents take turns; convert it to "
            "a ParallelEnv with pettingzoo.utils.conversions.aec_to_parallel(env)"
        )
    if callable(getattr(env, "observation_space", None)) and hasattr(env, "step"):
        return "pettingzoo"
    raise TypeError(
        f"{type(env).__name__} is neither a Gymnasium env (gymnasium.Env), a Gymnasium vector env, "
        "nor a PettingZoo ParallelEnv"
    )


def _name(env: Any) -> str:
    spec = getattr(env, "spec", None)
    metadata = getattr(env, "metadata", None) or {}
    given = getattr(spec, "id", None) or metadata.get("name")
    return str(given or type(getattr(env, "unwrapped", env)).__name__)


def _num_agents(env: Any, name: str, agents: int | None) -> int:
    """Return the maximum number of agents that a PettingZoo env has at a time."""
    possible = len(getattr(env, "possible_agents", ()))
    if agents is None and not possible:
        raise ValueError(
            f"{name} has no possible_agents: give the most agents it has at a time as "
            "wrap(agents=...)"
        )
    if agents is not None and agents < 1:
        raise ValueError(f"agents={agents} must be at least 1")
    return agents or possible


def _max_episode_steps(env: Any) -> int | None:
    """Return the env's step limit: Gymnasium's spec or PettingZoo's max_cycles."""
    known = getattr(getattr(env, "spec", None), "max_episode_steps", None)
    known = known or getattr(getattr(env, "unwrapped", env), "max_cycles", None)
    return int(known) if known else None


def _num_envs(env: Any, name: str) -> int:
    """Return the number of envs of a vector env."""
    if not is_envpool(env):
        return int(env.num_envs)
    count, batch = int(env.config["num_envs"]), int(env.config["batch_size"])
    if batch not in (0, count):
        raise ValueError(
            f"{name}: batch_size={batch} is below num_envs={count}: an envpool that steps only "
            "some of its envs per call cannot be wrapped; make it without batch_size"
        )
    return count
