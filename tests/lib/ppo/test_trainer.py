"""The training loop: threads, schedules, errors, and the switches that work together."""

import math
import os

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pufferlib.ppo.learner import TrainingDiverged
from pufferlib.runtime.device import page_locked
from pufferlib.runtime.timer import SECTIONS
from tests.support.games import training_columns
from tests.support.trainers import MORTAL, make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


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
    value = training_columns(trainer)["value"]  # written in acting: the last bias
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
