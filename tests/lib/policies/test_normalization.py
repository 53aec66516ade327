"""Normalization of observations and returns, by running statistics.

The statistics equal those of all data together, take effect when published, and suit every
magnitude: entries and returns that vary get deviation 1, and what does not vary is left alone.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferlib.policies.normalization import BOUND, ObservationNorm, ReturnNorm

# --- observations --------------------------------------------------------------------------------


def of(data: np.ndarray, parts: int = 1) -> ObservationNorm:
    """Return the published normalization of float32 observations (N, F), added in parts."""
    norm = ObservationNorm(data.shape[1])
    for part in np.array_split(data.astype(np.float32), parts):
        norm.update(torch.from_numpy(part))
    norm.publish()
    return norm


def normal(norm: ObservationNorm, *observations: list[float]) -> list[list[float]]:
    """Return observations, normalized."""
    return norm(torch.tensor(observations, dtype=torch.float32)).tolist()


def test_observation_statistics_are_those_of_all_observations():
    norm, rng = ObservationNorm(4), np.random.default_rng(0)
    data = (rng.standard_normal((1000, 4)) * [1, 10, 0.1, 0] + [0, 1e4, -3, 7]).astype(np.float32)
    for part in np.split(data, [3, 200, 201]):
        norm.update(torch.from_numpy(part))
    x = torch.from_numpy(data)
    assert torch.equal(norm(x), x.clamp(-BOUND, BOUND))  # not yet in use
    norm.publish()
    found = norm(x).numpy()
    np.testing.assert_allclose(norm.mean.numpy(), data.mean(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found[:, :3].mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(found[:, :3].std(0), 1, rtol=1e-3)
    assert (found[:, 3] == 0).all()


def test_publishing_nothing_changes_nothing():
    norm = ObservationNorm(2)
    norm.publish()
    assert norm.mean.tolist() == [0, 0] and norm.scale.tolist() == [1, 1]


@settings(deadline=None, max_examples=100)
@given(
    magnitude=st.floats(-12, 34),
    offset=st.floats(-1e3, 1e3),
    parts=st.integers(1, 4),
    seed=st.integers(0, 999),
)
def test_an_entry_of_any_magnitude_gets_deviation_one(magnitude, offset, parts, seed):
    rng = np.random.default_rng(seed)
    data = ((rng.standard_normal((500, 1)) + offset) * 10.0**magnitude).astype(np.float32)
    found = of(data, parts)(torch.from_numpy(data))
    assert float(found.std(correction=0)) == pytest.approx(1, rel=2e-3)
    assert float(found.mean()) == pytest.approx(0, abs=2e-3)


def test_an_entry_is_clipped_on_both_sides_and_nan_stays_nan():
    norm = of(np.random.default_rng(0).standard_normal((500, 1)))
    found = normal(norm, [9.0], [1e3], [-1e3], [np.inf], [-np.inf], [3e38])
    assert 8 < found[0][0] < 10
    assert found[1:] == [[BOUND], [-BOUND], [BOUND], [-BOUND], [BOUND]]
    assert np.isnan(normal(norm, [np.nan])).all()


@pytest.mark.parametrize("constant", [0.0, 1.0, 0.1, -7e-6, 1e6, 1e30, -3e38])
def test_a_constant_entry_is_zero_until_it_changes_and_then_at_most_the_bound(constant):
    norm = of(np.full((1000, 1), constant), 3)
    assert norm.scale.isfinite().all() and normal(norm, [constant]) == [[0]]
    for value in (constant + 1, constant * 2, constant + 1e-3, np.inf):
        assert abs(normal(norm, [value])[0][0]) <= BOUND
    assert normal(norm, [3e38])[0][0] == BOUND


@pytest.mark.parametrize("constant", [1.0, -1e6, 1e30])
def test_the_rounding_of_a_constant_is_not_taken_for_a_signal(constant):
    x = np.float32(constant)
    near = np.array([np.nextafter(x, np.float32(-np.inf)), x, np.nextafter(x, np.float32(np.inf))])
    data = np.random.default_rng(0).choice(near, (1000, 1))
    assert of(data)(torch.from_numpy(data)).abs().max() < 0.3


def test_infinities_and_nan_do_not_enter_the_statistics():
    data = np.random.default_rng(0).standard_normal((900, 3)).astype(np.float32) * 5 + 3
    norm = ObservationNorm(3)
    norm.update(torch.from_numpy(data[:300]))
    odd = data[300:].copy()
    odd[:, 1] = np.inf  # nothing else is observed
    odd[::100, 2], odd[50::100, 2] = np.nan, -np.inf
    norm.update(torch.from_numpy(odd))
    norm.publish()
    np.testing.assert_allclose(norm.mean[0], data[:, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(norm.mean[1], data[:300, 1].mean(), rtol=1e-5)
    np.testing.assert_allclose(norm.mean[2], data[:, 2].mean(), atol=0.2)
    np.testing.assert_allclose(1 / norm.scale[[0, 2]], data[:, [0, 2]].std(0), rtol=0.02)
    assert norm.scale.isfinite().all()


def test_statistics_travel_with_the_weights():
    norm, other = ObservationNorm(2), ObservationNorm(2)
    norm.update(torch.randn(9, 2))
    norm.publish()
    other.load_state_dict(norm.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(norm.buffers(), other.buffers(), strict=True))
    # Policies that are saved have these names.
    names = ["mean", "scale", "count", "running_mean", "running_square"]
    assert list(norm.state_dict()) == names


# --- returns -------------------------------------------------------------------------------------


def after(rewards: np.ndarray, ended: np.ndarray | None = None, gamma: float = 0.99) -> ReturnNorm:
    """Return the statistics after rewards (T, A); lives end where `ended` (T, A) is true."""
    norm, acted = ReturnNorm(rewards.shape[1], gamma), np.ones(rewards.shape[1], bool)
    ended = np.zeros(rewards.shape, bool) if ended is None else ended
    for reward, over in zip(rewards, ended, strict=True):
        norm.update(reward, acted, over)
    return norm


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


@settings(deadline=None, max_examples=50)
@given(magnitude=st.floats(-10, 30), seed=st.integers(0, 999))
def test_the_deviation_is_proportional_to_rewards_of_any_magnitude(magnitude, seed):
    rng = np.random.default_rng(seed)
    rewards, ended = rng.standard_normal((40, 5)), rng.random((40, 5)) < 0.1
    want = after(rewards, ended).deviation
    found = after((rewards * 10.0**magnitude).astype(np.float32), ended).deviation
    assert found == pytest.approx(want * 10.0**magnitude, rel=1e-4)


@pytest.mark.parametrize("unit", [1e-5, 1.0, 1e10])
def test_a_constant_reward_is_scaled_by_returns_that_grow_within_a_life(unit):
    length, gamma = 20, 0.9
    ended = np.zeros((400, 3), bool)
    ended[length - 1 :: length] = True
    returns = np.cumsum(gamma ** np.arange(length)) * unit
    norm = after(np.full((400, 3), unit), ended, gamma)
    assert norm.deviation == pytest.approx(returns.std())


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.1, -1e-5, 1e20])
def test_equal_returns_have_deviation_one(reward):
    rewards = np.full((200, 7), reward, np.float32)
    assert after(rewards, np.ones(rewards.shape, bool)).deviation == 1.0
    noise = np.random.default_rng(0).uniform(1 - 1e-6, 1 + 1e-6, rewards.shape)
    assert after(rewards * noise, np.ones(rewards.shape, bool)).deviation == 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_reward_does_not_end_the_normalization(bad):
    rng = np.random.default_rng(0)
    rewards, ended = rng.standard_normal((300, 4)).astype(np.float32), rng.random((300, 4)) < 0.05
    want = after(rewards, ended).deviation
    rewards[100, 2], rewards[101, 2] = bad, -bad
    norm = after(rewards, ended)
    assert norm.deviation == pytest.approx(want, rel=0.05)
    assert np.isfinite(norm.returns).all() and norm.count == rewards.size - 2


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
