"""A batch holds what happened, once, with the values and masks that belong to it."""

import numpy as np
import pytest
import torch

from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferlib.ops.ppo_loss import ppo_loss
from pufferlib.ops.reference import logprob_and_entropy
from tests.support.games import load_game, training_columns
from tests.support.trainers import MORTAL, collect, make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


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


@pytest.mark.parametrize("env", [{}, MORTAL])
@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_an_epoch_of_single_steps_has_each_step_of_the_batch_once_with_what_belongs_to_it(
    name, env
):
    """A recurrent policy learns from whole rows all the same."""
    trainer = make(
        env=env, num_envs=8, batch_size=8 * 16, minibatch_size=32, shuffle="steps",
        policy={"name": name},
    )  # fmt: skip
    length = 1 if name == "mlp" else 16
    for _ in range(4):
        collect(trainer)
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        columns, rows = trainer.batch.columns, trainer.batch.rows
        told = {  # what belongs to each step, by its observation
            tuple(columns["observation"][row, t].astype(int).tolist()): (
                *columns["action"][row, t].tolist(),
                *(columns[n][row, t].item() for n in ("logprob", "value", "advantage", "target")),
            )
            for row in rows
            for t in range(16)
        }
        assert len(told) == 8 * 16
        met, order = [], torch.randperm(trainer.sizes.batch_sequences)
        for part in order.split(trainer.sizes.minibatch_sequences):
            minibatch = trainer.batch.minibatch(part)
            assert minibatch.obs.shape == (32 // length, length, 4)
            steps = minibatch.transitions
            for i, key in enumerate(minibatch.obs.reshape(-1, 4).int().tolist()):
                met.append(tuple(key))
                numbers = (steps.logprob, steps.value, steps.advantage, steps.target)
                assert told[met[-1]] == (*steps.action[i].tolist(), *(x[i].item() for x in numbers))
        assert len(met) == len(told) == len(set(met))
        trainer.learner.learn()
        trainer.batch.release()
        trainer.updates += 1
    trainer.close()


def test_one_minibatch_of_the_whole_batch_is_the_same_in_rows_and_in_steps():
    weights = []
    for shuffle in ("rows", "steps"):
        trainer = make(shuffle=shuffle, minibatch_size=24 * 16, batch_size=24 * 16, update_epochs=1)
        trainer.update()
        weights.append(torch.cat([p.detach().flatten() for p in trainer.policy.parameters()]))
        trainer.close()
    torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-5)


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
        minibatch = trainer.batch.minibatch(torch.arange(7)[: trainer.sizes.minibatch_sequences])
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


def test_masks_hold_in_sampling_probability_entropy_and_gradient():
    trainer = make(load_game("masked"), {}, {"hidden_size": 32}, num_envs=16, batch_size=20 * 16)
    carried = 0.0
    for _ in range(6):
        trainer._collect()
        trainer.batch.load(trainer.policy, trainer.version, 1.0)
        carried += trainer.batch.carried
        minibatch = trainer.batch.minibatch(torch.arange(trainer.sizes.minibatch_sequences))
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
