"""Seeds and states: a run can be repeated bit for bit, and resumed from a saved state."""

import math

import numpy as np
import pytest
import torch

from tests.support.trainers import MORTAL, make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


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
