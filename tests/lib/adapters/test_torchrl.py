"""torchrl: our EnvBase passes its checks and agrees with the vector env in rollouts."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

import pufferenv
from pufferenv import games
from tests.support.games import load_game, short_episodes

pytest.importorskip("torchrl", reason="needs pip install 'pufferenv[torchrl]'")
import torch
from torchrl.collectors import Collector
from torchrl.envs import (
    ActionMask,
    RewardSum,
    SerialEnv,
    StepCounter,
    TransformedEnv,
    check_env_specs,
)
from torchrl.objectives.value.functional import generalized_advantage_estimate

from pufferlib.adapters import torchrl

GAMES = games.names()
KINDS = ("discrete", "continuous")  # kinds of action, for a game that has both


def cartpole(num_envs=4, **options):
    return torchrl.make("cartpole", num_envs, seed=1, **options)


def script(num_envs=1, agents=3):
    """Make and reset `script`, a game whose actions decide what happens."""
    env = torchrl.make(load_game("script"), num_envs, agents=agents)
    return env, env.reset()


def step(env, tensordict, *fates, end=0):
    """Step `script` with one fate per agent of one env; return "next"."""
    actions = torch.zeros(*env.batch_size, len(fates), 3, dtype=torch.int64)
    actions[..., 0], actions[..., 0, 1] = torch.tensor(fates), end
    tensordict = tensordict.clone().set(("agents", "action"), actions)
    return env.step(tensordict)["next"]


# --- every game -------------------------------------------------------------------------------
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("game", GAMES)
def test_every_game_passes_torchrls_own_check(game, copy):
    check_env_specs(torchrl.make(game, 3, copy=copy), seed=0, break_when_any_done="both")


@pytest.mark.parametrize("game", GAMES)
def test_every_game_shows_what_its_vector_env_shows(game):
    short = short_episodes(game)
    env = torchrl.make(game, 3, seed=4, config=short)
    plain = pufferenv.make(game, 3, seed=4, autoreset_mode="disabled", config=short)
    each = plain.env_agents
    torch.manual_seed(0)
    data = env.rollout(120, break_when_any_done=False)
    agents, later = data, data["next"]
    if each > 1:
        agents, later = agents["agents"], later["agents"]
    seen = plain.reset()[0]
    ends = 0
    for t in range(data.shape[1]):
        now = agents[:, t]
        shape = now.batch_size.numel()
        alive = plain.alive.copy()
        np.testing.assert_array_equal(now["observation"].flatten(0, now.ndim - 1), seen)
        if each > 1:
            np.testing.assert_array_equal(now["mask"].flatten(), alive)
        action = now["action"]
        if game == "probe":
            action = {key: action[key].reshape(shape, -1).numpy() for key in KINDS}
        else:
            action = action.reshape(shape, *action.shape[now.ndim :]).numpy()
        wanted, rewards, terminations, truncations, _ = plain.step(action)
        after = later[:, t]
        np.testing.assert_array_equal(after["observation"].flatten(0, now.ndim - 1), wanted)
        np.testing.assert_array_equal(after["reward"].flatten(), rewards)
        np.testing.assert_array_equal(after["terminated"].flatten(), terminations | ~alive)
        np.testing.assert_array_equal(after["truncated"].flatten(), truncations)
        over = plain.needs_reset if each > 1 else terminations | truncations
        np.testing.assert_array_equal(data["next", "done"][:, t, 0], over)
        seen = wanted
        if over.any():
            ends += over.sum()
            seen = plain.reset(options={"reset_mask": over.repeat(each)})[0]
    assert ends > 0


# --- dones ------------------------------------------------------------------------------------
def test_a_death_and_a_cut_end_a_life_and_not_the_episode():
    env, first = script()
    after = step(env, first, 1, 2, 0)
    agents = after["agents"]
    assert agents["terminated"].flatten().tolist() == [True, False, False]
    assert agents["truncated"].flatten().tolist() == [False, True, False]
    assert agents["done"].flatten().tolist() == [True, True, False]
    assert agents["mask"].flatten().tolist() == [False, False, True]
    assert agents["observation"][0, :, 1:].tolist() == [[0, 0, 0], [1, 1, 1], [2, 1, 1]]
    assert agents["reward"].flatten().tolist() == [0, 1000, 2000]
    assert not after["done"].any()


def test_the_dead_are_terminated_until_they_have_acted_again():
    env, first = script()
    step(env, first, 1, 0, 0)
    after = step(env, first, 4, 0, 0)["agents"]
    assert after["mask"].all()
    assert after["terminated"].flatten().tolist() == [True, False, False]
    after = step(env, first, 0, 0, 0)["agents"]
    assert not after["terminated"].any()


@pytest.mark.parametrize(("end", "reason"), [(1, "terminated"), (2, "truncated")])
def test_the_episodes_end_is_the_roots_and_of_all_who_lived(end, reason):
    env, first = script()
    step(env, first, 1, 0, 0)
    after = step(env, first, 0, 0, 0, end=end)
    assert after["done"].item()
    assert after[reason].item()
    assert after["agents", reason].flatten()[1:].tolist() == [True, True]
    assert after["agents", "terminated"].flatten()[0]
    other = "truncated" if reason == "terminated" else "terminated"
    assert not after[other].any()
    again = step(env, first, 0, 0, 0)  # it waits for its reset
    assert again["done"].item() and again[reason].item()
    assert again["agents", "reward"].sum() == 0
    fresh = env.reset()
    assert not fresh["done"].any() and not fresh["agents", "done"].any()
    assert fresh["agents", "mask"].all()


def test_a_reset_of_some_leaves_the_others_where_they_are():
    env, first = script(num_envs=3, agents=2)
    middle = step(env, first, 0, 0)
    middle["_reset"] = torch.tensor([[False], [True], [False]])
    after = env.reset(middle)
    assert after["agents", "observation"][..., 2].tolist() == [[1, 1], [2, 2], [1, 1]]
    assert after["agents", "observation"][..., 3].tolist() == [[1, 1], [0, 0], [1, 1]]


def test_only_envs_that_wait_can_be_left_out_of_a_step():
    env, first = script(num_envs=2, agents=1)
    assert first["observation"].shape == (2, 4)  # one agent: no "agents" group
    actions = torch.tensor([[0, 1, 0], [0, 0, 0]])
    middle = env.step(first.set("action", actions))["next"]
    assert middle["done"].flatten().tolist() == [True, False]
    actions[0, 1] = 0
    middle["_step"] = torch.tensor([[False], [True]])
    after = env.step(middle.set("action", actions))["next"]
    assert after["done"].flatten().tolist() == [True, False]
    assert after["reward"].flatten().tolist() == [0, 1]
    middle["_step"] = torch.tensor([[True], [False]])
    with pytest.raises(ValueError, match="_step leaves out env 1, which is in the middle of an"):
        env.step(middle)


# --- memory -----------------------------------------------------------------------------------
def test_copies_are_kept_and_views_are_the_engines_memory():
    for copy in (True, False):
        env = cartpole(copy=copy)
        first = env.reset()
        start = first["observation"].clone()
        after = env.rand_step(first)["next"]
        kept = after.clone()
        later = env.rand_step(after.exclude("action"))["next"]
        same = torch.equal(after["observation"], kept["observation"])
        assert same is copy
        assert torch.equal(first["observation"], start) is copy
        assert (later["observation"].data_ptr() == first["observation"].data_ptr()) is not copy
        array = env.vector_env.step(np.zeros(4, np.int64))[0]
        assert (later["observation"].data_ptr() == array.ctypes.data) is not copy


def test_tensors_outlive_their_env():
    env = cartpole(copy=False)
    seen = env.reset()["observation"]
    before = seen.clone()
    env.close()
    assert env.is_closed
    assert torch.equal(seen, before)


# --- rollouts and collectors --------------------------------------------------------------------
def test_seeds_give_the_same_rollout_again():
    env = cartpole()
    rollouts = []
    for seed in (3, 3, 4):
        env.set_seed(seed)
        torch.manual_seed(0)
        rollouts.append(env.rollout(20, break_when_any_done=False))
    assert (rollouts[0] == rollouts[1]).all()
    assert not torch.equal(rollouts[0]["observation"], rollouts[2]["observation"])


@pytest.mark.parametrize("total", [1, 3])
def test_a_collector_loses_no_reward_and_counts_none_twice(total):
    env = TransformedEnv(cartpole(8), RewardSum())
    collector = Collector(env, None, frames_per_batch=800, total_frames=-1)
    lengths = torch.zeros(8)  # steps of the current episodes
    episodes = 0
    for data in islice(collector, total):
        assert data.shape == (8, 100)
        for t in range(100):
            lengths += data["next", "reward"][:, t, 0]
            assert torch.equal(data["next", "episode_reward"][:, t, 0], lengths)
            done = data["next", "done"][:, t, 0]
            episodes += int(done.sum())
            lengths[done] = 0
        same = data["next", "observation"][:, :-1] == data["observation"][:, 1:]
        assert (same.all(-1) == ~data["next", "done"][:, :-1, 0]).all()
    log = env.base_env.vector_env.log()
    assert log["episodes"][0] == episodes > 10 * total
    assert log["length"][0] * episodes + lengths.sum() == 800 * total
    collector.shutdown()


def test_identifiable_steps_arrive_whole():
    env = torchrl.make("probe", 4, seed=2, steps=12, shorter=9, die=0.1, spawn=0.3, cut=0.05)
    collector = Collector(env, None, frames_per_batch=4 * 100, total_frames=-1)
    data = next(iter(collector))
    agents = data["agents"]
    alive = agents["mask"]
    tag, agent, life, age = agents["observation"].unbind(-1)
    first, second = agents["action", "discrete"].unbind(-1)
    push = agents["action", "continuous"][..., 0]
    who = (tag + 31 * agent + 17 * life + 7 * age) % 1024
    wanted = 16 * who + 5 * first + second + push / 2
    reward = data["next", "agents", "reward"][..., 0]
    assert 0.3 < alive.float().mean() < 0.95
    torch.testing.assert_close(reward[alive], wanted[alive])
    assert (reward[~alive] == 0).all()
    log = env.vector_env.log()
    over = data["next", "done"][..., 0]
    ended = sum(reward[e, : over[e].nonzero().max() + 1].sum() for e in range(4))
    count = log["episodes"][0]
    assert count == over.sum() > 10
    assert ended.item() == pytest.approx(log["score"][0] * count, rel=1e-5)
    collector.shutdown()


def test_no_value_of_a_dead_step_reaches_a_live_one():
    env = torchrl.make("probe", 4, seed=2, steps=12, shorter=9, die=0.1, spawn=0.3, cut=0.05)
    data = env.rollout(100, break_when_any_done=False)
    agents, later = data["agents"], data["next", "agents"]

    def advantages(of_zeros):
        """Return GAE with the sum of an observation as value; dead agents have value `of_zeros`."""
        values = [td["observation"].sum(-1, keepdim=True) / 1e6 for td in (agents, later)]
        values = [torch.where(value == 0, of_zeros, value) for value in values]
        rest = (later[key] for key in ("reward", "done", "terminated"))
        advantage, _ = generalized_advantage_estimate(
            0.9, 0.9, *(part.transpose(1, 2) for part in (*values, *rest))
        )
        return advantage.transpose(1, 2)[..., 0]

    one, other = advantages(0.0), advantages(1e4)
    alive = agents["mask"]
    assert torch.equal(one[alive], other[alive])
    assert not torch.equal(one[~alive], other[~alive])


def test_a_wrapper_may_end_episodes_early():
    env = TransformedEnv(cartpole(4), StepCounter(max_steps=5))
    data = env.rollout(20, break_when_any_done=False)
    assert data["next", "truncated"][:, 4::5].float().mean() > 0.9
    assert data["step_count"].max() == 4
    lengths = env.base_env.vector_env.log()["length"] if data["next", "terminated"].any() else None
    assert lengths is None or lengths[3] <= 5


def test_random_actions_keep_to_the_masks():
    env = torchrl.make(load_game("masked"), 4)
    masked = TransformedEnv(env, ActionMask(("agents", "action"), ("agents", "action_mask")))
    data = masked.rollout(30, break_when_any_done=False)
    assert data["next", "done"].sum() == 8
    assert data["next", "agents", "reward"].sum() == 0
    assert env.vector_env.log()["score"][2] == 0


def test_several_run_in_a_serial_env():
    env = SerialEnv(2, lambda: cartpole(3))
    data = env.rollout(15, break_when_any_done=False)
    assert data.shape == (2, 3, 15)
    env.close()


# --- errors -----------------------------------------------------------------------------------
def test_wrong_uses_say_what_is_legal():
    with pytest.raises(ValueError, match="torchrl resets the envs itself"):
        torchrl.PufferTorchEnv(pufferenv.make("cartpole", 2))
    env, first = script(num_envs=2, agents=1)
    env.step(first.set("action", torch.tensor([[0, 0, 1], [0, 0, 0]])))
    with pytest.raises(RuntimeError, match="script begins an episode without its only agent"):
        env.reset()
