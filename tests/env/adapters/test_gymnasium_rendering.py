"""Rendering through Gymnasium: make, make_vec, its wrappers, its checks and its `play`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ClosedEnvironmentError, ResetNeeded
from gymnasium.utils import play
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import (
    AddRenderObservation,
    HumanRendering,
    RecordVideo,
    RenderCollection,
    vector,
)

import pufferenv
from pufferenv.games import NotDrawn
from tests.support.paths import GAME_HEADERS

pygame = pytest.importorskip("pygame", reason="Gymnasium's windows need pygame (extra `render`)")


@pytest.fixture(autouse=True)
def dummy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    yield
    pygame.quit()


def single(name: str = "breakout", mode: str | None = "rgb_array", **options: Any) -> Any:
    return gymnasium.make(f"puffer/{name}-v0", render_mode=mode, **options)


def vectorized(
    name: str = "breakout", mode: str = "rgb_array", num: int = 3, **options: Any
) -> Any:
    return gymnasium.make_vec(f"puffer/{name}-v0", num, render_mode=mode, **options)


def first_frame(path: Path) -> Any:
    """Return the first frame of a video (H, W, 3)."""
    av = pytest.importorskip("av", reason="PyAV reads the video; the extra `render` has it")
    with av.open(str(path)) as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


def alike(one: Any, other: Any) -> bool:
    """Return whether two pictures are the same but for what a video loses."""
    return one.shape == other.shape and abs(one.astype(float) - other).mean() < 8


# --- single envs --------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["breakout", "cartpole", "squared", "memory"])
def test_check_env_passes_with_every_render_mode(name: str) -> None:
    env = single(name, render_size=64).unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*Box observation space m..imum value is -?infinity")
        check_env(env)


def test_a_single_env_draws_what_a_vector_env_of_one_draws() -> None:
    env, other = single(render_size=100), vectorized(num=1, render_size=100)
    env.reset(seed=3)
    other.reset(seed=[3])
    for action in (1, 1, 2):
        env.step(action)
        other.step(np.array([action]))
        assert (env.render() == other.render()[0]).all()
    assert env.render().dtype == np.uint8
    assert env.metadata["render_fps"] == 15


def test_a_single_env_shows_its_end_until_it_is_reset() -> None:
    env = single("cartpole", max_steps=3).unwrapped
    env.reset(seed=1)
    for _ in range(3):
        before = env.render()
        env.step(1)
    end = env.render()
    assert (end != before).any()
    env.reset()
    assert (env.render() != end).any()


def test_text_and_windows_of_single_envs() -> None:
    env = single(mode="ansi")
    env.reset()
    assert isinstance(env.render(), str)
    env = single(mode="human", render_size=80).unwrapped
    env.reset()
    env.step(0)
    assert env.render() is None
    assert pygame.display.get_caption()[0] == "breakout"
    env.close()


def test_errors_of_single_envs() -> None:
    env = single().unwrapped
    with pytest.raises(ResetNeeded):
        env.render()
    env.reset()
    env.close()
    with pytest.raises(ClosedEnvironmentError):
        env.render()
    with pytest.raises(ValueError, match="render_mode='video'; it must be one of 'rgb_array'"):
        pufferenv.PufferEnv("breakout", render_mode="video")
    with pytest.raises(NotDrawn, match="masked does not draw itself"):
        pufferenv.PufferEnv(GAME_HEADERS / "masked.h", render_mode="rgb_array")


def test_a_list_of_frames_is_collected_by_gymnasium() -> None:
    env = single(mode="rgb_array_list", render_size=32)
    assert isinstance(env, RenderCollection)
    env.reset()
    for _ in range(3):
        env.step(0)
    assert len(env.render()) == 4


def test_the_picture_is_an_observation() -> None:
    env = AddRenderObservation(single(render_size=48), render_only=True)
    obs, _ = env.reset(seed=1)
    assert env.observation_space.contains(obs)
    assert (obs == env.render()).all()
    obs, *_ = env.step(1)
    assert (obs == env.render()).all()
    assert obs.shape == (30, 48, 3)


def test_human_rendering_shows_the_frame() -> None:
    env = HumanRendering(single(render_size=96))
    env.reset(seed=1)
    env.step(1)
    shown = pygame.surfarray.array3d(pygame.display.get_surface()).swapaxes(0, 1)
    assert (shown == env.env.render()).all()
    env.close()


def test_gymnasium_records_a_single_env(tmp_path: Path) -> None:
    pytest.importorskip("moviepy", reason="Gymnasium records with moviepy (gymnasium[other])")
    env = RecordVideo(single(render_size=64), str(tmp_path / "new"), episode_trigger=lambda _: True)
    env.reset(seed=1)
    first = env.render()
    for _ in range(6):
        env.step(0)
    assert len(env.recorded_frames) == 7
    env.close()
    assert alike(first_frame(tmp_path / "new" / "rl-video-episode-0.mp4"), first)


# --- gymnasium.utils.play -----------------------------------------------------------------------
def test_keys_to_action_are_in_the_form_that_play_looks_up() -> None:
    keys = single().unwrapped.get_keys_to_action()
    assert keys[(pygame.K_LEFT,)] == keys[(ord("a"),)]
    assert keys[(pygame.K_LEFT,)] != keys[(pygame.K_RIGHT,)]
    assert set(keys.values()) <= {0, 1, 2}


def test_a_person_plays_with_gymnasiums_play() -> None:
    env, actions = single(render_size=64), []

    def post(kind: int, key: int) -> None:
        pygame.event.post(pygame.event.Event(kind, key=key, unicode="", mod=0))

    def after(*transition: Any) -> None:
        actions.append(transition[2])
        if len(actions) == 1:
            post(pygame.KEYDOWN, pygame.K_LEFT)
        elif len(actions) == 3:
            post(pygame.KEYUP, pygame.K_LEFT)
            post(pygame.KEYDOWN, pygame.K_d)
        elif len(actions) == 5:
            pygame.event.post(pygame.event.Event(pygame.QUIT))

    play.play(env, callback=after, fps=1000)
    keys = env.unwrapped.get_keys_to_action()
    left, right = keys[(pygame.K_LEFT,)], keys[(pygame.K_RIGHT,)]
    assert actions == [0, left, left, right, right]


# --- vector envs --------------------------------------------------------------------------------
def test_a_vector_env_of_gymnasiums_registry_draws_all_its_envs() -> None:
    envs = vectorized(num=2, render_size=100)
    envs.reset(seed=[1, 2])
    both = [single(render_size=100) for _ in range(2)]
    for seed, env in enumerate(both, 1):
        env.reset(seed=seed)
    for frame, env in zip(envs.render(), both, strict=True):
        assert (frame == env.render()).all()
    assert envs.spec.kwargs["render_mode"] == "rgb_array"
    again = gymnasium.make_vec(envs.spec)
    assert again.render_mode == "rgb_array"
    assert again.num_envs == 2


def test_a_sync_vector_env_draws_the_same() -> None:
    envs = vectorized(num=2, render_size=64)
    theirs = vectorized(num=2, render_size=64, vectorization_mode="sync")
    envs.reset(seed=[4, 5])
    theirs.reset(seed=[4, 5])
    for one, other in zip(envs.render(), theirs.render(), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize(("name", "num"), [("breakout", 3), ("tag", 1)])
@pytest.mark.parametrize("mode", ["next_step", "same_step"])
@pytest.mark.filterwarnings("ignore:.*autoreset mode is same-step")
def test_gymnasium_records_a_vector_env(tmp_path: Path, name: str, num: int, mode: str) -> None:
    pytest.importorskip("moviepy", reason="Gymnasium records with moviepy (gymnasium[other])")
    envs = vectorized(name, num=num, render_size=64, autoreset_mode=mode)
    folder = tmp_path / "new"
    recorder = vector.RecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0)
    recorder.reset(seed=1)
    for _ in range(5):
        recorder.step(np.zeros(envs.num_envs, np.int64))
    frames = recorder.recorded_frames
    assert len(frames) == 6
    height, width = envs.render()[0].shape[:2]
    assert frames[0].size == envs.num_envs * height * width * 3
    assert (frames[-1][:height, :width] == envs.render()[0]).all()
    first = frames[0]
    recorder.close()
    assert alike(first_frame(folder / "rl-video-episode-0.mp4"), first)


@pytest.mark.parametrize(("name", "num"), [("breakout", 4), ("tag", 1)])
def test_human_rendering_shows_a_vector_env(name: str, num: int) -> None:
    pytest.importorskip("cv2", reason="Gymnasium's HumanRendering scales with cv2")
    envs = vectorized(name, num=num, render_size=(64, 64))
    shown = vector.HumanRendering(envs)
    shown.reset(seed=1)
    shown.step(np.zeros(envs.num_envs, np.int64))
    assert pygame.surfarray.array3d(pygame.display.get_surface()).any()
    shown.close()


def test_a_vector_env_of_gymnasiums_registry_opens_a_window() -> None:
    envs = vectorized(mode="human", num=2, render_size=64)
    envs.reset(seed=1)
    envs.step(np.array([0, 1]))
    assert pygame.display.get_caption()[0] == "breakout"
    envs.close()
