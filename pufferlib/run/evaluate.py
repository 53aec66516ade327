"""How well a policy plays: whole episodes on fixed seeds, every env the same number of them.

How many episodes an env plays is fixed before the first step, so long episodes count as much as
short ones. Nothing here touches a global random stream or the envs that a trainer steps.
Letters: E envs, A agents of all envs, L log fields, C choices, X axes, *O one observation.
"""

import dataclasses
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch

from pufferenv.vector_env import PufferVectorEnv, make
from pufferlib.config.options import PolicyOptions
from pufferlib.config.resolve import Config
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy, PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.ppo.trainer import pick_device
from pufferlib.run.checkpoint import (
    CheckpointError,
    check_compatible,
    compatibility_note,
    load_policy,
    read_note,
)

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

MAX_ENVS = 128  # envs that play at once, if the caller does not say
MAX_STEPS = 100_000  # of one env: ends the evaluation of a game whose episodes do not


class Stats(NamedTuple):
    """One log field over the episodes; `std` is of the population."""

    mean: float
    std: float
    min: float
    max: float


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the episodes amounted to."""

    episodes: int  # that count
    unfinished: int  # of those asked for, still running after `max_steps` steps
    agent_steps: int
    seconds: float
    fields: dict[str, Stats]  # by log field, then numbers of external envs' infos

    def asdict(self) -> dict[str, Any]:
        """As JSON holds it."""
        fields = {name: stats._asdict() for name, stats in self.fields.items()}
        return {**dataclasses.asdict(self), "fields": fields}


def main_field(spec: "GameSpec") -> str | None:
    """Return the log field that tells good play from bad: `score`, else the first; None: no log."""
    names = [name for name, _ in spec.log_fields]
    return "score" if "score" in names else (names[0] if names else None)


def load_policy_for(path: Path, spec: "GameSpec", config: Config) -> Policy:
    """Make the network that a policy file says it is, and fill it, checked against the game.

    A user's own network is code: it is run only where `config` names it, and from there, for its
    file may have moved. Raise CheckpointError.
    """
    note = read_note(path, "policy")
    check_compatible(path, note, compatibility_note(spec))
    try:
        options = PolicyOptions.make(note["policy"])
        norm_obs = bool(note["norm_obs"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not say which network it is for: {error}") from None
    if options.path:
        if not config.policy.path:
            raise CheckpointError(
                f"{path} is for the network {options.path}; to run that code, from where it is "
                f"now: --policy.path {shlex.quote(options.path)}"
            )
        options = dataclasses.replace(options, path=config.policy.path)
    policy = make_policy(options, PolicySpec.of(spec), norm_obs=norm_obs)
    load_policy(policy, path, compatibility_note(spec))
    return policy.to(pick_device(config.train.device))


@torch.no_grad()
def evaluate(
    policy: Policy,
    spec: "GameSpec",
    *,
    episodes: int = 100,
    num_envs: int | None = None,
    num_threads: int = 1,
    seed: int = 0,
    greedy: bool = False,
    max_steps: int = MAX_STEPS,
) -> Evaluation:
    """Play `episodes` whole episodes and return mean and spread of each log field.

    Env i plays the first `episodes // num_envs` of its episodes, one more where i < the rest.
    greedy: the likeliest choice, the mean of an axis; otherwise as trained, sampled by `seed`.
    Raise ValueError for a game that logs nothing.
    """
    if not spec.log_fields:
        raise ValueError(f"{spec.name} logs nothing (its PUF_LOG is empty): nothing to evaluate")
    start = time.perf_counter()
    block = getattr(spec.game, "envs_per_make", 1)  # all envs of a wrapped vector env
    num_envs = -(-min(episodes, num_envs or MAX_ENVS) // block) * block
    quota = np.full(num_envs, episodes // num_envs)
    quota[: episodes % num_envs] += 1
    wanted = quota.copy()
    device = next(policy.parameters()).device
    env = make(spec, num_envs, num_threads=num_threads, seed=seed)
    random = torch.Generator(device).manual_seed(seed)
    found: list[npt.NDArray[np.float64]] = []  # (ended episodes, L) per step
    steps = 0
    was_training = policy.training
    policy.eval()
    try:
        obs, _ = env.reset(seed=seed)
        state = policy.initial_state(env.num_envs)
        while quota.any() and steps < max_steps:
            output, state = policy(torch.from_numpy(obs).to(device), state)
            dead = ~env.alive
            if env.counted is not None:
                env.counted[:] = quota > 0
            obs, _, terminated, truncated, infos = env.step(
                _actions(env, output, None if greedy else random)
            )
            steps += 1
            if state is not None:
                _begin_lives(policy, state, terminated | truncated | dead)
            if "final_info" in infos:
                found.append(_ended(env, infos, quota))
        told = env.log()
    finally:
        policy.train(was_training)
        env.close()
    logs = np.concatenate([np.empty((0, len(spec.log_fields))), *found])
    fields = {name: _stats(logs[:, i]) for i, (name, _) in enumerate(spec.log_fields) if len(logs)}
    fields |= {n: Stats(*s) for n, s in told.items() if n not in fields and n != "episodes"}
    return Evaluation(
        episodes=int((wanted - quota).sum()),
        unfinished=int(quota.sum()),
        agent_steps=steps * env.num_envs,
        seconds=time.perf_counter() - start,
        fields=fields,
    )


def _actions(env: PufferVectorEnv, output: Output, random: torch.Generator | None) -> Any:
    """Choose for every agent: int32 (A, K), float32 (A, X), or a dict of both."""
    chosen: dict[str, npt.NDArray[Any]] = {}
    if output.logits is not None:
        chosen["discrete"] = _choices(env, output.logits, random)
    if output.mean is not None:
        axes = output.mean
        if random is not None and output.log_std is not None:
            noise = torch.randn(axes.shape, generator=random, device=axes.device)
            axes = axes + output.log_std.exp() * noise
        chosen["continuous"] = axes.cpu().numpy()  # the env clips
    return chosen if len(chosen) > 1 else next(iter(chosen.values()))


def _choices(
    env: PufferVectorEnv, logits: torch.Tensor, random: torch.Generator | None
) -> npt.NDArray[np.int32]:
    """Logits (A, C) -> choices (A, K), by Gumbel's trick: argmax(logits - log(exponential))."""
    if env.action_masks is not None:
        legal = torch.from_numpy(env.action_masks).to(logits.device)
        logits = logits.masked_fill(~legal, -torch.inf)
    if random is not None:
        noise = torch.empty_like(logits).exponential_(generator=random)
        logits = logits - noise.log_()
    heads = torch.split(logits, [head.n for head in env.heads], dim=1)
    picks = torch.stack([head.argmax(1) for head in heads], 1).to(torch.int32)
    return picks.cpu().numpy()


def _begin_lives(policy: Policy, state: torch.Tensor, which: npt.NDArray[np.bool_]) -> None:
    """Give these agents (A,) the initial state: a life of theirs ended, or they had none."""
    if which.any():
        index = torch.from_numpy(np.flatnonzero(which)).to(state.device)
        state[index] = cast(torch.Tensor, policy.initial_state(len(index)))


def _ended(
    env: PufferVectorEnv, infos: dict[str, Any], quota: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the logs (n, L) of episodes that ended and count, and take them off `quota` (E,)."""
    each = slice(None, None, env.env_agents)  # all agents of an env have the same log
    counts = infos["_final_info"][each] & (quota > 0)
    quota -= counts
    info = infos["final_info"]
    return np.stack([info[name][each][counts] for name, _ in env.game_spec.log_fields], 1)


def _stats(values: npt.NDArray[np.float64]) -> Stats:
    numbers = (values.mean(), values.std(), values.min(), values.max())
    return Stats(*(float(number) for number in numbers))
