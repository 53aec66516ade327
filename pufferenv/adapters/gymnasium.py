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

from pufferenv.drawing import rendering
from pufferenv.drawing.keys import KeyMap
from pufferenv.drawing.rendering import RenderSize
from pufferenv.engine._engine import Game
from pufferenv.vector_env import PufferVectorEnv, make


def make_vec(
    game: str | PathLike[str] | Game,
    num_envs: int = 1,
    *,
    autoreset_mode: str | AutoresetMode = AutoresetMode.NEXT_STEP,
    copy: bool = True,
    **options: Any,
) -> PufferVectorEnv:
    """Return a vector env as `pufferenv.make` does, with the defaults of Gymnasium's vector envs.

    num_envs: copies of the game; the returned env's `num_envs` counts their agents.
    copy: False returns the engine's own arrays, valid until the next `step` or `reset`.
    options: the other arguments of `pufferenv.make`, including `render_mode` and the fields of the
        game's config.
    """
    return make(game, num_envs, autoreset_mode=autoreset_mode, copy=copy, **options)


class PufferEnv(gymnasium.Env[npt.NDArray[Any], Any]):
    """One env of a game with one agent. Returned arrays are copies.

    observation_space: Box (*O). action_space: Discrete for one head, MultiDiscrete (K,) for
    several, Box (X,) for axes, Dict(discrete, continuous) for both. Infos hold `action_mask` (C,)
    bool in games with masks, and each log field as a float when an episode ends.
    """

    metadata = {  # noqa: RUF012 (Gymnasium reads it from the class, to choose its wrappers)
        "render_modes": [*rendering.MODES],
        "autoreset_mode": AutoresetMode.DISABLED,
    }

    def __init__(
        self,
        game: str | PathLike[str] | Game,
        *,
        seed: int | None = None,
        debug: bool = False,
        render_mode: str | None = None,
        render_size: RenderSize = None,
        config: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Make the env; the arguments are those of `pufferenv.make`.

        Raise ValueError for a game of several agents (use PettingZoo's ParallelEnv), and NotDrawn
        for a render_mode of a game that does not draw itself.
        """
        self._envs = make(
            game,
            seed=seed,
            autoreset_mode=AutoresetMode.DISABLED,
            debug=debug,
            render_mode=render_mode,
            render_size=render_size,
            config=config,
            **fields,
        )
        self.render_mode, self.metadata = render_mode, self._envs.metadata
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

    def render(self) -> Any:
        """Draw the env in the state of its current observation, also after an episode's end.

        rgb_array: return a uint8 frame (H, W, 3). ansi: return text for a terminal. human: show the
        env in a window, as `reset` and `step` do by themselves, and return None.
        Raises ResetNeeded before the first `reset`, and ClosedEnvironmentError after `close`.
        """
        drawn = self._envs.render()
        return drawn[0] if self.render_mode == "rgb_array" else drawn

    def get_keys_to_action(self) -> dict[tuple[int, ...], Any]:
        """Return actions by the keys that are held, in the form that `gymnasium.utils.play` takes.

        Raises NotDrawn for a game that does not draw itself, which has no keys either.
        """
        renderer, spec = self._envs.renderer, self._envs.game_spec
        keys = KeyMap(renderer.keys, spec.heads, spec.axes, game=spec.name, widest=spec.game)
        return keys.keys_to_action()

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
