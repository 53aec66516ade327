"""Actor: chooses the actions of all agents of a vector env, by a policy or at random.

Everything that plays with a policy outside of training uses it: evaluation, watching, recording,
playing. It owns its random stream and the recurrent states of the agents.
Letters: A agents of all envs, K action heads, C choices of all heads, X continuous axes.
"""

from types import TracebackType
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from pufferenv.vector_env import PufferVectorEnv
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy


class Actor:
    """Acts for all agents of `env`; a context manager that leaves the policy in its own mode.

    policy: None for actions that are uniform among the legal ones.
    greedy: take the most likely choices and the means of the axes; otherwise actions are sampled
        with `seed`. No global random stream is used.
    """

    def __init__(
        self, policy: Policy | None, env: PufferVectorEnv, *, seed: int = 0, greedy: bool = False
    ) -> None:
        if policy is None and greedy:
            raise ValueError("greedy takes the most likely actions, but all random ones are alike")
        self._policy, self._env = policy, env
        self._device = torch.device("cpu")
        self._state: torch.Tensor | None = None
        self._was_training = False
        if policy is not None:
            self._device = next(policy.parameters()).device
            self._was_training = policy.training
            policy.eval()  # layers such as dropout behave differently in training
            self._state = policy.initial_state(env.num_envs)
        self._random = None if greedy else torch.Generator(self._device).manual_seed(seed)

    @torch.no_grad()
    def act(self, obs: npt.NDArray[Any]) -> Any:
        """Map obs (A, *O) to actions: int32 (A, K), float32 (A, X), or a dict of both."""
        if self._policy is None:
            return self._random_actions()
        output, self._state = self._policy(torch.from_numpy(obs).to(self._device), self._state)
        return self._actions(output)

    def ended(self, agents: npt.NDArray[np.bool_]) -> None:
        """Set the recurrent states of `agents` (A,) to the initial state, in which a life begins.

        After each step pass the agents whose life ended in it and those that were dead before it.
        """
        if self._policy is not None and self._state is not None and agents.any():
            index = torch.from_numpy(np.flatnonzero(agents)).to(self._device)
            self._state[index] = cast(torch.Tensor, self._policy.initial_state(len(index)))

    def close(self) -> None:
        """Return the policy to the mode, training or not, in which it was given."""
        if self._policy is not None:
            self._policy.train(self._was_training)

    def __enter__(self) -> "Actor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _actions(self, output: Output) -> Any:
        chosen: dict[str, npt.NDArray[Any]] = {}
        if output.logits is not None:
            chosen["discrete"] = self._choices(output.logits)
        if output.mean is not None:
            axes = output.mean
            if self._random is not None and output.log_std is not None:
                noise = torch.randn(axes.shape, generator=self._random, device=axes.device)
                axes = axes + output.log_std.exp() * noise
            chosen["continuous"] = axes.cpu().numpy()  # the env clips them
        return chosen if len(chosen) > 1 else next(iter(chosen.values()))

    def _choices(self, logits: torch.Tensor) -> npt.NDArray[np.int32]:
        """Sample choices, int32 (A, K), from logits (A, C); a greedy actor takes the largest.

        argmax(logits - log(e)) with e from the exponential distribution is a sample of the softmax.
        """
        env = self._env
        if env.action_masks is not None:
            legal = torch.from_numpy(env.action_masks).to(logits.device)
            logits = logits.masked_fill(~legal, -torch.inf)
        if self._random is not None:
            noise = torch.empty_like(logits).exponential_(generator=self._random)
            logits = logits - noise.log_()
        heads = torch.split(logits, [head.n for head in env.heads], dim=1)
        picks = torch.stack([head.argmax(1) for head in heads], 1).to(torch.int32)
        return picks.cpu().numpy()

    def _random_actions(self) -> Any:
        """Draw every legal choice with the same probability, and axes within their bounds.

        An axis that is bounded on one side is exponential from there, without bounds it is normal.
        """
        env, n = self._env, self._env.num_envs
        chosen: dict[str, npt.NDArray[Any]] = {}
        if env.heads:
            chosen["discrete"] = self._choices(torch.zeros(n, sum(head.n for head in env.heads)))
        if env.axes:
            columns = [self._random_axis(axis.low, axis.high, n) for axis in env.axes]
            chosen["continuous"] = torch.stack(columns, 1).numpy()
        return chosen if len(chosen) > 1 else next(iter(chosen.values()))

    def _random_axis(self, low: float, high: float, n: int) -> torch.Tensor:
        values = torch.empty(n)
        if np.isfinite(low) and np.isfinite(high):
            part = values.uniform_(generator=self._random)
            return low * (1 - part) + high * part
        if np.isfinite(low):
            return low + values.exponential_(generator=self._random)
        if np.isfinite(high):
            return high - values.exponential_(generator=self._random)
        return values.normal_(generator=self._random)
