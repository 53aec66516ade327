"""The learner: a minibatch's gradient equals autograd's, also in chunks and on several threads."""

import dataclasses

import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.fused import factory
from pufferlib.ops.ppo_loss import LossStats, ppo_loss
from pufferlib.ppo.autograd_backend import AutogradBackend
from pufferlib.runtime import allocator
from tests.support.games import load_game
from tests.support.trainers import MORTAL, collect, make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


def gradient(game, threads, monkeypatch, chunk=32, name="mlp", shuffle="rows"):
    """Return a minibatch's gradient and stats, the same by autograd, and the number of workers."""
    monkeypatch.setattr(factory, "TRAIN_CHUNK_STEPS", chunk)
    known = game == "probe"
    trainer = make(
        game if known else load_game(game),
        num_envs=11,
        minibatch_size=11 * 16,
        batch_size=11 * 16,
        threads=threads,
        vf_clip_coef=0.1,
        policy={"name": name},
        shuffle=shuffle,
    )
    collect(trainer)
    trainer.batch.load(trainer.policy, trainer.version, 1.0)
    moved = 0.3 * torch.randn(11, 16).numpy()  # as if the policy had moved on
    trainer.env.arrays["pool_logprob"][trainer.batch.rows] += moved
    count = trainer.sizes.batch_sequences
    part = torch.randperm(count)
    trainer.learner.minibatch(torch.randperm(count))  # must leave nothing but its gradient
    trainer.optimizer.zero_grad()
    stats = trainer.learner.minibatch(part)
    trainer.optimizer.clip()  # adds up the threads' gradients
    found = trainer.optimizer.grads.clone()
    trainer.optimizer.zero_grad()
    minibatch = trainer.batch.minibatch(part)
    output = trainer.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
    loss, wanted = ppo_loss(
        output, minibatch.transitions, trainer.sampler.head_sizes, trainer.train
    )
    loss.backward()
    workers = len(trainer.backend.workers)
    trainer.close()
    return (found, stats), (trainer.optimizer.grads, wanted), workers


@pytest.mark.parametrize("shuffle", ["rows", "steps"])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("game", ["probe", "multihead", "masked", "continuous", "int8"])
def test_chunks_and_threads_add_up_to_the_gradient_by_autograd(game, threads, shuffle, monkeypatch):
    torch.manual_seed(threads)
    (found, stats), (wanted, means), workers = gradient(game, threads, monkeypatch, shuffle=shuffle)
    assert workers == threads
    assert wanted.abs().max() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    for name in LossStats._fields:
        assert getattr(stats, name) == pytest.approx(getattr(means, name), rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["lstm", "mingru"])
@pytest.mark.parametrize("game", ["masked", "continuous"])
def test_chunks_and_threads_add_up_for_recurrent_networks_too(game, name, threads, monkeypatch):
    torch.manual_seed(threads)
    (found, _), (wanted, _), workers = gradient(game, threads, monkeypatch, name=name)
    assert workers == threads
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


def test_a_minibatch_is_learned_from_with_the_weights_and_entropy_bonus_of_now(monkeypatch):
    """Weights change within an update, and the bonus between updates; graphs are recorded once."""
    monkeypatch.setattr(factory, "TRAIN_CHUNK_STEPS", 32)
    torch.manual_seed(0)
    trainer = make(
        load_game("continuous"),
        num_envs=11,
        minibatch_size=11 * 16,
        batch_size=11 * 16,
        threads=2,
        norm_obs=True,
    )
    trainer.update()  # statistics are published
    collect(trainer)
    trainer.batch.load(trainer.backend, trainer.version, 1.0)
    rows, learner = torch.arange(len(trainer.batch.rows)), trainer.learner
    autograd = AutogradBackend(
        trainer.policy, trainer.sampler, trainer.batch, trainer.timer, trainer.device
    )
    for bonus in (0.0, 0.5):
        train = dataclasses.replace(trainer.train, ent_coef=bonus)
        with torch.no_grad():
            for parameter in trainer.policy.parameters():
                parameter += 0.1 * torch.randn_like(parameter)  # no sync_weights follows
        found = []
        for backend in (trainer.backend, autograd):
            trainer.optimizer.zero_grad()
            stats = backend.loss_and_grad(rows, learner.normalization(rows), train)
            trainer.optimizer.clip()
            found.append((trainer.optimizer.grads.clone(), stats.loss))
        (fused, fused_loss), (wanted, loss) = found
        assert fused_loss == pytest.approx(loss, rel=1e-4)
        torch.testing.assert_close(fused, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    trainer.close()


def test_a_number_of_threads_has_one_result(monkeypatch):
    def run():
        torch.manual_seed(3)
        return gradient("probe", 3, monkeypatch)[0]

    (first, stats), (second, again) = run(), run()
    assert torch.equal(first, second) and stats == again


def test_no_more_threads_than_chunks_and_rows_longer_than_a_chunk(monkeypatch):
    torch.manual_seed(0)
    (found, _), (wanted, _), workers = gradient("probe", 3, monkeypatch, chunk=7)  # a row has 16
    assert workers == 3
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
    (found, _), (wanted, _), _ = gradient("probe", 3, monkeypatch, chunk=100)  # 6 and 5 rows
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("env", [{}, MORTAL])
@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_threads_and_chunks_that_share_the_acting_act_as_one_does(name, env, groups, monkeypatch):
    """Lives and discrete choices are the same; what follows from products, to float32 tolerance.

    A BLAS may choose other kernels for other numbers of rows, which sum in another order: on some
    CPUs outputs differ in the last digit, and with them axes, and rewards, of which an axis is up
    to half a point. A choice is worth at least a whole point, far above the tolerance.
    """
    batches, settings = [], {"env": env, "num_envs": 31, "num_groups": groups}
    for threads in (1, 3):
        trainer = make(**settings, threads=threads, policy={"name": name})
        batches.append([collect(trainer) for _ in range(2)])
        trainer.close()
        # From here on: few agents for each of three threads, in several chunks of odd sizes.
        monkeypatch.setattr("pufferlib.fused.backend.MIN_AGENTS_PER_THREAD", 2)
        monkeypatch.setattr("pufferlib.fused.backend.AGENT_GRANULARITY", 3)
        monkeypatch.setattr("pufferlib.fused.backend.MAX_LIVE_COUNTS", 9)
        monkeypatch.setattr("pufferlib.ppo.bootstrap.MIN_FINALS", 2)
        monkeypatch.setattr("pufferlib.ppo.bootstrap.EVAL_CHUNK", 5)
        monkeypatch.setattr(factory, "TRAIN_CHUNK_STEPS", 4)
        monkeypatch.setattr("pufferlib.fused.recurrent.ACT_CHUNK_AGENTS", 4)
        monkeypatch.setattr("pufferlib.fused.eager.AGENT_GRANULARITY", 2)
    for one, three in zip(*batches, strict=True):
        for name in ("pool_observation", "pool_action", "pool_done"):
            assert_array_equal(one[name], three[name], err_msg=name)
        assert_allclose(one["pool_reward"], three["pool_reward"], rtol=1e-6, err_msg="reward")
        for name in ("pool_axis", "pool_logprob", "pool_value", "pool_next_value"):
            assert_allclose(one[name], three[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_final_observations_of_episodes_that_end_together_do_not_pile_up(monkeypatch):
    def run():
        """Collect twice; return both batches and the maximum of waiting final observations."""
        trainer = make(num_envs=16, env={"steps": 9, "truncate": 1})  # four agents each
        waited, evaluate = [], trainer.collector.bootstrap.evaluate_finals

        def counted():
            waited.append(trainer.env.engine.num_final)
            evaluate()

        trainer.collector.bootstrap.evaluate_finals = counted
        batches = [collect(trainer) for _ in range(2)]
        trainer.close()
        return batches, max(waited)

    together, all_wait = run()
    monkeypatch.setattr("pufferlib.ppo.bootstrap.MIN_FINALS", 4)
    monkeypatch.setattr("pufferlib.ppo.collector.ENV_CHUNK", 8)
    apart, some_wait = run()
    assert all_wait == 64 and some_wait <= 4 + 8
    monkeypatch.setattr("pufferlib.ppo.bootstrap.MIN_FINALS", 1)
    monkeypatch.setattr("pufferlib.ppo.bootstrap.AGENTS_PER_FINAL", 2)
    monkeypatch.setattr("pufferlib.ppo.bootstrap.EVAL_CHUNK", 5)
    monkeypatch.setattr("pufferlib.ppo.collector.ENV_CHUNK", 3)  # less than an env has
    one_by_one, few_wait = run()
    assert few_wait <= 5 + 4
    for other in (apart, one_by_one):
        for wanted, found in zip(together, other, strict=True):
            for name, column in wanted.items():
                assert_allclose(found[name], column, rtol=1e-5, atol=1e-5, err_msg=name)


def test_states_are_on_huge_pages_as_far_as_they_will_surely_be_used(monkeypatch):
    asked, own, zeros = [], [], allocator.zeros

    def recording(shape, usual=None, dtype=torch.float32):
        asked.append((shape, usual))
        return zeros(shape, usual, dtype)

    monkeypatch.setattr(allocator, "zeros", recording)
    trainer = make(num_envs=5, policy={"name": "lstm"}, batch_size=3 * 16, minibatch_size=3 * 16)
    size = trainer.policy.state_size
    rows = {shape: usual for shape, usual in asked if shape[1:] == (size,)}
    assert rows == {(3 + 2 * 20, size): 3 + 20, (2 * 20, size): 0, (20, size): 0}
    trainer.close()
    monkeypatch.setattr(allocator, "own_memory", lambda *given, usual: own.append(usual) or 1 / 0)
    for dtype, wanted in ((torch.float32, 3 * 7 * 4), (torch.bfloat16, 3 * 7 * 2)):
        with pytest.raises(ZeroDivisionError):
            zeros((9, 7), 3, dtype)
        assert own.pop() == wanted


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients_that_an_interrupted_update_left_are_dropped(threads, monkeypatch):
    monkeypatch.setattr(factory, "TRAIN_CHUNK_STEPS", 16)  # a row
    trainer = make(num_envs=11, threads=threads)
    tensors = {name: value.clone() for name, value in trainer.state()[0].items()}
    meta, clip, found, calls = trainer.state()[1], trainer.optimizer.clip, [], []

    def stopped():
        if calls.append(0) or len(calls) == 3:
            raise KeyboardInterrupt
        return clip()

    for _ in range(2):
        trainer.load_state(tensors, meta)
        trainer.update()
        found.append([p.detach().clone() for p in trainer.policy.parameters()])
        if not calls:
            trainer.optimizer.clip = stopped
            with pytest.raises(KeyboardInterrupt):
                trainer.update()
            trainer.optimizer.clip = clip
    trainer.close()
    assert all(map(torch.equal, *found))


def test_rows_of_an_interrupted_update_are_not_learned_from_again():
    trainer = make(num_envs=11)
    clip, rows = trainer.optimizer.clip, []

    def stopped():
        raise KeyboardInterrupt

    trainer.optimizer.clip = stopped
    with pytest.raises(KeyboardInterrupt):
        trainer.update()
    trainer.optimizer.clip = clip
    load = trainer.batch.load
    trainer.batch.load = lambda *given: rows.append(trainer.env.engine.batch()) or load(*given)
    left, size = set(trainer.batch.rows.tolist()), trainer.sizes.batch_size
    assert left == set(trainer.env.engine.batch().tolist())
    trainer.update()
    assert not left & set(rows[0].tolist())
    assert trainer.lost_steps == trainer.trained_steps == size
    assert trainer.dropped == trainer.agent_steps - 2 * size >= 0
    trainer.close()


def test_an_illegal_action_is_named_and_the_threads_go_on(monkeypatch):
    monkeypatch.setattr(factory, "TRAIN_CHUNK_STEPS", 16)
    sizes = {"minibatch_size": 11 * 16, "batch_size": 11 * 16}
    trainer = make("cartpole", num_envs=11, threads=3, **sizes)
    collect(trainer)
    trainer.batch.load(trainer.policy, 0, 1.0)
    actions = trainer.env.arrays["pool_action"]
    wrong = trainer.batch.rows[9]  # in the last thread's share
    before, actions[wrong, 5] = actions[wrong, 5].copy(), 2
    with pytest.raises(IndexError, match=r"action\[5\] = 2 is outside \[0, 2\)"):
        trainer.learner.minibatch(torch.arange(11))
    actions[wrong, 5] = before
    assert trainer.learner.minibatch(torch.arange(11)).loss > 0
    trainer.close()


@pytest.mark.parametrize("shuffle", ["rows", "steps"])
def test_out_of_bounds_is_the_share_of_axis_values_that_the_game_gets_clipped(shuffle):
    trainer = make(load_game("continuous"), num_envs=8, shuffle=shuffle)
    assert 0 <= trainer.update()["policy/out_of_bounds"] < 1
    collect(trainer)
    trainer.batch.load(trainer.backend, trainer.version, 1.0)
    axis, rows = trainer.env.arrays["pool_axis"], trainer.batch.rows
    axis[rows] = (trainer.env.low + trainer.env.high) / 2
    assert trainer.learner.learn()["policy/out_of_bounds"] == 0
    axis[rows[3], 5] = 2 * trainer.env.high
    axis[rows[4], 6] = trainer.env.low - 1
    assert trainer.learner._out_of_bounds() == 2 / (8 * 16)
    trainer.close()


def test_a_game_without_axes_does_not_report_out_of_bounds():
    trainer = make(load_game("multihead"))
    assert "policy/out_of_bounds" not in trainer.update()
    trainer.close()
