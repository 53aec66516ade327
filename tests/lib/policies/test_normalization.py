"""Running statistics equal those of all data together, and take effect when published."""

import numpy as np
import pytest
import torch

from pufferlib.policies.normalization import ObservationNorm, ReturnNorm


def test_observation_statistics_are_those_of_all_observations():
    norm, rng = ObservationNorm(4), np.random.default_rng(0)
    data = (rng.standard_normal((1000, 4)) * [1, 10, 0.1, 0] + [0, 1e4, -3, 7]).astype(np.float32)
    for part in np.split(data, [3, 200, 201]):
        norm.update(torch.from_numpy(part))
    assert torch.equal(norm(torch.from_numpy(data)), torch.from_numpy(data))  # not yet in use
    norm.publish()
    normal = norm(torch.from_numpy(data)).numpy()
    np.testing.assert_allclose(norm.mean.numpy(), data.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(normal[:, :3].mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(normal[:, :3].std(0), 1, rtol=1e-3)
    assert (normal[:, 3] == 0).all()


def test_publishing_nothing_changes_nothing():
    norm = ObservationNorm(2)
    norm.publish()
    assert norm.mean.tolist() == [0, 0] and norm.scale.tolist() == [1, 1]


def test_folding_into_a_layer_equals_normalizing_before_it():
    norm, x = ObservationNorm(5), torch.randn(64, 5) * 4 + 2
    norm.update(x)
    norm.publish()
    layer = torch.nn.Linear(5, 3)
    weight, bias = norm.fold(layer.weight, layer.bias)
    torch.testing.assert_close(x @ weight.T + bias, layer(norm(x)), atol=1e-5, rtol=1e-5)


def test_statistics_travel_with_the_weights():
    norm, other = ObservationNorm(2), ObservationNorm(2)
    norm.update(torch.randn(9, 2))
    norm.publish()
    other.load_state_dict(norm.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), other.buffers(), strict=True))


def test_returns_are_discounted_within_a_life():
    norm = ReturnNorm(2, gamma=0.5)
    assert norm.deviation == 1.0
    all_acted, nobody = np.array([True, True]), np.array([False, False])
    norm.update(np.array([1.0, 2.0]), all_acted, np.array([False, True]))  # returns 1, 2
    norm.update(np.array([1.0, 4.0]), all_acted, nobody)  # returns 1.5, 4: a new life
    seen = np.array([1.0, 2.0, 1.5, 4.0])
    assert norm.deviation == pytest.approx(seen.std())
    assert norm.returns.tolist() == [1.5, 4.0]


def test_the_dead_do_not_count_as_returns_of_zero():
    norm, acted = ReturnNorm(3, 0.0), np.array([True, False, True])
    for rewards in ([1.0, 0.0, 5.0], [3.0, 0.0, 7.0]):
        norm.update(np.array(rewards), acted, ~acted)
    assert norm.deviation == pytest.approx(np.std([1, 5, 3, 7]))


def test_return_statistics_go_on_after_a_load():
    rng, whole = np.random.default_rng(1), ReturnNorm(3, 0.0)
    first, second = ReturnNorm(3, 0.0), ReturnNorm(3, 0.0)
    yes, no = np.ones(3, bool), np.zeros(3, bool)
    rewards = rng.standard_normal((10, 3))
    for i, row in enumerate(rewards):
        whole.update(row, yes, no)
        if i == 5:
            second.load(first.state())
        (first if i < 5 else second).update(row, yes, no)
    assert second.deviation == pytest.approx(rewards.std())
    assert second.deviation == pytest.approx(whole.deviation)
