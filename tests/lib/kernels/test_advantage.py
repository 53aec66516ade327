"""Advantages and value targets against worked examples, GAE, V-trace and the reference."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from pufferlib.kernels import _kernels
from pufferlib.ops import reference

Floats = npt.NDArray[np.float32]
Call = dict[str, Any]


def one_row(
    reward: list[float],
    value: list[float],
    *,
    next_value: list[float] | None = None,
    done: list[int] | None = None,
    starts: tuple[int, ...] = (0,),
    ratio: list[float] | None = None,
    **settings: float,
) -> Call:
    """Return arguments for a pool of one row; next_value is 1000 wherever it must not be read."""
    n = len(reward)
    segment_start = np.zeros((1, n), bool)
    segment_start[0, list(starts)] = True
    return {
        "rows": np.zeros(1, np.int32),
        "pool_reward": np.array([reward], np.float32),
        "pool_value": np.array([value], np.float32),
        "pool_next_value": np.array([next_value or [1000] * n], np.float32),
        "pool_done": np.array([done or [LIVE] * n], np.uint8),
        "pool_segment_start": segment_start,
        "ratio": None if ratio is None else np.array([ratio], np.float32),
        "gamma": 0.5,
        "gae_lambda": 0.5,
        **settings,
    }


def computed(call: Call) -> tuple[Floats, Floats]:
    shape = (len(call["rows"]), call["pool_done"].shape[1])
    advantage, target = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    _kernels.advantage(**call, out_advantage=advantage, out_target=target)
    return advantage, target


BY_HAND = {
    # delta: 1 + .5 * 4 - 2 = 1;  2 + 0 - 4 = -2.  adv_0 = 1 + .25 * -2
    "terminal": (one_row([1, 2], [2, 4], done=[LIVE, TERMINAL]), [0.5, -2]),
    # delta_1: 2 + .5 * 6 - 4 = 1
    "truncated": (
        one_row([1, 2], [2, 4], done=[LIVE, TRUNCATED], next_value=[1000, 6]),
        [1.25, 1],
    ),
    # delta_1: 2 + .5 * 8 - 4 = 2
    "row full": (one_row([1, 2], [2, 4], next_value=[1000, 8]), [1.5, 2]),
    # one agent, two lives: delta_0: 1 + 0 - 2 = -1, and nothing of the next life
    "next life": (
        one_row([1, 2], [2, 4], done=[TERMINAL, LIVE], next_value=[1000, 8]),
        [-1, 2],
    ),
    # delta_0: 1 + .5 * 6 - 2 = 2, not value[1]
    "truncated, next life": (
        one_row([1, 2], [2, 4], done=[TRUNCATED, LIVE], next_value=[6, 8]),
        [2, 2],
    ),
    # deltas 1, 1 + 0 - 4 = -3, 2 + .5 * 8 - 6 = 0;  adv_0 = 1 + .25 * -3
    "death, then another agent's segment": (
        one_row(
            [1, 1, 2],
            [2, 4, 6],
            done=[LIVE, TERMINAL, LIVE],
            next_value=[1000, 1000, 8],
            starts=(0, 2),
        ),
        [0.25, -3, 0],
    ),
    # LIVE in the last slot of a segment: next_value, and no advantage from beyond
    "live before another agent's segment": (
        one_row([1, 2], [2, 4], next_value=[6, 8], starts=(0, 1)),
        [2, 2],
    ),
    # min(ratio, 1) = .5, 1: adv_1 = 2, adv_0 = .5 * 1 + .25 * .5 * 2
    "ratio": (one_row([1, 2], [2, 4], next_value=[0, 8], ratio=[0.5, 3]), [0.75, 2]),
    # rho = 2, 3 and c = 1.5: adv_1 = 3 * 2, adv_0 = 2 * 1 + .25 * 1.5 * 6
    "ratio, wide clips": (
        one_row([1, 2], [2, 4], next_value=[0, 8], ratio=[2, 5], rho_clip=3.0, c_clip=1.5),
        [4.25, 6],
    ),
    # clips below 1 hold without ratios too: delta 1 and 2, halved; c = .5
    "clips below one": (
        one_row([1, 2], [2, 4], next_value=[0, 8], rho_clip=0.5, c_clip=0.5),
        [0.5 + 0.125, 1],
    ),
    # rewards 10, -10 become 1, -1 and are clipped to .75
    "reward scaled, then clipped": (
        one_row([10, -10], [0, 0], done=[TERMINAL] * 2, reward_scale=0.1, reward_clip=0.75),
        [0.75, -0.75],
    ),
    "reward scaled only": (
        one_row([10, -10], [0, 0], done=[TERMINAL] * 2, reward_scale=0.5),
        [5, -5],
    ),
    "one slot": (one_row([3], [1], next_value=[4]), [4]),
}


@pytest.mark.parametrize(("call", "expected"), BY_HAND.values(), ids=BY_HAND.keys())
def test_advantages_of_worked_examples(call: Call, expected: list[float]) -> None:
    advantage, target = computed(call)
    assert advantage.tolist() == [expected]
    assert target.tolist() == [
        [v + a for v, a in zip(call["pool_value"][0], expected, strict=True)]
    ]
    assert_allclose(reference.advantage(**call)[0], advantage)


def test_rows_are_taken_in_the_order_given() -> None:
    horizon = 3
    reward = 100.0 * np.arange(5, dtype=np.float32)[:, None] + np.arange(horizon, dtype=np.float32)
    zeros = np.zeros_like(reward)
    call = one_row([0] * horizon, [0] * horizon) | {
        "rows": np.array([4, 0, 2], np.int32),
        "pool_reward": reward,
        "pool_value": zeros,
        "pool_next_value": zeros,
        "pool_done": np.full((5, horizon), TERMINAL, np.uint8),
        "pool_segment_start": np.zeros((5, horizon), bool),
    }
    assert computed(call)[0].tolist() == [[400, 401, 402], [0, 1, 2], [200, 201, 202]]


def test_nan_stays_in_its_life() -> None:
    call = one_row(
        [1, np.nan, 1, 1],
        [0, 0, 0, 0],
        done=[TERMINAL, TERMINAL, LIVE, TERMINAL],
        starts=(0, 2),
    )
    assert np.isnan(computed(call)[0]).tolist() == [[False, True, False, False]]


@st.composite
def pools(draw: st.DrawFn) -> Call:
    """Draw a pool of random lives and segments, and the arguments for a batch of it."""
    rows, horizon = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows, horizon)
    done = rng.choice(
        3, shape, p=draw(st.sampled_from([(1, 0, 0), (0.8, 0.1, 0.1), (0, 0.5, 0.5)]))
    )
    starts = rng.random(shape) < draw(st.sampled_from([0, 0.2, 1]))
    starts[:, 0] = True
    batch = draw(st.integers(0, 8))
    clip = st.sampled_from([0.3, 1.0, 2.5])
    return {
        "rows": rng.integers(0, rows, batch).astype(np.int32),
        "pool_reward": rng.normal(size=shape).astype(np.float32),
        "pool_value": rng.normal(size=shape).astype(np.float32),
        "pool_next_value": rng.normal(size=shape).astype(np.float32),
        "pool_done": done.astype(np.uint8),
        "pool_segment_start": starts,
        "ratio": draw(
            st.sampled_from([None, np.exp(rng.normal(0, 1, (batch, horizon))).astype(np.float32)])
        ),
        "gamma": draw(st.sampled_from([0.0, 0.9, 1.0])),
        "gae_lambda": draw(st.sampled_from([0.0, 0.95, 1.0])),
        "rho_clip": draw(clip),
        "c_clip": draw(clip),
        "reward_scale": draw(st.sampled_from([1.0, -0.3])),
        "reward_clip": draw(st.sampled_from([0.0, 0.5])),
    }


@settings(max_examples=300, deadline=None)
@given(pools())
def test_any_pool_gives_what_the_reference_gives(call: Call) -> None:
    for fast, slow in zip(computed(call), reference.advantage(**call), strict=True):
        assert_allclose(fast, slow, rtol=1e-4, atol=1e-4 * max(1, abs(slow).max(initial=0)))


def random_call(horizon: int, rows: int, **settings: Any) -> Call:
    """Return a call with one segment per row, in which lives end in death or truncation."""
    rng = np.random.default_rng(3)
    shape = (rows, horizon)
    starts = np.zeros(shape, bool)
    starts[:, 0] = True
    return {
        "rows": np.arange(rows, dtype=np.int32),
        "pool_reward": rng.normal(size=shape).astype(np.float32),
        "pool_value": rng.normal(size=shape).astype(np.float32),
        "pool_next_value": rng.normal(size=shape).astype(np.float32),
        "pool_done": rng.choice(3, shape, p=[0.8, 0.1, 0.1]).astype(np.uint8),
        "pool_segment_start": starts,
        "gamma": 0.97,
        "gae_lambda": 0.9,
        **settings,
    }


def successors(call: Call) -> npt.NDArray[np.float64]:
    """Return the value after each slot of rows that hold one segment each."""
    shifted = np.roll(call["pool_value"], -1, 1).astype(np.float64)
    shifted[:, -1] = call["pool_next_value"][:, -1]
    shifted = np.where(call["pool_done"] == TRUNCATED, call["pool_next_value"], shifted)
    return np.where(call["pool_done"] == TERMINAL, 0, shifted)


def test_ratio_one_is_gae_as_a_sum_of_discounted_errors() -> None:
    """Schulman et al. 2016, equation 16: sum over l of (gamma lambda)^l delta_{t+l}."""
    call = random_call(30, 20)
    deltas = call["pool_reward"] + call["gamma"] * successors(call) - call["pool_value"]
    discount, expected = call["gamma"] * call["gae_lambda"], np.zeros(deltas.shape)
    for row, t in np.ndindex(deltas.shape):
        for later in range(t, deltas.shape[1]):
            expected[row, t] += discount ** (later - t) * deltas[row, later]
            if call["pool_done"][row, later] != LIVE:
                break
    for ratio in (None, np.ones(deltas.shape, np.float32)):
        advantage, target = computed(call | {"ratio": ratio})
        assert_allclose(advantage, expected, rtol=1e-5, atol=1e-5)
        assert_allclose(target, expected + call["pool_value"], rtol=1e-5, atol=1e-5)


def test_lambda_one_targets_are_v_traces() -> None:
    """Espeholt et al. 2018, equation 1, as the sum of products that it is printed as."""
    rho_clip, c_clip = 1.3, 0.9
    call = random_call(12, 30, gae_lambda=1.0, rho_clip=rho_clip, c_clip=c_clip)
    ratio = np.exp(np.random.default_rng(4).normal(0, 0.7, call["pool_reward"].shape))
    rho, c = np.minimum(rho_clip, ratio), np.minimum(c_clip, ratio)
    deltas = rho * (call["pool_reward"] + call["gamma"] * successors(call) - call["pool_value"])
    expected = call["pool_value"].astype(np.float64)
    for row, s in np.ndindex(deltas.shape):
        for t in range(s, deltas.shape[1]):
            expected[row, s] += call["gamma"] ** (t - s) * c[row, s:t].prod() * deltas[row, t]
            if call["pool_done"][row, t] != LIVE:
                break
    _, target = computed(call | {"ratio": ratio.astype(np.float32)})
    assert_allclose(target, expected, rtol=1e-5, atol=1e-5)


def test_stable_baselines3_agrees() -> None:
    buffers = pytest.importorskip(
        "stable_baselines3.common.buffers", reason="an oracle, not a dependency"
    )
    spaces = pytest.importorskip("gymnasium.spaces")
    rows, horizon = 8, 25
    call = random_call(horizon, rows)
    call["pool_done"] = np.where(
        call["pool_done"] == TRUNCATED, LIVE, call["pool_done"]
    )  # SB3 has no truncation
    buffer = buffers.RolloutBuffer(
        horizon,
        spaces.Box(-1, 1, (1,)),
        spaces.Discrete(2),
        gae_lambda=call["gae_lambda"],
        gamma=call["gamma"],
        n_envs=rows,
    )
    starts = np.ones(rows, bool)
    for t in range(horizon):
        zeros = np.zeros((rows, 1), np.float32)
        value = torch.from_numpy(call["pool_value"][:, t])
        buffer.add(zeros, zeros, call["pool_reward"][:, t], starts, value, torch.zeros(rows))
        starts = call["pool_done"][:, t] == TERMINAL
    buffer.compute_returns_and_advantage(torch.from_numpy(call["pool_next_value"][:, -1]), starts)
    advantage, target = computed(call)
    assert_allclose(advantage, buffer.advantages.T, rtol=1e-4, atol=1e-5)
    assert_allclose(target, buffer.returns.T, rtol=1e-4, atol=1e-5)


def torchrl_functional() -> Any:
    """TorchRL's estimators; skip the test without TorchRL."""
    return pytest.importorskip(
        "torchrl.objectives.value.functional", reason="an oracle, not a dependency"
    )


def torchrl_columns(call: dict[str, Any]) -> list[Any]:
    """What TorchRL's estimators take of a call: tensors (R, H, 1), the last two of ends."""
    ended, terminal = call["pool_done"] != LIVE, call["pool_done"] == TERMINAL
    following = successors(call).astype(np.float32)
    columns = call["pool_value"], following, call["pool_reward"], ended, terminal
    return [torch.from_numpy(column)[..., None] for column in columns]


def test_torchrl_agrees_on_gae() -> None:
    functional, call = torchrl_functional(), random_call(25, 8)
    expected, _ = functional.generalized_advantage_estimate(
        call["gamma"], call["gae_lambda"], *torchrl_columns(call)
    )
    assert_allclose(computed(call)[0], expected[..., 0], rtol=1e-4, atol=1e-5)


def test_torchrl_agrees_on_v_trace() -> None:
    functional = torchrl_functional()
    call = random_call(25, 8, gae_lambda=1.0, rho_clip=1.2, c_clip=0.8)
    ratio = np.exp(np.random.default_rng(4).normal(0, 0.5, call["pool_reward"].shape))
    _, target = functional.vtrace_advantage_estimate(
        call["gamma"],
        torch.from_numpy(np.log(ratio).astype(np.float32))[..., None],
        torch.zeros(*ratio.shape, 1),
        *torchrl_columns(call),
        rho_thresh=call["rho_clip"],
        c_thresh=call["c_clip"],
    )
    _, ours = computed(call | {"ratio": ratio.astype(np.float32)})
    assert_allclose(ours, target[..., 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"pool_value": np.zeros((1, 3), np.float32)},
            ValueError,
            r"pool_value: .*\(1, 2\).*\(1, 3\)",
        ),
        ({"pool_reward": np.zeros((1, 2))}, ValueError, r"pool_reward: expected float32"),
        (
            {"pool_reward": np.zeros(2, np.float32)},
            ValueError,
            r"pool_reward: .*2 dimensions.*\(2,\)",
        ),
        (
            {"pool_reward": np.zeros((1, 0), np.float32)},
            ValueError,
            r"pool_reward: the rows have no slots",
        ),
        (
            {"pool_done": np.zeros((1, 2), np.int32)},
            ValueError,
            r"pool_done: expected uint8 or bool",
        ),
        ({"ratio": np.zeros((2, 2), np.float32)}, ValueError, r"ratio: .*\(1, 2\).*\(2, 2\)"),
        ({"rows": np.zeros(1)}, ValueError, r"rows: expected int32"),
        ({"rows": np.array([1], np.int32)}, IndexError, r"rows\[0\] = 1 is outside \[0, 1\)"),
        ({"rows": np.array([-1], np.int32)}, IndexError, r"rows\[0\] = -1 is outside \[0, 1\)"),
    ],
)
def test_bad_arrays_are_named(change: Call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        computed(one_row([1, 2], [2, 4]) | change)


def test_in_place_of_reward_and_next_value_the_same_is_computed() -> None:
    rng, shape = np.random.default_rng(4), (6, 37)
    call: Call = {
        name: rng.normal(size=shape).astype(np.float32) for name in ("pool_reward", "pool_value")
    }
    call["pool_next_value"] = rng.normal(size=shape).astype(np.float32)
    call["pool_done"] = rng.integers(0, 3, shape).astype(np.uint8)
    call["pool_segment_start"], call["rows"] = (
        rng.random(shape) < 0.2,
        np.array([4, 0, 3], np.int32),
    )
    call |= {"ratio": rng.random((3, 37)).astype(np.float32) * 2, "gamma": 0.9, "gae_lambda": 0.8}
    advantage, target = computed(call)
    before = {name: call[name].copy() for name in ("pool_reward", "pool_next_value")}
    _kernels.advantage(**call)
    others = np.array([1, 2, 5])
    for name, wanted in (("pool_reward", advantage), ("pool_next_value", target)):
        np.testing.assert_array_equal(call[name][call["rows"]], wanted)
        np.testing.assert_array_equal(call[name][others], before[name][others])
