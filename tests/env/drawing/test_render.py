"""render() of vector envs: which frames, of which state, in which mode, and what is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded

import pufferenv
from pufferenv import games
from pufferenv.drawing.grid import tile
from pufferenv.drawing.renderer import Renderer
from pufferenv.drawing.terminal import PALETTE, PLAIN, frame_text
from pufferenv.drawing.viewer import Viewer
from pufferenv.games import NotDrawn
from tests.support.paths import GAME_HEADERS

NAMES = games.names()


def rastered(env: Any, index: int, size: int | tuple[int, int] | None, agent: int = -1) -> Any:
    """Return the frame of one env, drawn in two steps: its list, then the raster."""
    spec = env.game_spec
    drawing = games.drawing(spec.game)
    renderer = Renderer(drawing, spec.packed, size)
    frame = np.empty((renderer.height, renderer.width, 3), np.uint8)
    drawing.draw(env._engine, index, spec.packed, agent).raster(frame)
    return frame


def stepped(env: Any, steps: int, seed: int = 5) -> None:
    """Step with random legal actions."""
    env.action_space.seed(seed)
    for _ in range(steps):
        env.step(env.action_space.sample())


@pytest.mark.parametrize("name", NAMES)
def test_frames_are_those_of_the_renderer_and_of_the_lists_themselves(name: str) -> None:
    env = pufferenv.make(name, 3, seed=1, render_mode="rgb_array", render_size=90, render_envs=3)
    env.reset()
    stepped(env, 4)
    frames = env.render()
    assert isinstance(frames, tuple)
    assert (np.stack(frames) == env.renderer.frames(env._engine, range(3))).all()
    for i, frame in enumerate(frames):
        assert frame.dtype == np.uint8
        assert frame.shape[1:] == (90, 3)
        assert (frame == rastered(env, i, 90)).all()
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_drawn_run_gives_the_same_observations_as_an_undrawn_one(name: str) -> None:
    options: dict[str, Any] = {"num_threads": 2, "seed": 7}
    drawn = pufferenv.make(name, 4, render_mode="rgb_array", render_size=40, **options)
    plain = pufferenv.make(name, 4, **options)
    assert (drawn.reset()[0] == plain.reset()[0]).all()
    plain.action_space.seed(3)
    for _ in range(60):
        actions = plain.action_space.sample()
        drawn.render()
        for one, other in zip(drawn.step(actions)[:4], plain.step(actions)[:4], strict=True):
            np.testing.assert_array_equal(one, other)


def test_by_default_there_is_one_frame_for_each_index_of_the_batch() -> None:
    """Gymnasium's wrappers for vector envs need as many frames as `num_envs`."""
    env = pufferenv.make("tag", 2, seed=1, render_mode="rgb_array", render_size=60)
    env.reset()
    frames = env.render()
    assert len(frames) == env.num_envs == 2 * env.env_agents
    for index in (0, env.env_agents - 1, env.env_agents, env.num_envs - 1):
        one, agent = divmod(index, env.env_agents)
        assert (frames[index] == rastered(env, one, 60, agent)).all()


@pytest.mark.parametrize(
    ("given", "drawn"),
    [
        (None, [0, 1, 2, 3, 4]),
        (2, [0, 1]),
        ([3], [3]),
        ((4, 0), [4, 0]),
        (np.array([1, 1]), [1, 1]),
    ],
)
def test_the_envs_to_draw_are_the_first_ones_or_the_given_ones(given: Any, drawn: Any) -> None:
    env = pufferenv.make("squared", 5, seed=1, render_mode="rgb_array", render_envs=given)
    env.reset()
    stepped(env, 2)
    frames = env.render()
    assert len(frames) == len(drawn)
    for frame, index in zip(frames, drawn, strict=True):
        assert (frame == rastered(env, index, None)).all()
    assert (env.render_grid() == tile(frames, aspect=4 / 3)).all()


def test_a_picture_of_many_envs_has_the_first_16_or_the_chosen_ones() -> None:
    env = pufferenv.make("squared", 20, seed=1, render_mode="rgb_array", render_size=32)
    env.reset()
    assert len(env.render()) == 20
    assert (env.render_grid() == tile(env.render()[:16], aspect=4 / 3)).all()
    env = pufferenv.make("squared", 20, seed=1, render_envs=18, render_size=32)
    env.reset()
    frames = env.renderer.frames(env._engine, range(18))
    assert (env.render_grid() == tile(frames, aspect=4 / 3)).all()
    env = pufferenv.make("tag", 2, seed=1, render_mode="rgb_array", render_size=32)
    env.reset()
    assert (env.render_grid() == tile(env.renderer.frames(env._engine, [0, 1]), aspect=4 / 3)).all()


@pytest.mark.parametrize(
    ("size", "shape"), [(None, (376, 600, 3)), (300, (188, 300, 3)), ((64, 48), (48, 64, 3))]
)
def test_a_size_is_a_width_or_both_sides(size: Any, shape: tuple[int, int, int]) -> None:
    env = pufferenv.make("breakout", render_mode="rgb_array", render_size=size)
    env.reset()
    assert env.render()[0].shape[1:] == shape[1:]
    if isinstance(size, tuple):
        assert env.render()[0].shape == shape
    assert (env.render()[0] == rastered(env, 0, size)).all()


def test_the_metadata_has_the_modes_and_the_pace() -> None:
    env = pufferenv.make("breakout", render_mode="rgb_array")
    assert env.metadata["render_modes"] == ["rgb_array", "human", "ansi"]
    assert env.metadata["render_fps"] == round(env.renderer.pace)
    assert env.render_mode == "rgb_array"


def test_a_renderer_is_there_without_a_render_mode_too() -> None:
    env = pufferenv.make("squared", 2, seed=1, render_size=50)
    env.reset()
    assert env.render_mode is None
    assert (env.renderer.frames(env._engine, [1])[0] == rastered(env, 1, 50)).all()
    assert env.render_grid().shape[2] == 3
    with pytest.warns(UserWarning, match="squared was made without a render_mode"):
        assert env.render() is None


# --- the state that is drawn --------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
def test_the_picture_after_an_end_is_of_the_current_observation(mode: str) -> None:
    """SAME_STEP shows the next episode's beginning, the other modes show the end."""
    env = pufferenv.make(
        "cartpole", seed=2, autoreset_mode=mode, render_mode="rgb_array", max_steps=5
    )
    twin = pufferenv.make("cartpole", seed=2, autoreset_mode="disabled", max_steps=5)
    first = env.reset()[0].copy()
    twin.reset()
    for _ in range(5):
        obs, _, terminated, truncated, _ = env.step(np.array([1]))
        end = twin.step(np.array([1]))[0].copy()
    assert truncated[0] and not terminated[0]
    if mode == "same_step":
        assert (obs != first).any()
        twin.reset()
    else:
        assert (obs == end).all()
    assert (env.render()[0] == rastered(twin, 0, None)).all()


# --- text ---------------------------------------------------------------------------------------
def test_ansi_is_the_grid_as_text_of_the_terminals_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "13")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    env = pufferenv.make("squared", 20, seed=1, render_mode="ansi", render_size=100)
    env.reset()
    grid = env.render_grid()
    frames = env.renderer.frames(env._engine, range(16))
    assert (grid == tile(frames, aspect=4 / 3)).all()
    text = env.render()
    assert text == frame_text(grid, 40, 12, PALETTE)
    assert 1 < text.count("\n") <= 12
    monkeypatch.setenv("NO_COLOR", "1")
    assert env.render() == frame_text(grid, 40, 12, PLAIN)
    assert "\x1b" not in env.render()


# --- a window -----------------------------------------------------------------------------------
pygame = pytest.importorskip("pygame", reason="pygame opens the window; the extra `render` has it")


@pytest.fixture
def human(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    made = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(pufferenv.make(*args, render_mode="human", **options))
        return made[-1]

    yield make
    for env in made:
        env.close()


def window_pixels() -> Any:
    return pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)


def test_reset_and_step_show_the_envs_in_a_window(human: Any) -> None:
    env = human("breakout", seed=1, render_size=200)
    env.reset()
    assert pygame.display.get_caption()[0] == "breakout"
    assert (window_pixels() == rastered(env, 0, 200)).all()
    stepped(env, 3)
    assert (window_pixels() == rastered(env, 0, 200)).all()
    assert env.render() is None


def test_a_window_has_a_grid_of_the_chosen_envs(human: Any) -> None:
    env = human("squared", 6, seed=1, render_size=100, render_envs=[5, 2])
    env.reset()
    stepped(env, 2)
    assert (
        window_pixels() == tile([rastered(env, 5, 100), rastered(env, 2, 100)], aspect=4 / 3)
    ).all()


@pytest.mark.parametrize("mode", ["same_step", "next_step"])
def test_nothing_glides_from_one_episode_to_the_next(
    human: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    env = human("cartpole", 2, seed=2, autoreset_mode=mode, max_steps=2, render_size=64)
    moving: list[Any] = []
    monkeypatch.setattr(Viewer, "show", lambda *_, smooth, **__: moving.append(smooth))
    env.reset()
    for _ in range(4):
        env.step(np.array([0, 1]))
    ends = {"same_step": [1, 0, 1, 0], "next_step": [1, 1, 0, 1]}[mode]
    assert moving == [[False] * 2, *([bool(end)] * 2 for end in ends)]


def test_closing_the_window_closes_the_env_after_the_step(human: Any) -> None:
    env = human("breakout", 2, seed=1, render_size=64)
    env.reset()
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    result = env.step(np.array([0, 0]))
    assert len(result[0]) == 2
    assert env.closed
    with pytest.raises(ClosedEnvironmentError, match="breakout: a person closed its window"):
        env.step(np.array([0, 0]))


def test_a_window_is_closed_with_its_env(human: Any) -> None:
    env = human("breakout", seed=1, render_size=64)
    env.reset()
    assert pygame.display.get_init()
    env.close()
    assert not pygame.display.get_init()
    human("squared", render_size=64).reset()


def test_a_window_belongs_to_the_main_thread(human: Any) -> None:
    env = human("squared", render_size=64)
    errors: list[Exception] = []

    def use() -> None:
        try:
            env.reset()
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert "render_mode='human' works in the main thread only" in str(errors[0])


# --- errors -------------------------------------------------------------------------------------
def test_rendering_before_reset_and_after_close_is_refused() -> None:
    env = pufferenv.make("squared", render_mode="rgb_array")
    with pytest.raises(ResetNeeded, match=r"render\(\) was called before the first reset\(\)"):
        env.render()
    with pytest.raises(ResetNeeded):
        env.render_grid()
    env.reset()
    env.close()
    with pytest.raises(ClosedEnvironmentError, match="squared: the vector env was closed"):
        env.render()


def test_an_unknown_mode_names_the_legal_ones() -> None:
    with pytest.raises(
        ValueError,
        match="squared: render_mode='rgb'; it must be one of 'rgb_array', 'human', 'ansi', or None",
    ):
        pufferenv.make("squared", render_mode="rgb")


def test_a_game_that_does_not_draw_itself_is_refused_when_it_is_made() -> None:
    undrawn = GAME_HEADERS / "masked.h"
    with pytest.raises(NotDrawn, match="masked does not draw itself"):
        pufferenv.make(undrawn, render_mode="rgb_array")
    env = pufferenv.make(undrawn)
    assert env.metadata["render_modes"] == []
    with pytest.raises(NotDrawn):
        _ = env.renderer


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"render_envs": 0}, ValueError, r"render_envs=0 is outside \[1, 3\]"),
        ({"render_envs": 4}, ValueError, r"render_envs=4 is outside \[1, 3\]"),
        ({"render_envs": []}, ValueError, "render_envs is empty"),
        ({"render_envs": [0, 3]}, ValueError, r"render_envs has env 3; it must be in \[0, 2\]"),
        ({"render_envs": [-1]}, ValueError, r"render_envs has env -1"),
        ({"render_envs": "all"}, TypeError, "render_envs='all' must be a number of envs, or"),
        ({"render_envs": 1.5}, TypeError, r"render_envs=1.5 must be a number of envs, or"),
        ({"render_envs": True}, TypeError, "render_envs=True must be a number of envs, or"),
        ({"render_size": 0}, ValueError, r"width=0 is outside \[1, 8192\]"),
        ({"render_size": 100_000}, ValueError, r"width=100000 is outside \[1, 8192\]"),
        ({"render_size": (10, 0)}, ValueError, r"height=0 is outside \[1, 8192\]"),
        ({"render_size": "large"}, TypeError, "size='large' must be the width of a frame"),
    ],
)
def test_bad_options_are_named(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        pufferenv.make("squared", 3, render_mode="rgb_array", **options)


def test_more_frames_than_memory_holds_are_refused_when_the_env_is_made() -> None:
    with pytest.raises(ValueError, match=r"20000 frames of 600 x \d+ pixels are .* GB in each"):
        pufferenv.make("squared", 20_000, render_mode="rgb_array")
    pufferenv.make("squared", 20_000, render_mode="rgb_array", render_envs=4).close()


def test_a_render_during_a_step_of_another_thread_is_refused() -> None:
    env = pufferenv.make("breakout", 20_000, seed=1, render_mode="rgb_array", render_envs=1)
    env.reset()
    actions = np.zeros(20_000, np.int32)
    done, refused, drawn = threading.Event(), [], 0

    def step() -> None:
        while not done.is_set():
            env.step(actions)

    thread = threading.Thread(target=step)
    thread.start()
    deadline = time.monotonic() + 60
    while not refused and time.monotonic() < deadline:
        try:
            env.render()
            drawn += 1
        except RuntimeError as error:
            refused.append(error)
    done.set()
    thread.join()
    assert "another thread is in a step" in str(refused[0])
    env.render()


def test_threads_that_draw_one_env_do_not_disturb_each_other() -> None:
    env = pufferenv.make("royale", 2, seed=1, render_mode="rgb_array", render_size=120)
    env.reset()
    renderer, engine = env.renderer, env._engine
    expected = renderer.frames(engine, [0, 1])
    wrong: list[int] = []

    def draw(index: int) -> None:
        for _ in range(60):
            frame = renderer.frames(engine, [index])[0]
            wrong.extend([index] * bool((frame != expected[index]).any()))

    threads = [threading.Thread(target=draw, args=(i % 2,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
