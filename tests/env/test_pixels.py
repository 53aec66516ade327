"""Pixels as observations: which game is played, what its slots hold, and what is refused."""

from __future__ import annotations

import itertools
import pickle
import re

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import pufferenv
from pufferenv import RowEnv, games
from pufferenv.drawing._drawing import PIXEL_FIELDS
from pufferenv.drawing.pixel_game import PixelGame
from pufferenv.game_spec import GameSpec
from tests.support.checkouts import my_game
from tests.support.games import load_game

# Lives of every kind: deaths, respawns in the same step, cuts, spawns, short episodes.
LIVELY = {"agents": 5, "steps": 9, "shorter": 4, "die": 0.15, "respawn": 0.5, "cut": 0.1}


def test_the_fields_are_those_of_the_macro():
    assert [(f.name, f.default, f.min, f.max) for f in PIXEL_FIELDS] == [
        ("pixels", 0, 0, 1024),
        ("pixel_channels", 1, 1, 3),
        ("frame_stack", 1, 1, 16),
    ]
    pixel, plain = games.load("squared", pixels=True), games.load("squared")
    assert pixel.config_fields == (*plain.config_fields, *PIXEL_FIELDS)
    assert (pixel.name, pixel.source, pixel.doc) == (plain.name, plain.source, plain.doc)
    assert (pixel.obs_dtype, pixel.log_fields) == (np.uint8, plain.log_fields)


def test_pixels_choose_the_pixel_game_and_nothing_else_does():
    spec = GameSpec.of("squared", {"pixels": 20, "pixel_channels": 3, "frame_stack": 4})
    assert isinstance(spec.game, PixelGame)
    assert spec.obs_shape == (12, 20, 20)
    assert spec.observation_space == gymnasium.spaces.Box(0, 255, (12, 20, 20), np.uint8)
    assert spec.pixels == {"pixels": 20, "pixel_channels": 3, "frame_stack": 4}
    assert spec.config == {"size": 11, **spec.pixels}
    for given in ({}, {"pixels": 0}):
        plain = GameSpec.of("squared", given)
        assert (plain.config, plain.pixels, plain.obs_shape) == ({"size": 11}, {}, (11, 11))
    assert GameSpec.of(games.load("squared"), {"pixels": 20}).obs_shape == (1, 20, 20)
    assert GameSpec.of(games.load("squared", pixels=True), {"pixels": 9}).obs_shape == (1, 9, 9)
    assert GameSpec.of("squared", {"pixels": 9}, debug=True).game.debug


def test_a_pixel_game_can_be_pickled():
    game = pickle.loads(pickle.dumps(games.load("squared", pixels=True)))
    env = pufferenv.make(game, 1, pixels=12)
    assert env.reset(seed=1)[0].any()


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"frame_stack": 4}, "squared: frame_stack=4 without pixels: give pixels as well"),
        ({"pixels": 0, "pixel_channels": 3}, "pixel_channels=3 without pixels"),
        ({"pixels": 84, "pixel_channels": 2}, "pixel_channels=2 must be 1 for grey or 3 for RGB"),
        ({"pixels": 1025}, r"pixels=1025 is outside \[0, 1024\]: side of a picture"),
        ({"pixels": 84, "frame_stack": 17}, r"frame_stack=17 is outside \[1, 16\]"),
        ({"pixel": 84}, "no config key 'pixel'; did you mean 'pixels'"),
    ],
)
def test_an_impossible_picture_is_refused(given, error):
    with pytest.raises(ValueError, match=error):
        GameSpec.of("squared", given)


def test_a_picture_that_is_no_number_is_refused():
    for value in ("84", True, 8.5):
        with pytest.raises((TypeError, ValueError), match="it must be an integer in"):
            GameSpec.of("squared", {"pixels": value})


def test_a_game_that_is_not_drawn_here_says_what_to_do():
    for game in ("script", load_game("script")):
        with pytest.raises(ValueError, match="unknown game" if game == "script" else "env_draw"):
            GameSpec.of(game, {"pixels": 84})
    with pytest.raises(games.NotDrawn, match="PUF_VIEW"):
        games.load(load_game("script").header, pixels=True)
    wrapped = pufferenv.wrap("CartPole-v1", 1)
    with pytest.raises(ValueError, match=r"CartPole-v1 is written in Python.*AddRenderObservation"):
        RowEnv(wrapped, 1, horizon=8, pixels=84)
    with pytest.raises(ValueError, match="squared was loaded with pixels=True: give `pixels`"):
        pufferenv.make(games.load("squared", pixels=True), 1)


def test_a_headers_own_field_of_that_name_keeps_its_meaning(tmp_path, monkeypatch):
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "cache"))
    header = my_game(
        tmp_path,
        ("X(int32_t, size, ", 'X(int32_t, pixels, 3, 1, 9, "its own") X(int32_t, size, '),
    )
    spec = GameSpec.of(header, {"pixels": 5})
    assert (spec.config["pixels"], spec.obs_shape, spec.pixels) == (5, (11, 11), {})
    with pytest.raises(ValueError, match=r"frame_stack: my_game cannot be observed as pixels.*own"):
        GameSpec.of(header, {"pixels": 5, "frame_stack": 4})
    assert games.drawing(spec.game).name == "my_game"


def test_a_config_that_only_the_object_refuses_leaves_nothing_behind():
    game = games.load("squared", pixels=True)
    for wrong, why in (
        ({"pixels": 0}, "pixels must be at least 1"),
        ({"pixel_channels": 2}, "pixel_channels must be 1 or 3"),
    ):
        config = {"size": 5, "pixels": 8, "pixel_channels": 1, "frame_stack": 2, **wrong}
        with pytest.raises(ValueError, match=f"squared refuses this config: {why}"):
            game.open(game.pack(config), 3, mode=1, seeds=np.arange(3, dtype=np.uint64))


# --- pictures -----------------------------------------------------------------------------------


def random_actions(env, random):
    env.action_space.seed(int(random.integers(2**31)))
    return env.action_space.sample()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [name for name in games.names() if games.load(name).draws])
def test_an_agent_observes_the_picture_that_the_rasterizer_gives_of_its_own_view(name, channels):
    side, num_envs, random = 29, 2, np.random.default_rng(5)
    plain = pufferenv.make(name, num_envs, seed=3)
    seen = pufferenv.make(name, num_envs, seed=3, pixels=side, pixel_channels=channels)
    drawing = games.drawing(plain.game)
    plain.reset(), seen.reset()
    for _ in range(12):
        actions = random_actions(plain, random)
        plain.step(actions)
        obs, *_ = seen.step(actions)
        np.testing.assert_array_equal(plain.alive, seen.alive)
        for agent in np.flatnonzero(plain.alive)[:: 1 + plain.num_envs // 8]:
            env, place = divmod(int(agent), plain.env_agents)
            image = np.empty((side, side, channels), np.uint8)
            drawn = drawing.draw(plain._engine, env, plain.game_spec.packed, place)
            drawn.raster(image)
            np.testing.assert_array_equal(obs[agent], image.transpose(2, 0, 1))


def stacked(pictures, stack):
    """The last `stack` pictures, with copies of the first one before it."""
    return np.concatenate(([pictures[0]] * stack + pictures)[-stack:])


class Lives:
    """A slow reference for frame stacks: the pictures of each agent's present life, by agent."""

    def __init__(self):
        self.pictures = {}
        self.now = {}  # agent -> (life, step) of its last picture

    def see(self, agent, identity, picture):
        """Add a picture of a life and a step, unless it is the last one again; return them all."""
        life, step = identity
        if agent not in self.now or self.now[agent][0] != life:
            self.pictures[agent] = []
        elif self.now[agent] == (life, step):
            self.pictures[agent].pop()
        self.now[agent] = (life, step)
        self.pictures[agent].append(picture.copy())
        return self.pictures[agent]


@pytest.mark.parametrize("mode", ["same_step", "next_step", "disabled"])
@pytest.mark.parametrize("stack", [2, 5])
def test_a_stack_begins_with_copies_of_a_lifes_first_picture(mode, stack):
    """Compared with probe's own observations, which identify life and step, and single pictures."""
    config = {"seed": 7, "autoreset_mode": mode, **LIVELY, "spawn": 0.3, "pixels": 12}
    plain = pufferenv.make("probe", 6, **{k: v for k, v in config.items() if k != "pixels"})
    single = pufferenv.make("probe", 6, **config)
    many = pufferenv.make("probe", 6, **config, frame_stack=stack, num_threads=2, debug=True)
    envs, random, lives = (plain, single, many), np.random.default_rng(1), Lives()

    def compare(identities, pictures, stacks):
        for agent in np.flatnonzero(identities.any(1)):
            life, step = identities[agent, 2:]
            wanted = stacked(lives.see(agent, (life, step), pictures[agent]), stack)
            np.testing.assert_array_equal(stacks[agent], wanted)
        assert not stacks[~identities.any(1)].any()

    compare(*(env.reset()[0] for env in envs))
    finals = ends = 0
    for step in range(60):
        actions = random_actions(plain, random)
        results = [env.step(actions) for env in envs]
        infos = [result[4] for result in results]
        ends += int(results[0][2].sum() + results[0][3].sum())
        if "final_obs" in infos[0]:
            which = infos[0]["_final_obs"]
            finals += int(which.sum())
            compare(*(np.where(which.reshape(-1, *[1] * (info["final_obs"].ndim - 1)),
                               info["final_obs"], 0) for info in infos))  # fmt: skip
        compare(*(result[0] for result in results))
        if mode == "disabled" and step % 4 == 3:
            mask = np.repeat(plain.needs_reset, plain.env_agents)
            if mask.any():
                compare(*(env.reset(options={"reset_mask": mask})[0] for env in envs))
    assert ends > 100 and (finals > 50) == (mode == "same_step")


@pytest.mark.parametrize("groups", [1, 3])
def test_slots_of_the_pool_hold_what_a_vector_env_returns_for_any_threads_and_groups(groups):
    """Also in final slots. Twins with one and three threads have the same bytes."""
    config = {**LIVELY, "spawn": 0.3, "pixels": 10, "frame_stack": 3}
    plain = pufferenv.make("probe", 6, seed=2, **config)
    rows = [
        RowEnv("probe", 6, horizon=4, seed=2, num_threads=threads, check=True, config=config)
        for threads in (1, 3)
    ]
    random, finals, slots = np.random.default_rng(4), 0, 0
    obs, _ = plain.reset()
    for _ in range(80):
        actions = random_actions(plain, random)
        alive = plain.alive.copy()
        obs, _, _, truncated, infos = plain.step(actions)
        for env in rows:
            env.arrays["action"][:] = actions["discrete"]
            env.arrays["axis"][:] = actions["continuous"]
            env.engine.clear_finals()
            env.arrays["bootstrap_slot"][:] = -1
            bounds = np.linspace(0, 6, groups + 1).astype(int)
            for begin, end in itertools.pairwise(bounds):
                env.step(int(begin), int(end))
            pool = env.arrays["pool_observation"].reshape(-1, *env.obs_shape)
            live = np.flatnonzero(env.arrays["alive"])
            np.testing.assert_array_equal(live, np.flatnonzero(plain.alive))
            np.testing.assert_array_equal(pool[env.arrays["slot"][live]], obs[live])
            slots += len(live)
            count = env.engine.num_final
            agents = env.arrays["final_agent"][:count]
            assert sorted(agents) == np.flatnonzero(truncated & alive).tolist()
            if count:
                np.testing.assert_array_equal(
                    env.arrays["final_observation"][:count], infos["final_obs"][agents]
                )
            finals += count
            while env.engine.num_full >= env.batch_rows:
                env.engine.batch()
                env.engine.release()
        one, three = (env.arrays["pool_observation"] for env in rows)
        np.testing.assert_array_equal(one, three)
    assert finals > 50 and slots > 1000


def test_masks_are_those_of_the_game_itself():
    random = np.random.default_rng(3)
    plain, seen = (pufferenv.make("royale", 2, seed=5, **more) for more in ({}, {"pixels": 16}))
    assert plain.game.has_mask and seen.game.has_mask
    plain.reset(), seen.reset()
    for _ in range(40):
        actions = random_actions(plain, random)
        assert plain.action_masks is not None and seen.action_masks is not None
        live = plain.alive.copy()
        np.testing.assert_array_equal(seen.action_masks[live], plain.action_masks[live])
        wanted, got = plain.step(actions), seen.step(actions)
        for a, b in zip(wanted[1:4], got[1:4], strict=True):  # rewards, terminations, truncations
            np.testing.assert_array_equal(a, b)
    assert not plain.action_masks[plain.alive].all()


def test_the_adapters_take_pixels():
    env = gymnasium.make("puffer/breakout-v0", pixels=24, frame_stack=2)
    assert env.observation_space.shape == (2, 24, 24)
    check_env(env.unwrapped, skip_render_check=True)
    vector = gymnasium.make_vec("puffer/breakout-v0", num_envs=3, pixels=24)
    assert vector.reset(seed=0)[0].shape == (3, 1, 24, 24)
    pettingzoo = pytest.importorskip("pufferenv.pettingzoo", reason="PettingZoo is not installed")
    parallel = pettingzoo.parallel_env("tag", pixels=24, pixel_channels=3)
    observations, _ = parallel.reset(seed=0)
    assert {obs.shape for obs in observations.values()} == {(3, 24, 24)}


def test_pictures_too_large_for_memory_are_refused():
    with pytest.raises(MemoryError, match=re.escape("GiB of memory")):
        RowEnv("breakout", 4096, horizon=65536, pixels=1024, pixel_channels=3, frame_stack=16)
