"""Recurrent cells: kernels against their reference, whole rows against single steps."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.config.options import PolicyOptions
from pufferlib.kernels import _kernels
from pufferlib.ops import recurrent, reference_cells
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy

Call = dict[str, Any]
SPEC = PolicySpec((7,), torch.float32, (3,), (-1.0,), (1.0,))
NAMES = ["lstm", "mingru"]
SIZES = st.sampled_from([1, 3, 4, 8, 15, 16, 17, 31, 32, 40])


def run_both(name: str, call: Call) -> None:
    """Run the kernel, and the reference in float64 on the same numbers; compare every array."""
    wide = {n: torch.from_numpy(x).double() if x is not None else None for n, x in call.items()}
    getattr(_kernels, name)(**call)
    getattr(reference_cells, name)(**wide)
    for n, x in call.items():
        if x is not None:
            assert_allclose(x, wide[n], rtol=1e-5, atol=2e-5, err_msg=n)


def numbers(seed: int, **shapes: tuple[int, ...]) -> Call:
    """Return random numbers of these shapes; `keep` is 0 or 1."""
    rng = np.random.default_rng(seed)
    made = {name: rng.normal(0, 2, shape) for name, shape in shapes.items()}
    if "keep" in made:
        made["keep"] = made["keep"] > -1
    return {name: x.astype(np.float32) for name, x in made.items()}


@pytest.mark.usefixtures("instruction_set")
@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 6), size=SIZES, kept=st.booleans(), seed=st.integers(0, 999))
def test_an_lstm_step_is_the_references(rows: int, size: int, kept: bool, seed: int) -> None:
    one, four = (rows, size), (rows, 4 * size)
    call = numbers(seed, gates=four, bias=(4 * size,), cell=one, out=one, next_cell=one)
    wide = np.full((rows, 2 * size), np.nan, np.float32)
    call["next_hidden"] = wide[:, size:] if kept else None
    call["keep"] = numbers(seed, keep=(rows,))["keep"] if kept else None
    run_both("lstm", call)
    assert np.isnan(wide[:, :size]).all()


@pytest.mark.usefixtures("instruction_set")
@settings(deadline=None, max_examples=40)
@given(rows=st.integers(1, 6), size=SIZES, kept=st.booleans(), seed=st.integers(0, 999))
def test_an_lstm_steps_gradient_is_the_references(
    rows: int, size: int, kept: bool, seed: int
) -> None:
    names = ("cell", "grad_out", "grad_hidden", "grad_cell")
    call = numbers(seed, **dict.fromkeys(names, (rows, size)), keep=(rows,))
    call |= numbers(seed, grad_gates=(rows, 4 * size), grad_bias=(4 * size,))
    call["gates"] = np.tanh(numbers(seed, gates=(rows, 4 * size))["gates"])
    call["keep"] = call["keep"] if kept else None
    run_both("lstm_backward", call)


@pytest.mark.usefixtures("instruction_set")
@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 4),
    horizon=st.integers(1, 7),
    size=SIZES,
    kept=st.booleans(),
    seed=st.integers(0, 999),
)
def test_mingrus_steps_and_gradients_are_the_references(
    rows: int, horizon: int, size: int, kept: bool, seed: int
) -> None:
    one, two = (rows, horizon, size), (rows, horizon, 2 * size)
    call = numbers(seed, gates=two, bias=(2 * size,), x=one, hidden=one, out=one)
    call |= numbers(seed + 1, keep=(rows, horizon), state=(rows, size))
    run_both("mingru", call if kept else {**call, "keep": None})
    back = {name: call[name] for name in ("gates", "keep", "state", "hidden")}
    back |= numbers(seed + 2, grad_out=one, grad_gates=two, grad_bias=(2 * size,))
    run_both("mingru_backward", {**back, "grad_state": np.zeros((rows, size), np.float32)})


def test_sigmoid_and_tanh_are_within_their_stated_error() -> None:
    inner, outer = np.linspace(-25, 25, 2**20), np.geomspace(1e-30, 3e38, 2**17)
    x = np.concatenate([inner, outer, -outer]).astype(np.float32)[:, None]
    zero, rng = np.zeros_like(x), np.random.default_rng(1)
    exact = x[:, 0].astype(np.float64)
    with np.errstate(over="ignore"):
        sigmoid, tanh = 1 / (1 + np.exp(-exact)), np.tanh(exact)
    for others in (x, rng.permutation(x)):  # four gates share a division
        for gate in range(4):
            gates, out = np.tile(others, (1, 4)), np.empty_like(x)
            gates[:, gate] = x[:, 0]
            none = np.zeros(4, np.float32)
            _kernels.lstm(gates=gates, bias=none, cell=zero, out=out, next_cell=out)
            assert np.abs(gates[:, gate] - (tanh if gate == 3 else sigmoid)).max() < 4e-7
    open_gates, out = np.tile(np.float32([0, 99, 99, 0]), (len(x), 1)), np.empty_like(x)
    none, cell = np.zeros(4, np.float32), np.empty_like(x)
    _kernels.lstm(gates=open_gates, bias=none, cell=x, out=out, next_cell=cell)
    assert np.abs(out[:, 0] - tanh).max() < 2e-7
    gates = np.stack([x, zero], 2)
    _kernels.mingru(
        gates=gates,
        bias=none[:2],
        x=gates[:, :, :1].copy(),
        state=zero,
        **{name: np.empty((len(x), 1, 1), np.float32) for name in ("hidden", "out")},
    )
    assert np.abs(gates[:, 0, 0] - sigmoid).max() < 2e-7


@pytest.mark.usefixtures("instruction_set")
def test_nan_is_seen() -> None:
    call = numbers(1, gates=(2, 12), bias=(12,), cell=(2, 3), out=(2, 3), next_cell=(2, 3))
    call["gates"][1, 4] = np.nan
    _kernels.lstm(**call)
    assert np.isnan(call["out"]).tolist() == [[False] * 3, [False, True, False]]


def plain(name: str, policy: Any, obs: torch.Tensor, state: torch.Tensor) -> Any:
    """Return one step by the textbook formulas, in operators that autograd differentiates."""
    x, states = torch.relu(policy.first(obs, policy.norm)), []
    for layer, before in enumerate(state.split(policy.layer_state, 1)):
        if name == "lstm":
            hidden, cell = before.chunk(2, 1)
            i, f, o, g = policy.input[layer](torch.cat((x, hidden), 1)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            x = o.sigmoid() * cell.tanh()
            states.append(torch.cat((x, cell), 1))
        else:
            z, c = policy.input[layer](x).chunk(2, 1)
            hidden = before + z.sigmoid() * (c - before)
            x = x + hidden
            states.append(hidden)
    return policy.heads(x), torch.cat(states, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("rows", "horizon"), [(3, 1), (5, 9), (40, 30)])
def test_values_and_gradients_of_unrolling_are_those_of_plain_steps(
    name: str, dtype: torch.dtype, rows: int, horizon: int
) -> None:
    torch.manual_seed(rows)
    options = PolicyOptions(name=name, hidden_size=19, num_layers=3)
    policy, oracle = make_policy(options, SPEC).to(dtype), make_policy(options, SPEC).double()
    obs, reset = torch.randn(rows, horizon, 7), torch.rand(rows, horizon) < 0.2
    state, weights = torch.randn(rows, policy.state_size), torch.randn(rows, horizon, 5)
    said = policy.unroll(obs.to(dtype), state.to(dtype), reset)
    found = torch.cat((said.logits, said.mean, said.value[:, None]), 1).view(weights.shape)
    (found * weights).sum().backward()
    steps, now = [], state.double()
    for t in range(horizon):
        now = torch.where(reset[:, t, None], 0.0, now)
        out, now = plain(name, oracle, obs[:, t].double(), now)
        steps.append(torch.cat((out.logits, out.mean, out.value[:, None]), 1))
    wanted = torch.stack(steps, 1)
    (wanted * weights).sum().backward()
    exact = dtype == torch.float64
    torch.testing.assert_close(found.double(), wanted, atol=1e-12 if exact else 2e-5, rtol=0)
    for (part, p), q in zip(policy.named_parameters(), oracle.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), part
        if p.grad is not None:
            limit = (1e-12 if exact else 1e-5) * float(q.grad.abs().max().clamp(min=1))
            torch.testing.assert_close(p.grad.double(), q.grad, atol=limit, rtol=0, msg=part)


def test_the_scans_pass_gradcheck() -> None:
    double = {"dtype": torch.float64}
    x, weight = torch.randn(4, 2, 3, **double), torch.randn(12, 6, **double)
    bias = torch.randn(12, **double)
    learnt = [part.requires_grad_() for part in (x, weight, bias)]
    hidden, cell = torch.randn(2, 2, 3, **double)
    keep = torch.randint(0, 2, (4, 2)).double()
    assert torch.autograd.gradcheck(recurrent.lstm_scan, (*learnt, hidden, cell, keep))
    learnt = [x, *(part.detach().requires_grad_() for part in (weight[:6, :3], bias[:6]))]
    state, keep = torch.randn(4, 3, **double), torch.randint(0, 2, (4, 2)).double()
    assert torch.autograd.gradcheck(recurrent.mingru_scan, (*learnt, state, keep))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gates": np.zeros((2, 11), np.float32)}, r"gates: .*\(2, 12\).*\(2, 11\)"),
        ({"cell": np.zeros((2, 3))}, r"cell: expected float32.*float64"),
        ({"cell": np.zeros((2, 6), np.float32)[:, ::2]}, "cell: its rows are not contiguous"),
        ({"keep": np.ones(3, np.float32)}, r"keep: .*\(2,\).*\(3,\)"),
        ({"bias": np.zeros(3, np.float32)}, r"bias: .*\(12,\).*\(3,\)"),
    ],
)
def test_bad_arrays_are_named(change: Call, message: str) -> None:
    call = numbers(1, gates=(2, 12), bias=(12,), cell=(2, 3), out=(2, 3), next_cell=(2, 3))
    with pytest.raises(ValueError, match=message):
        _kernels.lstm(**{**call, **change})


@pytest.mark.usefixtures("instruction_set")
def test_rows_of_steps_become_steps_of_rows_and_rows_again() -> None:
    rows = torch.randn(3, 5, 2).numpy()
    steps, again = np.empty((5, 3, 2), np.float32), np.empty_like(rows)
    _kernels.transpose_rows(rows=rows, out=steps)
    _kernels.transpose_rows(rows=steps, out=again)
    assert_array_equal(steps, rows.swapaxes(0, 1))
    assert_array_equal(again, rows)
    with pytest.raises(ValueError, match=r"out: expected shape \(5, 3, 2\), got \(3, 5, 2\)"):
        _kernels.transpose_rows(rows=rows, out=again)


@pytest.mark.usefixtures("instruction_set")
def test_keep_is_0_where_a_life_begins_and_masks_a_state() -> None:
    reset = np.random.default_rng(0).random((4, 3)) < 0.5
    by_row, by_step = np.empty((4, 3), np.float32), np.empty((3, 4), np.float32)
    _kernels.not_reset(reset=reset, out=by_row)
    _kernels.not_reset(reset=reset, out=by_step, steps_first=True)
    assert_array_equal(by_row, 1 - reset.astype(np.float32))
    assert_array_equal(by_step, by_row.T)
    wide, out = np.random.default_rng(1).random((4, 9)).astype(np.float32), np.ones((4, 5))
    into = out.astype(np.float32)
    _kernels.mask_state(state=wide[:, 2:7], keep=by_step[1], out=into)
    assert_array_equal(into, wide[:, 2:7] * by_row[:, 1, None])


@pytest.mark.usefixtures("instruction_set")
def test_a_part_of_the_columns_is_filled() -> None:
    out = np.zeros((3, 6), np.float32)
    _kernels.fill(out=out[:, 1:3], value=2)
    assert_array_equal(out, [[0, 2, 2, 0, 0, 0]] * 3)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("agents", [None, np.array([4, 1, 2], np.int32)])
def test_lives_and_rows_begin_with_their_states(agents: Any) -> None:
    rng = np.random.default_rng(2)
    fresh = np.array([False, True, False, True, False])
    slot, initial = np.array([8, 12, 21, 4, 0]), rng.random(3).astype(np.float32)
    wide, row_state = rng.random((3, 7)).astype(np.float32), np.full((6, 3), -1, np.float32)
    who, before, state = [1, 2, 3] if agents is None else agents, wide.copy(), wide[:, 2:5]
    given = {"life_start": fresh, "slot": slot, "initial": initial, "row_state": row_state}
    _kernels.init_states(state=state, agents=agents, first=1, horizon=4, **given)
    wanted = np.where(fresh[who, None], initial, before[:, 2:5])
    assert_array_equal(state, wanted)
    assert_array_equal(wide[:, [0, 1, 5, 6]], before[:, [0, 1, 5, 6]])
    rows = np.full((6, 3), -1, np.float32)
    for i, agent in enumerate(who):
        if slot[agent] % 4 == 0:
            rows[slot[agent] // 4] = wanted[i]
    assert_array_equal(row_state, rows)
    slot[2] = 24
    with pytest.raises(IndexError, match=r"slot\[2\] = 24 is outside \[0, 24\)"):
        _kernels.init_states(state=state, agents=agents, first=1, horizon=4, **given)
