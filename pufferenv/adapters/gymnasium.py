"""What `gymnasium.make` and `gymnasium.make_vec` make of an id like `puffer/breakout-v0`.

PufferEnv is one env of one agent. Its episode ends with the agent's life or with the game's own
episode, whichever is first; it is a PufferVectorEnv of one env that waits for its reset. With one
seed it lives through what every such env lives through: `reset(seed=[7, 8])` of a vector env is
`reset(seed=7)` and `reset(seed=8)` of two single ones, and so is SyncVectorEnv's `reset(seed=7)`.
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
    """Return what `pufferenv.make` does, with the defaults of Gymnasium's own vector envs.

    num_envs: copies of the game; `num_envs` of what is returned counts their agents.
    copy: False returns the engine's own arrays, valid until the next `step` or `reset`.
    options: all that `pufferenv.make` takes, the game's fields among them.
    Raises ValueError for a render_mode: games are not drawn.
    """
    not_drawn(render_mode)
    return make(game, num_envs, autoreset_mode=autoreset_mode, copy=copy, **options)


class PufferEnv(gymnasium.Env[npt.NDArray[Any], Any]):
    """One env of a game with one agent; what it returns is the caller's to keep.

    observation_space: Box (*O). action_space: Discrete for one head, MultiDiscrete (K,) for
    several, Box (X,) for axes, Dict(discrete, continuous) for both. Infos hold `action_mask` (C,)
    bool in games with masks, and each log field as a float where an episode ended.
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
        """Take the same as `pufferenv.make`.

        Raises ValueError for a game of several agents, which PettingZoo's ParallelEnv is for, and
        for a render_mode: games are not drawn.
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
                f"{self.game.name} has {self._envs.num_envs} agents with this config, a "
                f"gymnasium.Env has one: PettingZoo's ParallelEnv has many "
                f"(pufferenv.pettingzoo.parallel_env), and so has a vector env (gymnasium.make_vec)"
            )
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space
        self._acts = False  # an episode is on

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begin an episode; with a seed in an env made afresh. No options are known; any pass."""
        super().reset(seed=seed)
        observations, infos = self._envs.reset(seed=seed)
        self._acts = bool(self._envs.alive[0])
        if not self._acts:
            raise RuntimeError(
                f"{self.game.name} begins an episode without its agent, which a gymnasium.Env "
                f"cannot; pufferenv.pettingzoo.parallel_env waits for it"
            )
        return observations[0].copy(), _single(infos)

    def step(self, action: Any) -> tuple[npt.NDArray[Any], float, bool, bool, dict[str, Any]]:
        """Act and return (observation (*O), reward, terminated, truncated, info).

        Raises ResetNeeded once the episode is over, and what PufferVectorEnv.step raises.
        """
        if not self._acts:
            raise ResetNeeded("step() was called without an episode: call reset() first")
        if isinstance(action, Mapping):
            actions: Any = {key: np.asarray(part)[None] for key, part in action.items()}
        else:
            actions = np.asarray(action)[None]
        observations, rewards, terminations, truncations, infos = self._envs.step(actions)
        terminated, truncated = bool(terminations[0]), bool(truncations[0])
        self._acts = not (terminated or truncated)
        return observations[0].copy(), float(rewards[0]), terminated, truncated, _single(infos)

    def close(self) -> None:
        """Give the env back; twice is fine."""
        self._envs.close()


def _single(infos: dict[str, Any]) -> dict[str, Any]:
    """Return one env's info of a vector env's infos: what its masks leave in, without them."""
    return {
        key: value[0].copy() if value.ndim > 1 else value[0].item()
        for key, value in infos.items()
        if not key.startswith("_") and infos[f"_{key}"][0]
    }
