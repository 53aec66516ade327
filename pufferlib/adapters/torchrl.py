"""A game as torchrl's EnvBase, batched over envs: `torchrl.make("breakout", num_envs=256)`.

    one agent (E,)                        several agents (E,), "agents" (E, N)
    observation  (E, *O)                  agents/observation  (E, N, *O)
    action       (E,), (E, K), (E, X)     agents/action       (E, N), (E, N, K), (E, N, X)
    action_mask  (E, C)                   agents/action_mask  (E, N, C)    games with masks
    reward       (E, 1)                   agents/reward       (E, N, 1)
                                          agents/mask         (E, N)       agents that act now
    done, terminated, truncated (E, 1)    the same, of the episode, and agents/done, ... (E, N, 1)

E envs of N agents, K heads, X axes, C choices of all heads; with both heads and axes, action is
action/discrete and action/continuous. An env whose episode is over waits until torchrl resets it,
so "next" holds the final observations of the game.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from gymnasium import Space, spaces
from gymnasium.vector import AutoresetMode

import pufferenv
from pufferenv import PufferVectorEnv
from pufferenv.game_spec import GameLike

try:
    from tensordict import TensorDict, TensorDictBase
    from torchrl.data import Binary, Bounded, Categorical, Composite, MultiCategorical, Unbounded
    from torchrl.envs import EnvBase
except ModuleNotFoundError as error:
    raise ImportError(
        f"{error.name} is not installed: run `pip install 'pufferenv[torchrl]'`"
    ) from None

DONES = ("done", "terminated", "truncated")


def make(
    game: GameLike,
    num_envs: int = 1,
    *,
    num_threads: int = 1,
    seed: int | Sequence[int] | None = None,
    device: str | torch.device = "cpu",
    copy: bool = True,
    debug: bool = False,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> PufferTorchEnv:
    """Return `num_envs` copies of a game as an EnvBase.

    device: the device of the tensors; each step's tensors are copied to a device other than "cpu".
    copy: see PufferTorchEnv. The other arguments are those of `pufferenv.make`.
    """
    vector_env = pufferenv.make(
        game,
        num_envs,
        num_threads=num_threads,
        seed=seed,
        autoreset_mode=AutoresetMode.DISABLED,
        debug=debug,
        config=config,
        **fields,
    )
    return PufferTorchEnv(vector_env, device=device, copy=copy)


class PufferTorchEnv(EnvBase):
    """An EnvBase over a vector env in DISABLED mode.

    copy: True returns copies, since rollouts and collectors keep what each step returns. False
    returns views of the engine's memory (observations, rewards, masks); the next `step` or reset
    overwrites them, also in the tensordict passed to it. Use it in a loop that keeps nothing of
    earlier steps, such as an evaluation.

    One agent: its episode ends with its life or with the game's episode, whichever ends first.
    Several: the root's `done` is that of the game's episode and requests a reset; an agent's `done`
    is that of its life. A dead agent is masked out and terminated, its observations are zeros and
    its actions are ignored. The root is truncated if a life was truncated in the last step, else
    terminated.
    """

    def __init__(
        self, env: PufferVectorEnv, *, device: str | torch.device = "cpu", copy: bool = True
    ) -> None:
        if env.autoreset_mode is not AutoresetMode.DISABLED:
            raise ValueError(
                f"autoreset_mode is {env.autoreset_mode.value}, but torchrl resets the envs "
                "itself: make the env with autoreset_mode='disabled'"
            )
        num_envs = env.num_envs // env.env_agents
        super().__init__(device=device, batch_size=[num_envs])
        self.vector_env = env
        self._copy = copy
        self._next_seed: int | None = None
        self._many = env.env_agents > 1
        self._places = (num_envs, env.env_agents) if self._many else (num_envs,)
        self._all_false = torch.zeros(*self._places, 1, dtype=torch.bool)
        self._terminated, self._truncated = self._all_false, self._all_false  # until the next reset
        self._set_specs()

    def _set_specs(self) -> None:
        env, places = self.vector_env, self._places
        space = env.single_observation_space
        dtype = getattr(torch, str(space.dtype))
        observed = {"observation": Unbounded((*places, *(space.shape or ())), self.device, dtype)}
        if env.action_masks is not None:
            observed["action_mask"] = self._flags(*places, env.action_masks.shape[1])
        action = {"action": self._action_spec(env.single_action_space)}
        reward = {"reward": Unbounded((*places, 1), self.device, torch.float32)}
        dones = {name: self._flags(*self.batch_size, 1) for name in DONES}
        if self._many:
            observed["mask"] = self._flags(*places)
            lives = {name: self._flags(*places, 1) for name in DONES}
            dones["agents"] = Composite(lives, shape=places, device=self.device)
        self.observation_spec = self._composite(observed)
        self.full_action_spec = self._composite(action)
        self.full_reward_spec = self._composite(reward)
        self.full_done_spec = Composite(dones, shape=self.batch_size, device=self.device)

    def _flags(self, *shape: int) -> Any:
        return Binary(shape[-1], shape, self.device, torch.bool)

    def _composite(self, specs: dict[str, Any]) -> Any:
        """Return the per-agent specs as one, under "agents" if an env has several agents."""
        agents = Composite(specs, shape=self._places, device=self.device)
        if not self._many:
            return agents
        return Composite({"agents": agents}, shape=self.batch_size, device=self.device)

    def _action_spec(self, space: Space[Any]) -> Any:
        places, device = self._places, self.device
        if isinstance(space, spaces.Dict):
            parts = {key: self._action_spec(part) for key, part in space.items()}
            return Composite(parts, shape=places, device=device)
        if isinstance(space, spaces.Box):
            low, high = (torch.from_numpy(end).to(device) for end in (space.low, space.high))
            shape = (*places, *space.shape)
            return Bounded(low.expand(shape), high.expand(shape), shape, device, torch.float32)
        if isinstance(space, spaces.MultiDiscrete):
            nvec = space.nvec.tolist()
            return MultiCategorical(nvec, (*places, len(nvec)), device, torch.int64)
        assert isinstance(space, spaces.Discrete)
        return Categorical(int(space.n), places, device, torch.int64)

    def _set_seed(self, seed: int | None) -> None:
        """Seed the envs at the next reset of all envs."""
        self._next_seed = seed

    def _reset(self, tensordict: TensorDictBase | None = None, **kwargs: Any) -> TensorDict:
        """Begin a new episode in the envs of the mask `_reset` (E, 1), or in all envs."""
        env = self.vector_env
        mask = None if tensordict is None else tensordict.get("_reset", None)
        if mask is None or mask.all():
            self._observations = env.reset(seed=self._next_seed)[0]
            self._next_seed = None
            self._terminated = self._truncated = self._all_false
        elif mask.any():
            begins = mask.reshape(-1).cpu()
            places = begins.numpy().repeat(env.env_agents)
            self._observations = env.reset(options={"reset_mask": places})[0]
            others = ~begins.reshape(-1, *[1] * len(self._places))
            self._terminated = self._terminated & others
            self._truncated = self._truncated & others
        if not self._many and not (env.alive | self._waiting().numpy()[:, 0]).all():
            raise RuntimeError(
                f"{env.game.name} begins an episode without its only agent, which torchrl cannot "
                "express: choose a config whose episodes begin with the agent"
            )
        return self._result()

    def _step(self, tensordict: TensorDictBase) -> TensorDict:
        """Step all envs; those that wait for their reset keep their dones."""
        env, waiting = self.vector_env, self._waiting()
        self._check_steps(tensordict, waiting)
        dead = ~torch.from_numpy(env.alive.copy())
        action = tensordict.get(("agents", "action") if self._many else "action")
        self._observations, rewards, *ends, _ = env.step(self._actions(action))
        terminated, truncated = (torch.from_numpy(end).view(*self._places, 1) for end in ends)
        if self._many:  # an agent that did not act has no future value
            terminated = terminated | dead.view(*self._places, 1)
        self._terminated = torch.where(waiting, self._terminated, terminated)
        self._truncated = torch.where(waiting, self._truncated, truncated)
        reward = torch.from_numpy(rewards).view(*self._places, 1)
        return self._result({"reward": self._out(reward)})

    def _waiting(self) -> torch.Tensor:
        """Return the envs that wait for a reset: (E, 1), or (E, 1, 1) with several agents."""
        if self._many:
            return torch.tensor(self.vector_env.needs_reset).view(-1, 1, 1)
        return self._terminated | self._truncated

    def _check_steps(self, tensordict: TensorDictBase, waiting: torch.Tensor) -> None:
        """Raise ValueError if `_step` (E, 1) leaves out an env in the middle of an episode."""
        steps = tensordict.get("_step", None)
        if steps is None:
            return
        wrong = ~(steps.cpu().reshape(-1) | waiting.reshape(-1))
        if wrong.any():
            raise ValueError(
                f"_step leaves out env {int(wrong.nonzero()[0])}, which is in the middle of an "
                "episode: all envs step together"
            )

    def _actions(self, given: Any) -> Any:
        """Return actions of all agents: (A,), (A, K) or (A, X), or a dict of both kinds."""
        if isinstance(given, TensorDictBase):
            return {key: self._actions(given.get(key)) for key in ("discrete", "continuous")}
        return given.detach().cpu().flatten(0, len(self._places) - 1).numpy()

    def _result(self, step_results: Mapping[str, torch.Tensor] | None = None) -> TensorDict:
        """Return observations, masks and dones, with the results of a step if there was one."""
        env = self.vector_env
        observation = torch.from_numpy(self._observations).view(
            *self._places, *self._observations.shape[1:]
        )
        result = {"observation": self._out(observation), **(step_results or {})}
        if env.action_masks is not None:
            legal = torch.from_numpy(env.action_masks | ~env.alive[:, None])
            result["action_mask"] = legal.view(*self._places, -1)
        dones = _dones(self._terminated, self._truncated)
        if not self._many:
            return TensorDict({**result, **dones}, self.batch_size, device=self.device)
        result["mask"] = self._out(torch.from_numpy(env.alive).view(self._places))
        over, cut = self._waiting()[:, 0], self._truncated.any(1)
        agents = TensorDict({**result, **dones}, self._places, device=self.device)
        root = {"agents": agents, **_dones(over & ~cut, over & cut)}
        return TensorDict(root, self.batch_size, device=self.device)

    def _out(self, view: torch.Tensor) -> torch.Tensor:
        """Return a copy of a view of the engine's memory if `copy` is on, else the view."""
        return view.clone() if self._copy and self.device.type == "cpu" else view

    def close(self, *, raise_if_closed: bool = True) -> None:
        """Stop the threads. Returned tensors stay valid."""
        super().close(raise_if_closed=raise_if_closed)
        self.vector_env.close()


def _dones(terminated: torch.Tensor, truncated: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "done": terminated | truncated,
        "terminated": terminated.clone(),
        "truncated": truncated.clone(),
    }
