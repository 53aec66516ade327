"""make: a game's envs as one `gymnasium.vector.VectorEnv`, stepped in C threads.

Every index of the batch is one agent: `num_envs` counts agents, as Gymnasium's wrappers expect, and
agent n of env e has index `e * env_agents + n`. Letters in shapes: A agents of all envs, K discrete
heads, X continuous axes, L log fields, C the sum of all heads' choices, *O one observation.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import logger
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from pufferenv import games
from pufferenv.drawing import rendering
from pufferenv.drawing.renderer import Renderer
from pufferenv.drawing.rendering import (
    DrawnByItself,
    FrameSource,
    RenderEnvs,
    Rendering,
    RenderSize,
)
from pufferenv.engine._engine import DISABLED, NEXT_STEP, SAME_STEP, Axis, Game, Head
from pufferenv.engine.arrays import GivenBuffers
from pufferenv.game_config import count, env_seeds, merged
from pufferenv.game_spec import GameLike, GameSpec

MODES = {
    AutoresetMode.SAME_STEP: SAME_STEP,
    AutoresetMode.NEXT_STEP: NEXT_STEP,
    AutoresetMode.DISABLED: DISABLED,
}

Arrays = tuple[
    npt.NDArray[Any],
    npt.NDArray[np.float32],
    npt.NDArray[np.bool_],
    npt.NDArray[np.bool_],
    dict[str, Any],
]


def make(
    game: GameLike | GameSpec,
    num_envs: int = 1,
    *,
    num_threads: int = 1,
    seed: int | Sequence[int] | None = None,
    autoreset_mode: str | AutoresetMode = AutoresetMode.SAME_STEP,
    copy: bool = False,
    debug: bool = False,
    buffers: Mapping[str, Any] | None = None,
    render_mode: str | None = None,
    render_envs: RenderEnvs = None,
    render_size: RenderSize = None,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> PufferVectorEnv:
    """Return `num_envs` copies of a game as one vector env.

    game: a name (`"squared"`); a header's path, which is built if it changed; a loaded Game; or a
        GameSpec, which has its config already.
    num_threads: C threads that step the envs; results are identical, byte for byte, for any number.
    seed: one int, or one per env; None takes a random seed from the OS.
    autoreset_mode: `"same_step"`, `"next_step"`, `"disabled"`, or Gymnasium's AutoresetMode.
    copy: return copies. If False, `step` and `reset` return arrays that the next `step` or `reset`
        overwrites. They stay valid memory after `close`.
    debug: load the game's debug object, which raises RuntimeError with game, env, agent and step
        if the game breaks a rule (NaN, a write outside its observation, a dead agent that acts).
    buffers: memory to write into, by name (observations, rewards, terminations, truncations):
        arrays of the shape and dtype that `step` returns, or buffers of exactly that many bytes.
    render_mode: `"rgb_array"`, `"human"` (a window, at the game's pace) or `"ansi"` (text for a
        terminal); see `PufferVectorEnv.render`. Drawing changes nothing in the envs.
    render_envs: the envs to draw: their number, from the first on, or their indices.
    render_size: the width of a frame in pixels, 600 by default, or (width, height).
    fields: the game's config; `puffer games GAME` lists it.
    config: the same fields as a mapping, for those that have the name of an argument here, such as
        `seed`.

    Raises TypeError or ValueError with the given and the legal values, and NotDrawn for a
    render_mode of a game that does not draw itself.
    """
    return PufferVectorEnv(
        GameSpec.of(game, merged(config, fields), debug=debug),
        num_envs,
        num_threads=num_threads,
        seed=seed,
        autoreset_mode=autoreset_mode,
        copy=copy,
        buffers=buffers,
        render_mode=render_mode,
        render_envs=render_envs,
        render_size=render_size,
    )


class PufferVectorEnv(VectorEnv[Any, Any, npt.NDArray[Any]]):
    """A vector env over the agents of one game's envs; `make` makes it and documents its arguments.

    observation_space: Box (A, *O). action_space: MultiDiscrete (A,) for one head, Box of integers
    (A, K) for several, Box of floats (A, X) for axes, Dict(discrete, continuous) for both.
    """

    _closed_by = "the vector env was closed"
    closed = True  # until __init__ is done, because a constructor that raised has nothing to close
    game_spec: GameSpec
    game: Game
    render_mode: str | None
    config: dict[str, int | float]
    num_envs: int  # A, agents of all envs
    env_agents: int  # agents of one env
    num_threads: int
    autoreset_mode: AutoresetMode
    alive: npt.NDArray[np.bool_]  # (A,) agents that act in the next step; a view
    needs_reset: npt.NDArray[np.bool_]  # (envs,) the episode ended in an earlier step; a view
    action_masks: npt.NDArray[np.bool_] | None  # (A, C) legal choices, head by head
    counted: npt.NDArray[np.bool_] | None  # (envs,) external envs whose infos `log` has; writable
    heads: tuple[Head, ...]
    axes: tuple[Axis, ...]

    def __init__(
        self,
        spec: GameSpec,
        num_envs: int,
        *,
        num_threads: int,
        seed: int | Sequence[int] | None,
        autoreset_mode: str | AutoresetMode,
        copy: bool,
        buffers: Mapping[str, Any] | None,
        render_mode: str | None = None,
        render_envs: RenderEnvs = None,
        render_size: RenderSize = None,
    ) -> None:
        self.game_spec, self.game, self.config = spec, spec.game, spec.config
        self.env_agents, self.heads, self.axes = spec.env_agents, spec.heads, spec.axes
        envs = count("num_envs", num_envs, "copies of the game")
        self.num_threads = count("num_threads", num_threads, "threads that step the envs")
        self.autoreset_mode = _mode(autoreset_mode)
        rendering.check_mode(self.game.name, render_mode)
        self.render_mode, self.render_envs, self.render_size = render_mode, render_envs, render_size
        self.metadata = {
            "autoreset_mode": self.autoreset_mode,
            "render_modes": self._render_modes(),
        }
        if render_mode is not None:
            self.metadata["render_fps"] = max(1, round(self.renderer.pace))
        self.num_envs = envs * self.env_agents
        self.single_observation_space = spec.observation_space
        self.single_action_space = spec.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        given = GivenBuffers(buffers or {})
        self._engine = spec.open(
            envs,
            mode=MODES[self.autoreset_mode],
            seeds=env_seeds(secrets.randbits(64) if seed is None else seed, envs),
            num_threads=self.num_threads,
            allocate=given.allocate,
        )
        given.refuse_overlaps()
        self.counted = getattr(self._engine, "counted", None)
        self._copy = copy
        self._ready = False  # reset was called
        self._rendering: Rendering | None = None
        if render_mode is not None:
            self._rendering = self._make_rendering(render_mode)
        self._shows = render_mode == "human"
        self._bind(self._engine.arrays)
        self.closed = False

    def _bind(self, arrays: dict[str, npt.NDArray[Any]]) -> None:
        """Keep the arrays that a step returns as attributes, so that it need not look them up."""
        self._observations = arrays["observation"]
        self._rewards = arrays["reward"]
        self._terminations = arrays["termination"]
        self._truncations = arrays["truncation"]
        self.alive, self.needs_reset = arrays["alive"], arrays["needs_reset"]
        self.action_masks = arrays.get("mask")
        self._always: dict[str, Any] = {}
        if self.action_masks is not None:
            self._always = {"action_mask": self.action_masks, "_action_mask": self.alive}
        self._final_obs: dict[str, Any] = {}
        if self.autoreset_mode is AutoresetMode.SAME_STEP:
            self._final_obs = {
                "final_obs": arrays["final_observation"],
                "_final_obs": arrays["has_final"],
            }
        self._final_masks, self._final_mask = arrays.get("final_mask"), arrays["has_final"]
        self._logs = arrays["final_log"]
        self._log_mask = arrays["has_final_log"]

    def reset(
        self,
        *,
        seed: int | Sequence[int] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[npt.NDArray[Any], dict[str, Any]]:
        """Begin a new episode in every env and return (observations (A, *O), infos).

        seed: re-creates the envs from one int, or one per env, so that the trajectory of env i
        does not depend on what happened before; None continues each env's random stream.
        options: `{"reset_mask": (A,) bool}` resets only these agents, in DISABLED mode; it must
        select all agents of an env or none.
        """
        self._check_open()
        mask = self._reset_mask(options)
        if not self._ready and mask is not None and not mask.all():
            raise ResetNeeded("the first reset() must reset all envs: leave out reset_mask")
        seeds = None if seed is None else env_seeds(seed, self._engine.num_envs)
        if seed is not None and not isinstance(seed, (Sequence, np.ndarray)):
            super().reset(seed=int(seed))  # sets np_random, which wrappers use
        if self._ready or seed is not None or not self._engine.begun:
            self._engine.reset(seeds, mask)
        self._ready = True
        if self._shows:
            self._show(smooth=False)
        if self._copy:
            return self._observations.copy(), _copied(self._always)
        return self._observations, dict(self._always)

    def step(self, actions: Any) -> Arrays:
        """Act with all agents and return (observations, rewards, terminations, truncations, infos).

        actions: integers (A,) or (A, K), fastest as int32; floats (A, X), clipped to the axes'
        ranges; or a dict of both under "discrete" and "continuous". Actions of agents that are dead
        or about to be reset have no effect. In DISABLED mode an env whose episode has ended does
        nothing and gives reward 0 until it is reset.

        infos hold batched arrays with masks. In SAME_STEP mode: `final_obs` (A, *O) with
        `_final_obs` (A,), where an episode ended or a life was cut, and `final_info`, the logs of
        ended episodes: a dict of one (A,) array per log field, each with its mask. In the other
        modes infos hold these fields themselves. Entries that a mask excludes are stale. Games with
        action masks have `action_mask` (A, C) in every step; the action mask of `final_obs` is in
        `final_info`.

        Raises ValueError or TypeError for illegal actions, before any env steps, and RuntimeError
        while another thread is in a step, in a process forked after the env was made, and for a
        fault that a debug object or a drawing found.
        """
        if not self._ready or self.closed:
            self._check_open()
            raise ResetNeeded("step() was called before the first reset()")
        engine = self._engine
        if not self.axes:
            engine.set_actions(actions, None)
        elif not self.heads:
            engine.set_actions(None, actions)
        else:
            engine.set_actions(*self._both(actions))
        engine.step()
        infos = self._infos() if engine.any_log or engine.any_final else dict(self._always)
        if self._shows:
            self._show()
        if self._copy:
            return (
                self._observations.copy(),
                self._rewards.copy(),
                self._terminations.copy(),
                self._truncations.copy(),
                _copied(infos),
            )
        return self._observations, self._rewards, self._terminations, self._truncations, infos

    def _both(self, actions: Any) -> tuple[Any, Any]:
        """Return the discrete and the continuous actions from a dict of both."""
        if isinstance(actions, Mapping) and set(actions) == {"discrete", "continuous"}:
            return actions["discrete"], actions["continuous"]
        keys = ", ".join(map(repr, actions)) if isinstance(actions, Mapping) else None
        raise TypeError(
            f"{self.game.name} takes a dict with 'discrete' and 'continuous', not "
            f"{keys or type(actions).__name__}"
        )

    def _infos(self) -> dict[str, Any]:
        """Return the infos of a step with final observations or logs of ended episodes."""
        infos = dict(self._always)
        if self._engine.any_final:
            infos.update(self._final_obs)
        if self._engine.any_log:
            logs, mask = self._logs, self._log_mask
            if self.env_agents > 1:
                logs, mask = logs.repeat(self.env_agents, 0), mask.repeat(self.env_agents)
            fields: dict[str, Any] = {}
            for i, (name, _) in enumerate(self.game.log_fields):
                fields[name], fields[f"_{name}"] = logs[:, i], mask
            if self.autoreset_mode is AutoresetMode.SAME_STEP:
                if self._final_masks is not None:
                    fields["action_mask"] = self._final_masks
                    fields["_action_mask"] = self._final_mask
                infos["final_info"], infos["_final_info"] = fields, mask
            else:
                infos.update(fields)
        return infos

    def _reset_mask(self, options: dict[str, Any] | None) -> npt.NDArray[np.bool_] | None:
        """Return the envs to reset, (envs,) bool; None for all."""
        mask = (options or {}).get("reset_mask")
        if mask is None:
            return None
        if self.autoreset_mode is not AutoresetMode.DISABLED:
            raise ValueError(
                f"options['reset_mask'] needs autoreset_mode='disabled'; this env, with "
                f"{self.autoreset_mode.value}, resets itself"
            )
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            kind = mask.dtype if isinstance(mask, np.ndarray) else type(mask).__name__
            raise TypeError(f"options['reset_mask'] is {kind}; it must be a numpy array of bool")
        if mask.shape != (self.num_envs,):
            raise ValueError(
                f"options['reset_mask'] has shape {mask.shape}; it must have ({self.num_envs},)"
            )
        by_env = mask.reshape(-1, self.env_agents)
        some: npt.NDArray[np.bool_] = np.logical_or.reduce(by_env, axis=1)
        partly = np.flatnonzero(some != by_env.all(axis=1))
        if partly.size:
            raise ValueError(
                f"options['reset_mask'] has only some agents of env {partly[0]} (agents "
                f"{partly[0] * self.env_agents} to {(partly[0] + 1) * self.env_agents - 1}): "
                f"an env is reset with all its agents"
            )
        if not some.any():
            raise ValueError("options['reset_mask'] is all False: nothing to reset")
        return some

    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return (mean, std, min, max) by log field, over the episodes since the last call."""
        self._check_open()
        return self._engine.log()

    @functools.cached_property
    def renderer(self) -> FrameSource:
        """The Renderer of this env's game and config, also without a render_mode.

        Raises NotDrawn for a game that does not draw itself.
        """
        if isinstance(self.game, DrawnByItself):
            return self.game.make_renderer()
        return Renderer(games.drawing(self.game), self.game_spec.packed, self.render_size)

    def render(self) -> Any:
        """Draw the envs in the state of their current observations.

        rgb_array: return a tuple of uint8 frames (H, W, 3), one for each index of the batch, as
        Gymnasium's wrappers need: of games with several agents, each as that agent sees it. With
        `render_envs`, one for each of these envs, as everybody sees it.
        human: show up to 16 envs, or those of `render_envs`, in a window. `reset` and `step` do so
        by themselves, and a step takes as long as the game's pace says. When a person closes the
        window, the env is closed after that step.
        ansi: return the same envs as text for a terminal of the size of this one.
        None: return None, with a warning.

        In SAME_STEP mode the picture after an episode's end is of the next episode's beginning; in
        the other modes it is of the end.
        Raises ResetNeeded before the first `reset`, ClosedEnvironmentError after `close`, and
        RuntimeError while another thread is in a step.
        """
        self._check_drawable()
        if self._rendering is not None:
            return self._rendering.render()
        logger.warn(
            f"{self.game.name} was made without a render_mode, so render() does nothing: give one, "
            "for example render_mode='rgb_array'"
        )
        return None

    def render_grid(self) -> npt.NDArray[np.uint8]:
        """Return one picture (H, W, 3) of up to 16 envs, or of those of `render_envs`.

        It needs no render_mode. Raises what `render` raises.
        """
        self._check_drawable()
        return (self._rendering or self._make_rendering("ansi")).grid()

    def _make_rendering(self, mode: str) -> Rendering:
        return Rendering(mode, self.renderer, self._engine, self.render_envs, self.game.name)

    def _render_modes(self) -> list[str]:
        drawn = self.game.draws or isinstance(self.game, DrawnByItself)
        return [*rendering.MODES] if drawn else []

    def _show(self, *, smooth: bool = True) -> None:
        """Show the envs in the window; close the env if a person has closed it."""
        assert self._rendering is not None
        if not self._rendering.show(smooth=smooth):
            self._closed_by = "a person closed its window"
            self.close()

    def _check_drawable(self) -> None:
        self._check_open()
        if not self._ready:
            raise ResetNeeded("render() was called before the first reset()")

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedEnvironmentError(f"{self.game.name}: {self._closed_by}")

    def close_extras(self, **kwargs: Any) -> None:
        """Stop the threads; `close()` calls this once. Arrays that are still in use stay valid."""
        if self._rendering is not None:
            self._rendering.close()
        self._engine.close()


def _mode(given: str | AutoresetMode) -> AutoresetMode:
    if isinstance(given, AutoresetMode):
        return given
    modes = {mode.name.lower(): mode for mode in AutoresetMode}
    found = modes.get(given.lower()) if isinstance(given, str) else None
    found = found or next((mode for mode in AutoresetMode if mode.value == given), None)
    if found is None:
        raise ValueError(
            f"autoreset_mode={given!r}; it must be one of {', '.join(map(repr, modes))}"
        )
    return found


def _copied(infos: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _copied(value) if isinstance(value, dict) else value.copy()
        for key, value in infos.items()
    }
