"""RLlib: its multi-agent episodes accept every game's lives, and its env runners sample games."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ray", reason="pip install 'pufferenv[rllib]'")

from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from pufferenv import games
from pufferenv.adapters.rllib import PufferMultiAgentEnv
from tests.env.adapters.test_gymnasium import SINGLE
from tests.env.adapters.test_pettingzoo import every_game
from tests.support.games import load_game

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@every_game
def test_its_multi_agent_episode_takes_every_life(game, config):
    env = PufferMultiAgentEnv({"game": game, "lives": 100, **config})
    for seed in range(3):
        observations, infos = env.reset(seed=seed)
        episode = MultiAgentEpisode(
            observation_space=env.observation_spaces, action_space=env.action_spaces
        )
        episode.add_env_reset(observations=observations, infos=infos)
        earned = dict.fromkeys(observations, 0.0)
        while not episode.is_done:
            assert set(episode.get_agents_to_act()) == set(env.env.agents)
            actions = {name: env.get_action_space(name).sample() for name in env.env.agents}
            observations, rewards, terminateds, truncateds, infos = env.step(actions)
            for name, reward in rewards.items():
                earned[name] = earned.get(name, 0) + reward
            episode.add_env_step(
                observations=observations,
                actions=actions,
                rewards=rewards,
                infos=infos,
                terminateds=terminateds,
                truncateds=truncateds,
            )
        lives = episode.agent_episodes
        assert all(life.is_done for life in lives.values())
        assert {name: life.get_return() for name, life in lives.items()} == pytest.approx(earned)


def test_an_episode_is_over_when_nobody_is_left_for_whatever_reasons():
    env = PufferMultiAgentEnv({"game": load_game("script"), "agents": 2})
    for end, reason in ((1, "terminated"), (2, "truncated")):
        env.reset()
        *_, terminateds, truncateds, _ = env.step({"agent_0": [0, 0, 0], "agent_1": [1, 0, 0]})
        assert terminateds == {"agent_0": False, "agent_1": True, "__all__": False}
        assert truncateds == {"agent_0": False, "agent_1": False, "__all__": False}
        *_, terminateds, truncateds, _ = env.step({"agent_0": [0, end, 0]})
        assert terminateds["__all__"] == (reason == "terminated")
        assert truncateds["__all__"] == (reason == "truncated")
    env.reset()
    *_, terminateds, truncateds, _ = env.step({"agent_0": [0, 2, 0], "agent_1": [1, 0, 0]})
    assert (terminateds["__all__"], truncateds["__all__"]) == (
        False,
        True,
    )  # each for its own reason


def test_an_episode_ends_with_the_last_of_its_lives_though_another_begins():
    env = PufferMultiAgentEnv({"game": load_game("script"), "agents": 1, "lives": 2})
    env.reset()
    observations, rewards, terminateds, truncateds, infos = env.step({"agent_0": [3, 0, 0]})
    assert env.agents == list(observations) == list(rewards) == list(infos) == ["agent_0"]
    assert terminateds == {"agent_0": True, "__all__": True}
    assert truncateds == {"agent_0": False, "__all__": False}
    assert list(env.reset()[0]) == env.agents == ["agent_0"]


@pytest.mark.parametrize("name", SINGLE)
def test_its_env_runner_steps_games_of_one_agent_by_the_registry(name):
    config = PPOConfig().environment(f"pufferenv:puffer/{name}-v0")
    config.env_runners(
        num_envs_per_env_runner=4,
        gym_env_vectorize_mode="vector_entry_point",
        env_to_module_connector=lambda env, spaces, device: FlattenObservations(),
    )
    runner = SingleAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=400, random_actions=True)
    assert sum(len(episode) for episode in episodes) >= 400
    for episode in episodes:
        assert np.isfinite(episode.get_rewards()).all()
        assert len(episode.get_observations()) == len(episode) + 1
    runner.stop()


@pytest.mark.parametrize("name", games.names())
def test_its_env_runner_steps_games_of_many_agents(name):
    config = PPOConfig().environment(
        PufferMultiAgentEnv, env_config={"game": name, "flatten": True, "lives": 50}
    )
    config.env_runners(num_envs_per_env_runner=2)
    config.multi_agent(policies={"all"}, policy_mapping_fn=lambda agent_id, episode, **_: "all")
    runner = MultiAgentEnvRunner(config=config)
    episodes = runner.sample(num_timesteps=100, random_actions=True)
    assert sum(len(episode) for episode in episodes) >= 100
    for episode in episodes:
        for life in episode.agent_episodes.values():
            assert all(seen.dtype == np.float32 for seen in life.get_observations())
    runner.stop()


def test_a_config_without_a_game_says_how_to_give_one():
    with pytest.raises(
        ValueError, match=r'env_config has no game: give one, for example \{"game": "snake"\}'
    ):
        PufferMultiAgentEnv({})


def test_it_is_drawn_as_everybody_sees_it():
    env = PufferMultiAgentEnv({"game": "tag", "seed": 1, "render_mode": "rgb_array"})
    env.reset()
    assert env.render_mode == "rgb_array"
    np.testing.assert_array_equal(env.render(), env.env.render())
    assert env.render().dtype == np.uint8
