"""The envs that `gymnasium.make` and `gymnasium.make_vec` return for `puffer/breakout-v0`, ...

PufferEnv has one agent; it steps a PufferVectorEnv of one env in DISABLED mode. Its episode ends
with the agent's life or with the game's episode, whichever ends first. Seeds have the same effect
in both: `reset(seed=[7, 8])` of a vector env begins the same two episodes as `reset(seed=7)` and
`reset(seed=8)` of two single envs, and as `reset(seed=7)` of a SyncVectorEnv.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from pufferenv.engine._engine import Game
from pufferenv.game_config import not_drawn
from pufferenv.vector_env import PufferVectorEnv, make


def make_vec(
    game: str | PathLike[str] | Game,
    num_envs: int = 1,
    *,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    copy: bool = True,
    render_mode: str | None = None,
    **options: Any,
) -> PufferVectorEnv:
    """Return a vector env as `pufferenv.make` does, with the defaults of Gymnasium's vector envs.

    num_envs: copies of the game; the returned env's `num_envs` counts their agents.
    copy: False returns the engine's own arrays, valid until the next `step` or `reset`.
    options: the other arguments of `pufferenv.make`, including the fields of the game's config.
    Raise ValueError for a render_mode: games are not drawn.
    """
    not_drawn(render_mode)
    return make(game, num_envs, autoreset_mode=autoreset_mode, copy=copy, **options)


class PufferEnv(gymnasium.Env[npt.NDArray[Any], Any]):
    """One env of a game with one agent. Returned arrays are copies.

    observation_space: Box (*O). action_space: Discrete for one head, MultiDiscrete (K,) for
    several, Box (X,) for axes, Dict(discrete, continuous) for both. Infos hold `action_mask` (C,)
    bool in games with masks, and each log field as a float when an episode ends.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012
    render_mode = None

    def __init__(
        self,
        game: str | PathLike[str] | Game,
        *,
        seed: int | None = None,
        debug: bool = False,
        render_mode: str | None = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Make the env; the arguments are those of `pufferenv.make`.

        Raise ValueError for a game of several agents (use PettingZoo's ParallelEnv), and for a
        render_mode: games are not drawn.
        """
        not_drawn(render_mode)
        self._envs = make(
            game,
            seed=seed,
            autoreset_mode=AutoresetMode.DISABLED,
            debug=debug,
            config=config,
            **fields,
        )
        self.game, self.config = self._envs.game, self._envs.config
        if self._envs.num_envs != 1:
            raise ValueError(
                f"{self.game.name} has {self._envs.num_envs} agents with this config, but a "
                "gymnasium.Env has one: use a PettingZoo ParallelEnv "
                "(pufferenv.pettingzoo.parallel_env) or a vector env (gymnasium.make_vec)"
            )
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self._in_episode = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begin an episode. A seed re-creates the env; options are ignored."""
        super().reset(seed=seed)
        observations, infos = self._envs.reset(seed=seed)
        self._in_episode = bool(self._envs.alive[0])
        if not self._in_episode:
            raise RuntimeError(
                f"{self.game.name} begins an episode without its agent, which a gymnasium.Env "
                "cannot express: use pufferenv.pettingzoo.parallel_env, which waits for the agent"
            )
        return observations[0].copy(), _single(infos)

    def step(self, action: Any) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Step the env and return (observation (*O), reward, terminated, truncated, info).

        Raise ResetNeeded when the episode is over, and whatever PufferVectorEnv.step raises.
        """
        if not self._in_episode:
            raise ResetNeeded("step() was called outside an episode: call reset() first")
        if isinstance(action, Mapping):
            actions: Any = {key: np.asarray(part)[None] for key, part in action.items()}
        else:
            actions = np.asarray(action)[None]
        observations, rewards, terminations, truncations, infos = self._envs.step(actions)
        terminated, truncated = bool(terminations[0]), bool(truncations[0])
        self._in_episode = not (terminated or truncated)
        return observations[0].copy(), float(rewards[0]), terminated, truncated, _single(infos)

    def close(self) -> None:
        """Close the env. A second call does nothing."""
        self._envs.close()


def _single(infos: dict[str, Any]) -> dict[str, Any]:
    """Return the info of a vector env's only env: the entries whose mask is set, not the masks."""
    return {
        key: value[0].copy() if value.ndim > 1 else value[0].item()
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][0]
    }
