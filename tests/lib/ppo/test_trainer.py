"""The training loop: a batch holds what happened, and a run can be repeated and resumed."""

import math
import os

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ops.ppo_loss import ppo_loss
from pufferlib.ops.reference import logprob_and_entropy
from pufferlib.ppo.learner import TrainingDiverged
from pufferlib.ppo.trainer import Trainer
from pufferlib.runtime.device import page_locked
from pufferlib.runtime.timer import SECTIONS
from tests.support.games import load_game, training_columns

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")
MORTAL = {"die": 0.05, "respawn": 0.5, "spawn": 0.2, "cut": 0.03, "shorter": 20, "absent": 0.2}


def make(game="probe", env=None, policy=None, num_envs=6, num_groups=1, **train):
    """Return a small trainer on one thread; probe's observations are normalized to order 1.

    In float32: `auto` measures on some CPUs whether bfloat16 pays, so that two trainers may differ.
    """
    defaults = {"horizon": 16, "threads": 1, "device": "cpu", "total_timesteps": 10**6}
    defaults["precision"] = "float32"
    if game == "probe":
        defaults |= {"norm_obs": True, "reward_scale": 1e-4}
    trainer = Trainer(
        game,
        env or {},
        VecOptions(num_envs=num_envs, num_threads=1, num_groups=num_groups),
        TrainOptions(**{**defaults, **train}),
        PolicyOptions(**{"hidden_size": 16, **(policy or {})}),
    )
    if game == "probe":
        norm = trainer.policy.norm
        norm.mean.copy_(torch.tensor([2.0**23, 0, 0, 0]))
        norm.scale.copy_(torch.tensor([2.0**-23, 0.25, 0.25, 0.05]))
    return trainer


def collect(trainer):
    """Fill a batch; return its rows' columns, each (B, H, ...)."""
    trainer._collect()
    rows = trainer.env.engine.batch()
    columns = {k: c for k, c in trainer.env.arrays.items() if k.startswith("pool_")}
    return {name: column[rows].copy() for name, column in columns.items()}


def value_of(trainer, observations):
    with torch.no_grad():
        flat = torch.from_numpy(np.ascontiguousarray(observations).reshape(-1, 4))
        output, _ = trainer.policy(flat, None)
        return output.value.numpy().reshape(observations.shape[:-1])


def rewards_of(batch):
    """Return the rewards that probe gives for the observations and actions of a batch."""
    tag, agent, life, step = np.moveaxis(batch["pool_observation"].astype(np.int64), -1, 0)
    first, second = np.moveaxis(batch["pool_action"], -1, 0)
    push = np.clip(batch["pool_axis"][..., 0], -1, 1)
    return 16 * ((tag + 31 * agent + 17 * life + 7 * step) % 1024) + 5 * first + second + push / 2


def test_every_slot_holds_one_transition_with_its_own_action_and_reward():
    trainer = make()
    seen = []
    for _ in range(3):
        batch = collect(trainer)
        np.testing.assert_allclose(batch["pool_reward"], rewards_of(batch), rtol=1e-6)
        seen.append(batch["pool_observation"].reshape(-1, 4))
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        trainer.env.engine.release()
    every = np.concatenate(seen)
    assert len(np.unique(every, axis=0)) == len(every) == 3 * 24 * 16
    trainer.close()


def test_steps_of_a_row_follow_each_other_until_the_life_ends():
    trainer = make()
    for _ in range(4):
        batch = collect(trainer)
        obs, done = batch["pool_observation"], batch["pool_done"]
        goes_on = done[:, :-1] == LIVE
        np.testing.assert_array_equal(obs[:, 1:][goes_on], (obs[:, :-1] + [0, 0, 0, 1])[goes_on])
        np.testing.assert_array_equal(
            obs[:, 1:][~goes_on][:, 2:],
            (obs[:, :-1][~goes_on] * [0, 0, 1, 0] + [0, 0, 1, 0])[:, 2:],
        )
        assert set(np.unique(done)) <= {LIVE, TERMINAL, TRUNCATED}
        trainer.env.engine.release()
    trainer.close()


@pytest.mark.parametrize("env", [{}, MORTAL])
def test_the_value_after_a_cut_life_and_after_a_row_is_that_of_what_comes_next(env):
    trainer = make(env=env)
    cut = ended = 0
    for _ in range(4):
        batch = collect(trainer)
        done = batch["pool_done"]
        np.testing.assert_allclose(
            batch["pool_value"], value_of(trainer, batch["pool_observation"]), rtol=1e-4, atol=1e-5
        )
        next_value = value_of(trainer, batch["pool_observation"] + np.float32([0, 0, 0, 1]))
        where = done == TRUNCATED
        where[:, -1] |= done[:, -1] == LIVE
        np.testing.assert_allclose(
            batch["pool_next_value"][where], next_value[where], rtol=1e-4, atol=1e-5
        )
        cut, ended = cut + (done == TRUNCATED).sum(), ended + (done[:, -1] == LIVE).sum()
        trainer.env.engine.release()
    assert cut > 0 and ended > 0
    trainer.close()


@pytest.mark.parametrize("env", [{}, MORTAL])
def test_advantages_are_those_of_the_definition(env):
    trainer = make(env=env, gamma=0.9, gae_lambda=0.8)
    collect(trainer)
    trainer.env.engine.release()
    batch = collect(trainer)
    trainer.batch.load(trainer.policy, trainer.version, 1e-4)
    got = training_columns(trainer)["advantage"]
    value, done, starts = (
        batch["pool_value"].astype(float),
        batch["pool_done"],
        batch["pool_segment_start"],
    )
    want = np.zeros_like(value)
    for b in range(len(value)):
        after = 0.0
        for t in reversed(range(16)):
            inside = t < 15 and done[b, t] == LIVE and not starts[b, t + 1]
            next_value = value[b, t + 1] if inside else batch["pool_next_value"][b, t]
            if done[b, t] == TERMINAL:
                next_value = 0.0
            delta = 1e-4 * batch["pool_reward"][b, t] + 0.9 * next_value - value[b, t]
            want[b, t] = after = delta + (0.9 * 0.8 * after if inside else 0.0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    trainer.close()


@pytest.mark.parametrize("name", ["mlp", "lstm", "mingru"])
@pytest.mark.parametrize("env", [{}, MORTAL])
def test_training_unrolls_a_batch_to_the_outputs_of_acting(name, env):
    trainer = make(env=env, policy={"name": name})
    for _ in range(4):
        batch = collect(trainer)
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        minibatch = trainer.batch.minibatch(torch.arange(trainer.sizes.batch_rows // 4))
        with torch.no_grad():
            output = trainer.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
        steps, n = minibatch.transitions, len(minibatch.obs)
        parts = output._asdict()
        del parts["value"]
        logprob, _ = logprob_and_entropy(
            **parts, sizes=trainer.sampler.head_sizes, action=steps.action, axis=steps.axis
        )
        close = {"rtol": 1e-4, "atol": 2e-5}
        np.testing.assert_allclose(output.value, batch["pool_value"][:n].reshape(-1), **close)
        np.testing.assert_allclose(logprob, batch["pool_logprob"][:n].reshape(-1), **close)
        np.testing.assert_array_equal(steps.value, batch["pool_value"][:n].reshape(-1))
        trainer.env.engine.release()
    trainer.close()


@pytest.mark.parametrize("name", ["lstm", "mingru"])
@pytest.mark.parametrize("env", [{}, MORTAL])
def test_a_recurrent_bootstrap_value_is_of_the_agents_own_state(name, env):
    trainer = make(env=env, policy={"name": name})
    checked = 0
    for _ in range(3):
        batch = collect(trainer)
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        state = trainer.batch._state(trainer.batch.rows)
        reset = torch.from_numpy(training_columns(trainer)["reset"])
        with torch.no_grad():
            for t in range(16):
                state = torch.where(reset[:, t, None], trainer.policy.initial_state(1), state)
                obs = torch.from_numpy(batch["pool_observation"][:, t])
                _, state = trainer.policy(obs, state)
                following, _ = trainer.policy(obs + torch.tensor([0.0, 0, 0, 1]), state)
                where = batch["pool_done"][:, t] == TRUNCATED
                where |= (batch["pool_done"][:, t] == LIVE) & (t == 15)
                np.testing.assert_allclose(
                    batch["pool_next_value"][:, t][where],
                    following.value.numpy()[where],
                    rtol=1e-4,
                    atol=2e-5,
                )
                checked += int(where.sum())
        trainer.env.engine.release()
    assert checked > 3 * 10
    trainer.close()


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_slots_of_older_weights_are_reevaluated_and_only_those(name):
    trainer = make(env=MORTAL, policy={"name": name}, batch_size=7 * 16)
    carried = 0
    for _ in range(12):
        batch = collect(trainer)
        rows = trainer.env.engine.batch()
        old = trainer.env.arrays["pool_version"][rows] < trainer.version
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        own = training_columns(trainer)
        np.testing.assert_array_equal(own["value"][~old], batch["pool_value"][~old])
        np.testing.assert_array_equal(own["logprob"][~old], batch["pool_logprob"][~old])
        minibatch = trainer.batch.minibatch(torch.arange(7)[: trainer.sizes.minibatch_rows])
        with torch.no_grad():
            output = trainer.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
        n = len(minibatch.obs)
        now = output.value.numpy().reshape(n, 16)
        np.testing.assert_allclose(own["value"][:n][old[:n]], now[old[:n]], rtol=1e-4, atol=2e-5)
        carried += int(old[:n].sum())
        trainer.learner.learn()
        trainer.env.engine.release()
        trainer.updates += 1
    assert carried > 0
    trainer.close()


@pytest.mark.parametrize("env", [{}, MORTAL])
def test_every_transition_is_trained_on_or_still_in_the_pool(env):
    trainer = make(env=env, num_envs=5, batch_size=16 * 16)
    for _ in range(5):
        metrics = trainer.update()
    done_with = trainer.updates * trainer.sizes.batch_size
    assert trainer.trained_steps == done_with
    assert metrics["rows/dropped"] == trainer.dropped == trainer.agent_steps - done_with >= 0
    trainer.close()


@pytest.mark.parametrize("groups", [1, 3])
def test_a_fixed_population_is_acted_on_where_its_observations_are(groups):
    trainer = make("cartpole", num_envs=32, num_groups=groups)
    sizes = [32] if groups == 1 else [10, 11, 11]
    seen = []
    backend, run, graphs = trainer.backend, trainer.thread_pool.run, []
    graph_of = backend._slice_graph
    backend._slice_graph = lambda *agents: graphs.append(graph_of(*agents)) or graphs[-1]
    trainer.thread_pool.run = lambda plan: (
        seen.append(torch.from_numpy(graphs[-1].obs.array)) or run(plan)
    )
    pool = trainer.env.arrays["pool_observation"]
    for _ in range(10):
        seen.clear()
        trainer._collect()
        trainer.env.engine.release()
        acting = seen[: 16 * groups]
        assert [len(obs) for obs in acting] == sizes * 16
        for obs in acting:
            place = obs.data_ptr() - pool.ctypes.data
            assert 0 <= place < pool.nbytes and place % 16 == 0
            assert obs.stride() == (16 * 4, 1)
    assert len(set(trainer.sampler.counts.tolist())) == 1  # each acted as often, by itself
    trainer.close()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no cores to be kept on here")
def test_learning_keeps_to_the_first_core_and_whatever_envs_start_may_run_on_any():
    trainer, stepping, learning = make(num_envs=16, threads=2), [], []
    step, clip, before = trainer.env.step, trainer.optimizer.clip, os.sched_getaffinity(0)
    trainer.env.step = lambda *given: stepping.append(os.sched_getaffinity(0)) or step(*given)
    trainer.optimizer.clip = lambda: learning.append(os.sched_getaffinity(0)) or clip()
    trainer.update()
    trainer.close()
    assert stepping and all(cores == before for cores in stepping)
    assert learning and all(cores == {min(before)} for cores in learning)


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_has_its_threads_back_when_all_is_done(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    trainer = make(num_envs=16, threads=threads)
    assert torch.get_num_threads() == 1
    trainer.close()
    trainer.close()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(before)


def without_time(metrics):
    timed = {"uptime", "sps"}
    return {k: v for k, v in metrics.items() if k not in timed and not k.startswith("time/")}


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("name", ["mlp", "lstm", "mingru"])
def test_the_same_seed_gives_the_same_run_bit_for_bit(name, groups):
    runs = []
    for _ in range(2):
        trainer = make(
            env=MORTAL, policy={"name": name}, num_groups=groups, seed=5, norm_return=True
        )
        metrics = [without_time(trainer.update()) for _ in range(3)]
        runs.append((metrics, trainer.state()))
        trainer.close()
    (metrics, (tensors, meta)), (metrics_2, (tensors_2, meta_2)) = runs
    np.testing.assert_equal(metrics, metrics_2)
    assert tensors.keys() == tensors_2.keys()
    assert all(torch.equal(tensors[name], tensors_2[name]) for name in tensors)
    assert without_time(meta) == without_time(meta_2)


def test_another_seed_gives_another_run():
    one, two = make(seed=1), make(seed=2)
    one.update(), two.update()
    assert not torch.equal(
        one.state()[0]["policy.first.weight"], two.state()[0]["policy.first.weight"]
    )
    one.close(), two.close()


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_state_is_taken_up_exactly(optimizer):
    trainer = make(env=MORTAL, optimizer=optimizer, norm_return=True)
    trainer.update(), trainer.update()
    tensors, meta = trainer.state()
    kept = {name: value.clone() for name, value in tensors.items()}
    dropped = trainer.dropped
    other = make(env=MORTAL, optimizer=optimizer, norm_return=True)
    other.load_state(kept, meta)
    tensors, again = other.state()
    assert tensors.keys() == kept.keys()
    assert all(torch.equal(tensors[name], kept[name]) for name in kept)
    assert without_time(again) == without_time(meta)
    assert (other.lost_steps, other.dropped) == (dropped, 0)
    assert (other.updates, other.agent_steps) == (trainer.updates, trainer.agent_steps)
    metrics = other.update()
    assert math.isfinite(metrics["loss/loss"]) and other.updates == trainer.updates + 1
    trainer.close(), other.close()


def test_a_resumed_run_does_not_play_the_same_episodes_again():
    trainer, other = make("cartpole"), make("cartpole")
    first = trainer.env.arrays["pool_observation"][0, 0].copy()
    np.testing.assert_array_equal(other.env.arrays["pool_observation"][0, 0], first)
    trainer.update()
    other.load_state(*trainer.state())
    assert not np.array_equal(other.env.arrays["pool_observation"][0, 0], first)
    trainer.close(), other.close()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.pop("policy.first.weight"), "policy first.weight"),
        (lambda t: t.update({"policy.first.weight": torch.zeros(2, 2)}), r"of shape \(2, 2\), the"),
        (
            lambda t: t.update({"optimizer.adam.first.weight.exp_avg": torch.zeros(3)}),
            r"shape \(3,\)",
        ),
        (
            lambda t: t.update({"optimizer.sgd.first.weight.step": torch.zeros(())}),
            "fits no parameter",
        ),
        (lambda t: t.update({"random.counts": torch.zeros(3, dtype=torch.int64)}), "random.counts"),
        (lambda t: t.update({"foo.bar": torch.zeros(3)}), "foo.bar, which no trainer has"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, text):
    trainer, other = make(seed=1), make(seed=2)
    trainer.update()
    tensors, meta = trainer.state()
    tensors = dict(tensors)
    change(tensors)
    before = {name: value.clone() for name, value in other.state()[0].items()}
    with pytest.raises(ValueError, match=text):
        other.load_state(tensors, meta)
    after = other.state()[0]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    trainer.close(), other.close()


@pytest.mark.parametrize("where", ["target", "gradient"])
def test_training_that_diverges_stops_before_the_weights_are_spoiled(where):
    trainer = make(update_epochs=1, minibatch_size=24 * 16)
    trainer.update()
    before = [p.detach().clone() for p in trainer.policy.parameters()]
    if where == "target":
        load = trainer.batch.load

        def spoiled(*args):
            load(*args)
            trainer.batch.pool["target"][trainer.batch.rows[3], 3] = math.nan

        trainer.batch.load = spoiled
    else:
        clip = trainer.optimizer.clip
        trainer.optimizer.clip = lambda: trainer.optimizer.grads[5:6].fill_(math.inf) and clip()
    name = {"target": "loss", "gradient": "gradient"}[where]
    with pytest.raises(
        TrainingDiverged, match=rf"{name} is (nan|inf) in update 2, after 768 agent steps"
    ):
        trainer.update()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.policy.parameters(), strict=True))
    trainer.close()


@pytest.mark.parametrize(
    "change",
    [
        lambda policy: policy.hidden[0].bias.requires_grad_(False),
        lambda policy: policy.hidden[0].double(),
        lambda policy: policy.load_state_dict(
            {name: tensor.clone() for name, tensor in policy.state_dict().items()}, assign=True
        ),
    ],
    ids=["frozen", "moved", "replaced"],
)
def test_a_policy_whose_weights_are_not_the_trained_ones_is_refused(change):
    trainer = make()
    trainer.policy.load_state_dict(trainer.policy.state_dict())
    trainer.update()
    change(trainer.policy)
    with pytest.raises(RuntimeError, match="of the policy was replaced, moved or frozen after"):
        trainer.update()
    trainer.close()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_that_were_changed_in_place_hold_from_the_next_update_on(precision):
    trainer = make(precision=precision)
    trainer.update()
    for parameter in (*trainer.policy.first.parameters(), *trainer.policy.hidden.parameters()):
        parameter.data.zero_()
    trainer.update()
    trainer.close()
    value = training_columns(trainer)["value"]  # from acting: the last bias
    assert (value == value[0, 0]).all()


def test_times_of_an_update_are_the_whole_of_it():
    trainer = make("cartpole", num_envs=32)
    ticks = []
    # All parts of the trainer share this timer.
    trainer.timer.__init__(clock=lambda: ticks.append(1) or len(ticks))
    whole = 0.0
    for _ in range(3):
        metrics = trainer.update()
        times = {k: v for k, v in metrics.items() if k.startswith("time/")}
        assert times.keys() == {f"time/{name}" for name in SECTIONS}
        assert min(times.values()) >= 0
        whole += sum(times.values())
        assert whole == len(ticks) - 2  # from the first tick to the one before the last
    trainer.close()


def test_an_update_stops_early_at_the_target_kl():
    trainer = make("cartpole", num_envs=32, update_epochs=50, target_kl=1e-9, minibatch_size=512)
    steps = []
    trainer.optimizer.step = lambda: (steps.append(1), trainer.optimizer.zero_grad())
    trainer.policy.heads.weights()[0].mul_(100)
    trainer.update()
    assert len(steps) == 50  # nothing moves: no divergence
    trainer.close()
    trainer = make("cartpole", num_envs=32, update_epochs=50, target_kl=1e-9, minibatch_size=512)
    trainer.update()
    assert trainer.optimizer.tensors()["steps"] == 2
    trainer.close()


def test_sizes_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match=r"minibatch_size=100 .* nearest legal: 96 or 128"):
        make(minibatch_size=100)
    with pytest.raises(ValueError, match=r"batch_size=100 .* nearest legal: 96 or 112"):
        make(batch_size=100)


def test_a_batch_that_the_population_does_not_divide_warns_and_trains():
    with pytest.warns(UserWarning, match="rows wait"):
        trainer = make("cartpole", num_envs=10, batch_size=16 * 15)
    for _ in range(4):
        metrics = trainer.update()
        assert math.isfinite(metrics["loss/loss"])
    assert metrics["rows/carried"] > 0
    trainer.close()


@pytest.mark.parametrize("device", ["cuda"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_an_error_that_says_so(device):
    with pytest.raises(ValueError, match="torch finds no GPU here"):
        make(device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["mlp", "lstm", "mingru"])
def test_a_gpu_trains_to_what_a_cpu_does(name):
    runs = {}
    for device in ("cpu", "cuda"):
        trainer = make(policy={"name": name}, env=MORTAL, device=device)
        trainer.update()
        runs[device] = {k: v.cpu().float() for k, v in trainer.state()[0].items() if "policy" in k}
        trainer.close()
    for name, value in runs["cpu"].items():
        torch.testing.assert_close(runs["cuda"][name], value, rtol=2e-2, atol=5e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_page_locked_memory_is_that():
    memory = page_locked("observation", (3, 4), np.dtype(np.float32))
    assert memory.shape == (3, 4) and torch.from_numpy(memory).is_pinned()


def score(trainer):
    """Train to the end; return the mean score of about the last 100 episodes."""
    scores = []
    while not trainer.finished:
        metrics = trainer.update()
        if "env/score" in metrics:
            scores += [metrics["env/score"]] * int(metrics["env/episodes"])
    trainer.close()
    return np.mean(scores[-100:])


def test_it_learns_squared():
    trainer = make(
        "squared",
        {"size": 5},
        {"hidden_size": 64},
        num_envs=64,
        total_timesteps=150_000,
        horizon=32,
        minibatch_size=512,
        update_epochs=4,
        learning_rate=4e-3,
        ent_coef=0.02,
        gamma=0.95,
    )
    assert score(trainer) > 0.85


@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_recurrent_policies_learn_cartpole(name):
    trainer = make(
        "cartpole",
        {},
        {"hidden_size": 32, "name": name, "activation": "tanh"},
        num_envs=128,
        total_timesteps=100_000,
        minibatch_size=1024,
        update_epochs=4,
        learning_rate=6e-3,
        gae_lambda=0.9,
        ent_coef=0.0,
        reward_scale=0.05,
    )
    assert score(trainer) > 66  # three times what chance gets


def test_it_learns_two_axes():
    trainer = make(
        load_game("continuous"),
        {},
        {"hidden_size": 32, "activation": "tanh"},
        num_envs=64,
        total_timesteps=150_000,
        minibatch_size=256,
        update_epochs=4,
        learning_rate=3e-3,
        ent_coef=0.0,
        gamma=0.95,
    )
    assert score(trainer) > -0.2  # at the best 0.11: from anywhere to the origin at full speed


def test_it_learns_three_heads_at_once():
    trainer = make(
        load_game("multihead"),
        {},
        {"hidden_size": 32},
        num_envs=64,
        total_timesteps=150_000,
        minibatch_size=256,
        update_epochs=4,
        learning_rate=3e-3,
        gamma=0.0,
    )
    assert score(trainer) > 0.8 * 3 * 16  # three digits in each of 16 steps


def test_masks_hold_in_sampling_probability_entropy_and_gradient():
    trainer = make(load_game("masked"), {}, {"hidden_size": 32}, num_envs=16, batch_size=20 * 16)
    carried = 0.0
    for _ in range(6):
        trainer._collect()
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        carried += trainer.batch.carried
        minibatch = trainer.batch.minibatch(torch.arange(trainer.sizes.minibatch_rows))
        steps, tick = minibatch.transitions, minibatch.obs[..., 0].reshape(-1, 1)
        legal = torch.cat([torch.arange(4) >= tick % 4, torch.arange(3) == tick % 3], 1)
        assert torch.equal(steps.mask.bool(), legal)
        taken = steps.action.long() + torch.tensor([0, 4])
        assert legal.gather(1, taken).all()
        with torch.no_grad():
            output = trainer.policy.unroll(minibatch.obs, None, minibatch.reset)
        logits = output.logits.requires_grad_()
        # The second head never has a choice: probability 1, entropy 0.
        only = logits.detach()[:, :4].masked_fill(~legal[:, :4], -torch.inf).log_softmax(1)
        want = only.gather(1, taken[:, :1]).squeeze(1)
        torch.testing.assert_close(steps.logprob, want, rtol=1e-4, atol=1e-5)
        loss, stats = ppo_loss(
            output._replace(logits=logits), steps, trainer.sampler.head_sizes, trainer.train
        )
        loss.backward()
        entropy = -(only.exp() * only.nan_to_num(neginf=0.0)).sum(1).mean().item()
        assert stats.entropy == pytest.approx(entropy, rel=1e-4)
        assert (logits.grad[~legal] == 0).all() and (logits.grad[:, 4:] == 0).all()
        assert (logits.grad[:, :4][(tick % 4 < 3).squeeze(1)] != 0).any()
        trainer.learner.learn()
        trainer.batch.release()
        trainer.updates += 1
    assert carried > 0
    assert trainer.env.log()["score"][:2] == (0, 0)  # the game counts illegal choices
    trainer.close()


def test_the_entropy_bonus_falls_as_the_step_size_does():
    trainer = make(total_timesteps=4 * 24 * 16, learning_rate=0.01, ent_coef=0.1, ent_final=0.5)
    seen = []
    while not trainer.finished:
        metrics = trainer.update()
        seen.append((metrics["learning_rate"], trainer.learner.train.ent_coef))
    assert_allclose(seen, [(0.01, 0.1), (0.0075, 0.0875), (0.005, 0.075), (0.0025, 0.0625)])
    trainer.close()


def test_several_heads_and_axes_and_every_switch_run_together():
    trainer = make(
        env=MORTAL,
        optimizer="muon",
        lr_schedule="cosine",
        norm_return=True,
        vf_clip_coef=0.2,
        reward_clip=1.0,
        weight_decay=0.01,
        max_grad_norm=0.0,
        norm_adv=False,
    )
    for _ in range(3):
        metrics = trainer.update()
    assert all(math.isfinite(value) for value in metrics.values())
    trainer.close()
