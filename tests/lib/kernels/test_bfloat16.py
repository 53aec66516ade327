"""bfloat16: kernels write the same factors as in float32, rounded to nearest."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from pufferlib.kernels import _kernels
from tests.lib.ops.test_linear import APPLY, SIZES

LOWER = np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])  # lower halves: below, at, above a tie


def words(tensor: torch.Tensor) -> Any:
    """View a bfloat16 tensor as uint16, as kernels take it."""
    return tensor.view(torch.uint16).numpy()


def rounded(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x)).bfloat16()


def every_float32() -> Any:
    """Return float32 with every upper half, including denormals, infinities and NaN."""
    upper = np.arange(2**16, dtype=np.uint32) << 16
    return (upper[:, None] | LOWER).view(np.float32)


def through_gather(x: Any) -> Any:
    y = np.zeros(x.shape, np.uint16)
    _kernels.gather(x, np.arange(len(x)), y)
    return y


def through_linear_backward(x: Any) -> Any:
    y, grad_bias = np.zeros(x.shape, np.uint16), np.zeros(x.shape[1], np.float32)
    _kernels.linear_backward(y=x, grad=x, out=y, grad_bias=grad_bias, activation="identity")
    return y


def through_to_float(x: Any) -> Any:
    y, given = np.zeros(x.shape, np.uint16), _kernels.GraphInput(*x.shape, x.dtype)
    given.bind(x)
    _kernels.to_float(input=given, out=y)
    return y


@pytest.mark.parametrize("through", [through_gather, through_linear_backward, through_to_float])
def test_every_bit_pattern_is_rounded_to_the_nearest_ties_to_even(through: Any) -> None:
    x = every_float32()
    y, want, nan = through(x), rounded(x), np.isnan(x)
    assert nan.sum() > 1000
    assert_array_equal(y[~nan], words(want)[~nan])
    assert torch.from_numpy(y).view(torch.bfloat16)[torch.from_numpy(nan)].isnan().all()


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int32, np.float32])
def test_rows_of_every_dtype_are_gathered_as_bfloat16(kind: Any) -> None:
    rng = np.random.default_rng(0)
    pool = rng.integers(-(2**31), 2**31, (9, 3, 5)).astype(np.int32).astype(kind)
    if kind == np.float32:
        pool = rng.normal(0, 100, pool.shape).astype(kind)
    index, out = np.int32([8, 0, 0, 3]), np.zeros((4, 3, 5), np.uint16)
    for scale in (1.0, 0.3):
        _kernels.gather(pool, index, out, scale)
        want = pool[index].astype(np.float32) * np.float32(scale)
        assert_array_equal(out, words(rounded(want)))


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([np.uint8, np.int8, np.int32, np.float32]),
    rows=st.integers(1, 5),
    size=st.integers(1, 70) | st.sampled_from([118, 256, 257, 700]),
    normal=st.booleans(),
    narrow=st.booleans(),
    bound=st.sampled_from([0.0, 10.0, 1e4, np.inf]),
    seed=st.integers(0, 999),
)
def test_numbers_are_converted_normalized_and_clipped(
    kind: Any, rows: int, size: int, normal: bool, narrow: bool, bound: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pool = rng.integers(-(2**20), 2**20, (3 * rows, size)).astype(np.int32).astype(kind)
    if kind == np.float32:
        odd = np.float32([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 0])
        pool = np.where(rng.random(pool.shape) < 0.3, rng.choice(odd, pool.shape), pool)
    mean, scale = rng.normal(0, 9, (2, size)).astype(np.float32)
    given = _kernels.GraphInput(rows, size, pool.dtype)
    given.bind(pool, 1, 3)
    around = np.full((rows, size + 2), 7, np.uint16 if narrow else np.float32)
    statistics = {"mean": mean, "scale": scale, "bound": bound} if normal else {}
    _kernels.to_float(input=given, out=around[:, 1:-1], **statistics)
    want = pool[1::3].astype(np.float32)
    if normal:
        with np.errstate(over="ignore"):
            want = np.clip((want - mean) * scale, -np.float32(bound), np.float32(bound))
    found, nan = around[:, 1:-1], np.isnan(want)
    assert_array_equal(found[~nan], (words(rounded(want)) if narrow else want)[~nan])
    found = torch.from_numpy(found.copy())
    assert (found.view(torch.bfloat16) if narrow else found).isnan().numpy()[nan].all()
    assert (around[:, 0] == 7).all() and (around[:, -1] == 7).all()


# The shapes of each kernel's arrays, in the letters below, and which of them may be bfloat16.
SHAPES: dict[str, dict[str, str]] = {
    "linear": {"product": "nd", "bias": "d", "y": "nd"},
    "linear_backward": {"y": "nd", "grad": "nd", "out": "nd", "grad_bias": "d"},
    "lstm": {
        **{"gates": "nf", "bias": "f", "cell": "nd", "keep": "n"},
        **{"out": "nd", "next_cell": "nd", "next_hidden": "nd"},
    },
    "lstm_backward": {
        **{"gates": "nf", "cell": "nd", "keep": "n", "grad_out": "nd", "grad_hidden": "nd"},
        **{"grad_cell": "nd", "grad_gates": "nf", "grad_bias": "f"},
    },
    "mingru": {
        **{"gates": "nht", "bias": "t", "keep": "nh", "x": "nhd", "state": "nd"},
        **{"hidden": "nhd", "out": "nhd"},
    },
    "mingru_backward": {
        **{"gates": "nht", "keep": "nh", "state": "nd", "hidden": "nhd", "grad_out": "nhd"},
        **{"grad_state": "nd", "grad_gates": "nht", "grad_bias": "t"},
    },
    "mask_state": {"state": "nd", "keep": "n", "out": "nd"},
}
OPERANDS = {
    **{"linear": ["y"], "linear_backward": ["y", "out"], "lstm": ["out", "next_hidden"]},
    **{"lstm_backward": ["grad_gates"], "mingru": ["x", "out"], "mingru_backward": ["grad_gates"]},
    **{"mask_state": ["out"]},
}


def spaced(array: Any) -> Any:
    """Copy a matrix so that 7s separate its rows; return other arrays unchanged."""
    if array.ndim != 2:
        return array
    wide = np.full((array.shape[0], array.shape[1] + 3), 7, array.dtype)
    wide[:, 1:-2] = array
    return wide[:, 1:-2]


@pytest.mark.parametrize("name", SHAPES)
@settings(deadline=None, max_examples=40)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 4), SIZES),
    narrow=st.tuples(st.booleans(), st.booleans()),
    activation=st.sampled_from(list(APPLY)),
    seed=st.integers(0, 999),
)
def test_a_kernel_writes_for_products_what_it_writes_in_float32_rounded(
    name: str, sizes: Any, narrow: Any, activation: str, seed: int
) -> None:
    rng, (n, h, d) = np.random.default_rng(seed), sizes
    letters = {"n": n, "h": h, "d": d, "t": 2 * d, "f": 4 * d}
    wide = {
        array: rng.normal(0, 1, [letters[c] for c in shape]).astype(np.float32)
        for array, shape in SHAPES[name].items()
    }
    some = [operand for operand, chosen in zip(OPERANDS[name], narrow, strict=False) if chosen]
    for operand in some:  # bfloat16 represents the inputs exactly
        wide[operand] = rounded(wide[operand]).float().numpy()
    short = {
        array: words(rounded(value)) if array in some else value.copy()
        for array, value in wide.items()
    }
    if name == "mingru":  # steps need not be adjacent
        around = np.zeros((n, h, d + 3), np.float32)
        around[:, :, 1:-2] = short["hidden"]
        short["hidden"] = around[:, :, 1:-2]
    matrices = [a for a, shape in SHAPES[name].items() if shape in ("nd", "nf") and a in some]
    short |= {array: spaced(short[array]) for array in matrices}
    options = {"activation": activation} if name.startswith("linear") else {}
    for call in (wide, short):
        getattr(_kernels, name)(**call, **options)
    for array, value in wide.items():
        want = words(rounded(value)) if array in some else value
        assert_array_equal(short[array], want, err_msg=array)
    for array in matrices:
        around = short[array].base
        assert (around[:, 0] == 7).all() and (around[:, -2:] == 7).all(), array


@pytest.mark.parametrize("activation", APPLY)
def test_a_gradient_may_be_rounded_in_place(activation: str) -> None:
    rng = np.random.default_rng(0)
    y, grad = rng.normal(0, 1, (2, 5, 20)).astype(np.float32)
    found, bias = [], np.zeros((2, 20), np.float32)
    for i, out in enumerate((np.zeros((5, 20), np.uint16), grad.view(np.uint16)[:, :20])):
        given: dict[str, Any] = {"y": y, "grad": grad, "out": out, "grad_bias": bias[i]}
        _kernels.linear_backward(**given, activation=activation)
        found.append(out.copy())
    assert_array_equal(*found)
    assert_array_equal(*bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": np.zeros((2, 3, 8), np.float32)[:, :, ::2]}, "hidden: its steps are not"),
        ({"hidden": np.zeros((2, 6, 4), np.float32)[:, ::2][:, :3]}, None),
        ({"hidden": np.zeros((2, 7, 4), np.float32)[:, :3]}, "hidden: its steps are not"),
        ({"hidden": np.zeros((5, 9, 9), np.float32)[2:4, :3, :4]}, "hidden: its steps are not"),
        ({"hidden": np.zeros((2, 3, 4))}, r"hidden: expected float32 of shape \(2, 3, 4\)"),
        ({"out": np.zeros((2, 3, 4), np.int32)}, "out: expected float32 or bfloat16"),
        ({"out": np.zeros((2, 3, 5), np.uint16)}, r"out: expected bfloat16 .*\(6, 4\)"),
        ({"out": np.broadcast_to(np.uint16(0), (2, 3, 4))}, "out: "),
    ],
)
def test_bad_arrays_are_named(change: dict[str, Any], message: str | None) -> None:
    call: dict[str, Any] = {n: np.zeros((2, 3, 4), np.float32) for n in ("x", "hidden", "out")}
    call |= {"gates": np.zeros((2, 3, 8), np.float32), "bias": np.zeros(8, np.float32)}
    call["state"] = np.zeros((2, 4), np.float32)
    if message is None:
        _kernels.mingru(**{**call, **change})
        return
    with pytest.raises(ValueError, match=message):
        _kernels.mingru(**{**call, **change})


def test_what_is_read_only_and_part_of_a_normalization_are_refused() -> None:
    fixed = np.zeros((2, 4), np.uint16)
    fixed.setflags(write=False)
    given: dict[str, Any] = {"product": np.zeros((2, 4), np.float32), "activation": "relu"}
    with pytest.raises(ValueError, match="y: the kernel writes to it, but the array is read-only"):
        _kernels.linear(y=fixed, bias=np.zeros(4, np.float32), **given)
    rows = _kernels.GraphInput(2, 4, "float32")
    rows.bind(np.zeros((2, 4), np.float32))
    zeros = np.zeros(4, np.float32)
    some: list[dict[str, Any]] = [{"mean": zeros}, {"bound": 1}, {"mean": zeros, "scale": zeros}]
    for statistics in some:
        with pytest.raises(TypeError, match="mean, scale and bound: give all of them or none"):
            _kernels.to_float(input=rows, out=np.zeros((2, 4), np.uint16), **statistics)
    for bound in (-1.0, np.nan):
        with pytest.raises(ValueError, match=f"bound: expected a number from 0 on, got {bound}"):
            _kernels.to_float(input=rows, out=fixed.copy(), mean=zeros, scale=zeros, bound=bound)


def test_a_layer_may_write_its_result_over_its_input() -> None:
    x = rounded(np.random.default_rng(0).normal(0, 1, (3, 2, 20)))
    state, bias = np.ones((3, 20), np.float32), np.zeros(40, np.float32)
    found = []
    for out in (torch.zeros_like(x), x):
        gates, hidden = np.ones((3, 2, 40), np.float32), np.zeros((3, 2, 20), np.float32)
        given: dict[str, Any] = {"gates": gates, "bias": bias, "state": state, "hidden": hidden}
        _kernels.mingru(x=words(x), out=words(out), **given)
        found.append(out)
    assert torch.equal(*found)


def test_nan_is_seen() -> None:
    for activation in APPLY:
        product, y = np.zeros((2, 20), np.float32), np.zeros((2, 20), np.uint16)
        product[1, 18] = np.nan
        _kernels.linear(product=product, y=y, bias=np.ones(20, np.float32), activation=activation)
        seen = torch.from_numpy(y).view(torch.bfloat16).isnan()
        assert seen.nonzero().tolist() == [[1, 18]]
