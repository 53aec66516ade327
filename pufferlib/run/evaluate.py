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
from pufferlib.run.checkpoint import (
    CheckpointError,
    check_compatible,
    compatibility_note,
    load_policy,
    read_note,
)
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
    """Play `episodes` whole episodes; return statistics of each log field.

    The first `episodes // num_envs` episodes of each env count, and one more in each of the first
    `episodes % num_envs` envs. `greedy` takes the most likely choices and the means of the axes;
    otherwise actions are sampled with `seed`. Raise ValueError for a game without a log.
    """
    if not spec.log_fields:
        raise ValueError(f"{spec.name} logs nothing to evaluate by: its PUF_LOG is empty")
    start = time.perf_counter()
    # Decide before the first step how many episodes of each env count.
    envs_per_make = getattr(spec.game, "envs_per_make", 1)  # more for a wrapped vector env
    num_envs = -(-min(episodes, num_envs or MAX_ENVS) // envs_per_make) * envs_per_make
    quota = np.full(num_envs, episodes // num_envs)
    quota[: episodes % num_envs] += 1
    requested = quota.copy()
    device = next(policy.parameters()).device
    env = make(spec, num_envs, num_threads=num_threads, seed=seed)
    random = torch.Generator(device).manual_seed(seed)
    logged: list[npt.NDArray[np.float64]] = []  # (ended episodes, L) per step
    steps = 0
    # eval() matters for layers such as dropout, which behave differently in training.
    was_training = policy.training
    policy.eval()
    try:
        obs, _ = env.reset(seed=seed)
        state = policy.initial_state(env.num_envs)
        while quota.any() and steps < max_steps:
            output, state = policy(torch.from_numpy(obs).to(device), state)
            dead = ~env.alive
            if env.counted is not None:  # the numbers in an external env's infos count alike
                env.counted[:] = quota > 0
            obs, _, terminated, truncated, infos = env.step(
                _actions(env, output, None if greedy else random)
            )
            steps += 1
            if state is not None:
                # An agent's next life starts from the initial state.
                _reset_state(policy, state, terminated | truncated | dead)
            if "final_info" in infos:
                logged.append(_ended(env, infos, quota))
        env_log = env.log()
    finally:
        policy.train(was_training)
        env.close()
    logs = np.concatenate([np.empty((0, len(spec.log_fields))), *logged])
    fields = {name: _stats(logs[:, i]) for i, (name, _) in enumerate(spec.log_fields) if len(logs)}
    # Numbers in an external env's infos are not log fields; the env has collected them itself.
    fields |= {n: Stats(*s) for n, s in env_log.items() if n not in fields and n != "episodes"}
    return Evaluation(
        episodes=int((requested - quota).sum()),
        unfinished=int(quota.sum()),
        agent_steps=steps * env.num_envs,
        seconds=time.perf_counter() - start,
        fields=fields,
    )


def _actions(env: PufferVectorEnv, output: Output, random: torch.Generator | None) -> Any:
    """Return actions of all agents: int32 (A, K), float32 (A, X), or a dict of both."""
    chosen: dict[str, npt.NDArray[Any]] = {}
    if output.logits is not None:
        chosen["discrete"] = _choices(env, output.logits, random)
    if output.mean is not None:
        axes = output.mean
        if random is not None and output.log_std is not None:
            noise = torch.randn(axes.shape, generator=random, device=axes.device)
            axes = axes + output.log_std.exp() * noise
        chosen["continuous"] = axes.cpu().numpy()  # the env clips them
    return chosen if len(chosen) > 1 else next(iter(chosen.values()))


def _choices(
    env: PufferVectorEnv, logits: torch.Tensor, random: torch.Generator | None
) -> npt.NDArray[np.int32]:
    """Sample choices, int32 (A, K), from logits (A, C); without `random`, take the largest logits.

    argmax(logits - log(e)) with e from the exponential distribution is a sample of the softmax.
    """
    if env.action_masks is not None:
        legal = torch.from_numpy(env.action_masks).to(logits.device)
        logits = logits.masked_fill(~legal, -torch.inf)
    if random is not None:
        noise = torch.empty_like(logits).exponential_(generator=random)
        logits = logits - noise.log_()
    heads = torch.split(logits, [head.n for head in env.heads], dim=1)
    picks = torch.stack([head.argmax(1) for head in heads], 1).to(torch.int32)
    return picks.cpu().numpy()


def _reset_state(policy: Policy, state: torch.Tensor, reset: npt.NDArray[np.bool_]) -> None:
    """Set the recurrent state of the agents in `reset` (A,) to the initial state."""
    if reset.any():
        index = torch.from_numpy(np.flatnonzero(reset)).to(state.device)
        state[index] = cast(torch.Tensor, policy.initial_state(len(index)))


def _ended(
    env: PufferVectorEnv, infos: dict[str, Any], quota: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return the logs (n, L) of ended episodes that count, and subtract them from `quota` (E,)."""
    each = slice(None, None, env.env_agents)  # all agents of an env have the same log
    counts = infos["_final_info"][each] & (quota > 0)
    quota -= counts
    info = infos["final_info"]
    return np.stack([info[name][each][counts] for name, _ in env.game_spec.log_fields], 1)


def _stats(values: npt.NDArray[np.float64]) -> Stats:
    numbers = (values.mean(), values.std(), values.min(), values.max())
    return Stats(*(float(number) for number in numbers))
