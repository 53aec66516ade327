"""stable-baselines3: our VecEnv with its DummyVecEnv, wrappers, buffers and algorithms."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest

import pufferenv
from pufferenv import games
from pufferenv.game_config import env_seeds
from tests.env.engine.test_autoreset_modes import SIZE, Squared, actions_for
from tests.support.games import load_game, short_episodes

pytest.importorskip("stable_baselines3", reason="needs pip install 'pufferenv[sb3]'")
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecCheckNan,
    VecFrameStack,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
)

from pufferenv.adapters import sb3

GAMES = games.names()
SMALL = {"n_steps": 32, "batch_size": 64, "n_epochs": 1, "device": "cpu"}


def script(agents=3, num_envs=1):
    env = sb3.make(load_game("script"), num_envs, agents=agents)
    env.reset()
    return env


def fates(*fates, end=0):
    """Return actions of `script`: one fate per agent, and `end` for the episode."""
    actions = np.zeros((len(fates), 3), np.int32)
    actions[:, 0], actions[0, 1] = fates, end
    return actions


# --- every game ---------------------------------------------------------------------------------
@pytest.mark.parametrize("game", GAMES)
def test_every_game_shows_what_its_vector_env_shows(game):
    short = short_episodes(game)
    env, plain = (make(game, 3, seed=4, config=short) for make in (sb3.make, pufferenv.make))
    np.testing.assert_array_equal(env.reset(), plain.reset()[0])
    env.vector_env.action_space.seed(0)
    kept, ends = [], 0
    for _ in range(150):
        actions = env.vector_env.action_space.sample()
        acted = plain.alive.copy()
        seen, rewards, dones, infos = env.step(actions)
        wanted, their_rewards, terminations, truncations, extra = plain.step(actions)
        np.testing.assert_array_equal(seen, wanted)
        np.testing.assert_array_equal(rewards, their_rewards)
        np.testing.assert_array_equal(dones & acted, terminations | truncations)
        assert (dones & ~acted == plain.alive & ~acted).all()
        for place, info in enumerate(infos):
            assert ("terminal_observation" in info) == dones[place]
            if not dones[place]:
                continue
            assert info["TimeLimit.truncated"] is bool(truncations[place])
            assert ("episode" in info) == acted[place]
            last = info["terminal_observation"]
            assert last.shape == wanted.shape[1:] and last.dtype == wanted.dtype
            if "final_obs" in extra and extra["_final_obs"][place]:
                np.testing.assert_array_equal(last, extra["final_obs"][place])
                ends += 1
                ends += 1
        kept.append((seen, wanted.copy(), rewards, their_rewards.copy()))
    assert ends > 0
    for seen, wanted, rewards, their_rewards in kept:  # nothing was overwritten
        np.testing.assert_array_equal(seen, wanted)
        np.testing.assert_array_equal(rewards, their_rewards)


@pytest.mark.parametrize("game", [name for name in GAMES if name != "probe"])
def test_every_game_is_trained_on(game):
    model = PPO("MlpPolicy", sb3.make(game, 2, seed=1), seed=0, **SMALL)
    model.learn(2 * model.n_envs * 32)
    assert model.num_timesteps == 2 * model.n_envs * 32
    assert np.isfinite(model.rollout_buffer.advantages).all()


@pytest.mark.parametrize("game", [name for name in GAMES if sb3.make(name).num_envs == 1])
def test_its_own_check_passes_every_game_of_one_agent(game):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message=".*neither an image")  # squared's grid
        check_env(gymnasium.make(f"puffer/{game}-v0", disable_env_checker=True).unwrapped)


def test_an_algorithm_that_does_not_know_both_kinds_of_action_says_so():
    with pytest.raises(AssertionError, match=r"only supports .* but Dict\("):
        PPO("MlpPolicy", sb3.make("probe", 2))


# --- against its own vector env -----------------------------------------------------------------
def test_every_step_is_as_dummy_vec_env_has_it():
    ours = sb3.make("squared", 8, seed=7, size=SIZE)
    theirs = DummyVecEnv([Squared] * 8)
    theirs._seeds = env_seeds(7, 8).tolist()
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    cuts = 0
    for _ in range(400):
        actions = actions_for(rng, 8)
        *mine, infos = ours.step(actions)
        *wanted, their_infos = theirs.step(actions)
        for got, want in zip(mine, wanted, strict=True):
            np.testing.assert_array_equal(got, want)
            assert got.dtype == want.dtype
        for info, their in zip(infos, their_infos, strict=True):
            assert info.get("TimeLimit.truncated", False) == their["TimeLimit.truncated"]
            cuts += their["TimeLimit.truncated"]
            assert set(their) <= {*info, "TimeLimit.truncated"}
            for key in set(their) - {"TimeLimit.truncated"}:
                np.testing.assert_array_equal(info[key], their[key])
    assert cuts > 20


@pytest.mark.parametrize("game", ["squared", "cartpole"])
def test_episodes_are_counted_as_vec_monitor_counts_them(game):
    ours = sb3.make(game, 4, seed=2)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        theirs = VecMonitor(sb3.make(game, 4, seed=2), info_keywords=("length",))
    ours.reset(), theirs.reset()
    ours.vector_env.action_space.seed(0)
    count = 0
    for _ in range(300):
        actions = ours.vector_env.action_space.sample()
        *_, mine = ours.step(actions)
        *_, wanted = theirs.step(actions)
        for one, other in zip(mine, wanted, strict=True):
            assert ("episode" in one) == ("episode" in other)
            if "episode" in one:
                count += 1
                assert one["episode"]["l"] == other["episode"]["l"] == one["length"]
                assert one["episode"]["r"] == pytest.approx(other["episode"]["r"])
                assert other["episode"]["length"] == one["length"]
    assert count == theirs.episode_count > 10


def test_seed_and_reset_give_the_same_again_and_other_seeds_do_not():
    env = sb3.make("squared", 4)
    assert env.seed(5) == [5, 6, 7, 8]
    first = env.reset()
    later = env.reset()  # a seed is used for one reset
    env.seed(5)
    np.testing.assert_array_equal(env.reset(), first)
    np.testing.assert_array_equal(env.reset(), later)
    env.seed(6)
    np.testing.assert_array_equal(env.reset()[:3], first[1:])
    assert not np.array_equal(first, later)


# --- infos --------------------------------------------------------------------------------------
def test_what_a_wrapper_writes_into_an_info_is_gone_in_the_next_step():
    env = script()
    infos = env.step(fates(0, 0, 0))[3]
    infos[1]["mine"] = 1
    infos[2] = {"theirs": 2}
    again = env.step(fates(0, 0, 0))[3]
    assert again == [{}, {}, {}]
    assert infos == [{}, {"mine": 1}, {"theirs": 2}]
    assert len({id(info) for info in again}) == 3


def test_infos_of_an_end_are_new_dicts_each():
    env = script()
    before = env.step(fates(0, 0, 0))[3]
    ends = [env.step(fates(0, 0, 0, end=2))[3] for _ in range(2)]
    assert before == [{}, {}, {}]
    for info in ends[0]:
        info["terminal_observation"] = None  # VecNormalize writes to it
    assert [info["terminal_observation"][2] for info in ends[1]] == [2, 2, 2]
    assert env.step(fates(0, 0, 0))[3] == [{}, {}, {}]


def test_a_death_a_cut_and_a_second_life_are_three_different_ends():
    env = script()
    env.step(fates(0, 0, 0))
    seen, rewards, dones, infos = env.step(fates(1, 2, 3))  # dies, is cut short, dies and respawns
    assert rewards.tolist() == [1, 1001, 2001]
    assert dones.all()
    assert [info["TimeLimit.truncated"] for info in infos] == [False, True, False]
    assert [info["terminal_observation"].tolist()[1:] for info in infos] == [
        [0, 0, 0],
        [1, 1, 2],
        [0, 0, 0],
    ]
    assert [info["episode"]["l"] for info in infos] == [2, 2, 2]
    assert [info["episode"]["r"] for info in infos] == [1, 2001, 4001]
    assert seen[:, 1:].tolist() == [[0, 0, 0], [0, 0, 0], [2, 2, 0]]
    assert env.get_attr("alive") == [False, False, True]


def test_the_dead_idle_and_are_done_when_they_enter_again():
    env = script()
    env.step(fates(1, 0, 0))
    seen, rewards, dones, infos = env.step(fates(0, 0, 0))
    assert (seen[0] == 0).all()
    assert rewards[0] == 0
    assert not dones.any()
    seen, _, dones, infos = env.step(fates(4, 0, 0))
    assert dones.tolist() == [True, False, False]
    assert not infos[0].pop("terminal_observation").any()
    assert infos[0] == {"TimeLimit.truncated": False}
    assert seen[0].tolist()[1:] == [0, 2, 0]
    *_, infos = env.step(fates(1, 0, 0))
    assert infos[0]["episode"]["l"] == 1  # without the idle steps


def test_a_games_log_stands_in_the_infos_of_all_its_agents():
    env = sb3.make(load_game("script"), 2, agents=2)
    env.reset()
    env.step(fates(0, 0, 0, 0))
    infos = env.step(fates(1, 0, 0, 0, end=1))[3]
    assert [info.get("length") for info in infos] == [2, 2, None, None]
    assert infos[2:] == [{}, {}]


# --- pictures -----------------------------------------------------------------------------------
def test_pictures_are_one_per_place_and_one_of_all():
    env = sb3.make("squared", 3, seed=1, render_mode="rgb_array", render_size=40)
    env.reset()
    assert env.render_mode == "rgb_array"
    frames = env.vector_env.render()
    for one, other in zip(env.get_images(), frames, strict=True):
        np.testing.assert_array_equal(one, other)
    height, width = frames[0].shape[:2]
    assert env.render().shape == (2 * height, 2 * width, 3)
    np.testing.assert_array_equal(env.env_method("render", indices=[2])[0], frames[2])


def test_stable_baselines3_records_a_video(tmp_path):
    pytest.importorskip("moviepy", reason="VecVideoRecorder needs moviepy")
    env = sb3.make("cartpole", 2, seed=1, render_mode="rgb_array", render_size=64)
    assert env.metadata["render_fps"] == env.vector_env.metadata["render_fps"]
    recorder = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=5)
    recorder.reset()
    for _ in range(6):
        recorder.step(np.zeros(2, np.int64))
    recorder.close()
    assert [file.suffix for file in tmp_path.iterdir()] == [".mp4"]


# --- attributes ---------------------------------------------------------------------------------
def test_attributes_are_one_per_place():
    env = sb3.make("squared", 3, size=9)
    assert env.get_attr("size") == [9, 9, 9]
    assert env.get_attr("render_mode", 1) == [None]
    assert not env.has_attr("level")
    env.set_attr("level", 4, indices=[0, 2])
    env.set_attr("level", 5, indices=1)
    assert env.get_attr("level") == [4, 5, 4]
    assert env.get_attr("level", range(1, 3)) == [5, 4]
    env.set_attr("double", lambda x: 2 * x)
    assert env.env_method("double", 21, indices=[1]) == [42]
    assert env.get_images() == [None, None, None]
    assert env.env_is_wrapped(Monitor, indices=0) == [True]
    assert env.env_is_wrapped(VecMonitor) == [False] * 3


def test_wrong_uses_name_what_is_legal():
    env = sb3.make("squared", 3)
    with pytest.raises(AttributeError, match=r"has no attribute 'sizes'; it has .*size"):
        env.get_attr("sizes")
    with pytest.raises(AttributeError, match="squared: size cannot be changed; give it to"):
        env.set_attr("size", 5)
    with pytest.raises(AttributeError, match="squared has no action masks"):
        env.action_masks()
    env.set_options({"level": 1})
    with pytest.raises(ValueError, match="squared takes no options at reset"):
        env.reset()
    with pytest.raises(ValueError, match="stable-baselines3 needs SameStep"):
        sb3.PufferVecEnv(pufferenv.make("squared", 3, autoreset_mode="next_step"))


def test_masks_are_those_of_the_game_and_the_dead_may_do_anything():
    env = sb3.make(load_game("masked"), 2)
    env.reset()
    env.step(np.zeros((4, 2), np.int64))
    masks = env.env_method("action_masks")
    assert env.has_attr("action_masks")
    assert [mask.tolist() for mask in masks] == [[False, True, True, True, False, True, False]] * 4
    assert env.get_attr("action_masks", 2)[0]().tolist() == masks[2].tolist()
    env.vector_env.alive[1] = False
    assert env.action_masks()[1].all()
    assert not sb3.make("squared", 2).has_attr("action_masks")


# --- its wrappers and algorithms ----------------------------------------------------------------
def test_its_wrappers_run_on_it():
    env = sb3.make("cartpole", 4, seed=1)
    env = VecFrameStack(VecNormalize(VecCheckNan(env, raise_exception=True)), 3)
    assert env.reset().shape == (4, 12)
    ends = 0
    for _ in range(100):
        seen, _, dones, infos = env.step(np.ones(4, np.int64))
        assert seen.shape == (4, 12)
        for place in np.flatnonzero(dones):
            ends += 1
            last = infos[place]["terminal_observation"]
            assert last.shape == (12,)
            assert not np.array_equal(last, seen[place])
            assert (seen[place, :8] == 0).all()  # the stack was cleared
    assert ends > 20


def test_a_rollout_buffer_holds_what_the_game_did_and_bootstraps_what_was_cut():
    model = PPO("MlpPolicy", sb3.make("squared", 8, size=SIZE), n_steps=128, seed=0)
    model.learn(8 * 128)
    buffer = model.rollout_buffer
    plain = pufferenv.make("squared", 8, size=SIZE)
    seen, over = plain.reset(seed=range(8))[0], np.ones(8, np.bool_)
    bonus = []
    actions = buffer.actions.reshape(8, 128, -1)  # training flattened it, env by env
    for t in range(128):
        kept = buffer.observations.reshape(8, 128, SIZE, SIZE)[:, t]
        np.testing.assert_array_equal(kept, seen)
        np.testing.assert_array_equal(buffer.episode_starts[t], over)
        seen, rewards, terminations, truncations, _ = plain.step(actions[:, t, 0].astype(np.int64))
        over = terminations | truncations
        np.testing.assert_array_equal(buffer.rewards[t][~truncations], rewards[~truncations])
        bonus += (buffer.rewards[t] - rewards)[truncations].tolist()
    assert len(bonus) > 3
    assert all(bonus)


def test_an_off_policy_buffer_holds_final_observations():
    env = sb3.make("squared", 4, size=SIZE)
    model = DQN("MlpPolicy", env, learning_starts=10**6, buffer_size=800, seed=0)
    model.learn(800)
    buffer = model.replay_buffer
    plain = pufferenv.make("squared", 4, size=SIZE)
    plain.reset(seed=range(4))
    cuts = 0
    for t in range(200):
        *_, terminations, truncations, infos = plain.step(buffer.actions[t, :, 0])
        ends = terminations | truncations
        np.testing.assert_array_equal(buffer.dones[t], ends)
        np.testing.assert_array_equal(buffer.timeouts[t], truncations)
        if ends.any():
            np.testing.assert_array_equal(
                buffer.next_observations[t][ends], infos["final_obs"][ends]
            )
        cuts += truncations.sum()
    assert cuts > 10


def test_evaluation_takes_our_episodes():
    env = sb3.make("cartpole", 4, seed=1)
    model = PPO("MlpPolicy", env, seed=0, **SMALL)
    returns, lengths = evaluate_policy(model, env, 9, return_episode_rewards=True)
    assert len(returns) == 9
    assert returns == lengths  # the reward is 1 per step


def test_what_is_learnt_shows_in_its_log():
    model = PPO("MlpPolicy", sb3.make("cartpole", 16, seed=1), seed=0, **SMALL)
    model.learn(16 * 32 * 4)
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert len(lengths) > 50
    assert 10 < np.mean(lengths) < 60


def test_maskable_ppo_makes_no_illegal_move():
    contrib = pytest.importorskip("sb3_contrib", reason="needs pip install sb3-contrib")
    env = sb3.make(load_game("masked"), 4)
    model = contrib.MaskablePPO("MlpPolicy", env, seed=0, **SMALL)
    model.learn(8 * 32 * 2)
    log = env.vector_env.log()
    assert log["episodes"][0] == 4 * 5
    assert log["score"][2] == 0
