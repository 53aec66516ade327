"""bfloat16: the passes against torch in float32, rounded, and networks against those in float32."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib import _kernels
from tests.test_dense import APPLY, SIZES

LOWER = np.uint32([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])  # of a float32: below, at, above a tie


def words(tensor: torch.Tensor) -> Any:
    """A bfloat16 tensor as the passes see it."""
    return tensor.view(torch.uint16).numpy()


def rounded(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x)).bfloat16()


def every_float32() -> Any:
    """float32 of every upper half, be it denormal, infinite or NaN, with lower halves of note."""
    upper = np.arange(2**16, dtype=np.uint32) << 16
    return (upper[:, None] | LOWER).view(np.float32)


def gathered(x: Any) -> Any:
    y = np.zeros(x.shape, np.uint16)
    _kernels.gather(x, np.arange(len(x)), y)
    return y


def gone_back(x: Any) -> Any:
    y, grad_bias = np.zeros(x.shape, np.uint16), np.zeros(x.shape[1], np.float32)
    _kernels.dense_bf16_back(y=x, grad=x, out=y, grad_bias=grad_bias, activation="identity")
    return y


@pytest.mark.parametrize("through", [gathered, gone_back])
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


CASES = given(
    rows=st.integers(0, 11),
    size=SIZES,
    activation=st.sampled_from(list(APPLY)),
    wide=st.booleans(),
    seed=st.integers(0, 999),
)


@settings(deadline=None, max_examples=60)
@CASES
def test_a_layer_is_torchs_in_float32_rounded(
    rows: int, size: int, activation: str, wide: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    product, bias = (2 * torch.randn(rows, size)).bfloat16(), torch.randn(size)
    want = APPLY[activation](product.float() + bias)
    y = torch.full((rows, size), 7.0, dtype=torch.float32 if wide else torch.bfloat16)
    given: dict[str, Any] = {"bias": bias.numpy(), "activation": activation}
    _kernels.dense_bf16(product=words(product), y=y.numpy() if wide else words(y), **given)
    if wide:
        torch.testing.assert_close(y, want, rtol=1e-5, atol=2e-6)
        return
    near = want.bfloat16()
    exact = activation != "tanh"  # which may fall on the other side of a tie
    torch.testing.assert_close(y, near, rtol=0 if exact else 2**-7, atol=0 if exact else 1e-6)
    _kernels.dense_bf16(product=words(product), y=words(product), **given)
    assert torch.equal(product, y)


@settings(deadline=None, max_examples=60)
@CASES
def test_a_layers_gradient_is_torchs_in_float32_rounded(
    rows: int, size: int, activation: str, wide: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    dtype = torch.float32 if wide else torch.bfloat16
    x = torch.randn(rows, size).requires_grad_()
    y, grad = APPLY[activation](x).detach().to(dtype), torch.randn(rows, size).to(dtype)
    seen = y.float()
    slope = {"identity": torch.ones_like(seen), "relu": (seen > 0).float(), "tanh": 1 - seen**2}
    want, before = grad.float() * slope[activation], torch.randn(size)
    out, grad_bias = torch.zeros(rows, size, dtype=torch.bfloat16), before.clone()
    show = torch.Tensor.numpy if wide else words
    given: dict[str, Any] = {"y": show(y), "grad": show(grad), "activation": activation}
    _kernels.dense_bf16_back(out=words(out), grad_bias=grad_bias.numpy(), **given)
    assert torch.equal(out, want.bfloat16())
    assert_allclose(grad_bias, before + want.sum(0), rtol=1e-5, atol=1e-5)
    if not wide:
        _kernels.dense_bf16_back(out=words(grad), grad_bias=grad_bias.numpy(), **given)
        assert torch.equal(grad, out)


def test_nan_is_seen() -> None:
    for activation in APPLY:
        product = torch.zeros(2, 20, dtype=torch.bfloat16)
        product[1, 18] = torch.nan
        bias = np.ones(20, np.float32)
        for y in (torch.zeros(2, 20), torch.zeros(2, 20, dtype=torch.bfloat16)):
            show = y.numpy() if y.dtype == torch.float32 else words(y)
            _kernels.dense_bf16(product=words(product), y=show, bias=bias, activation=activation)
            assert y.isnan().nonzero().tolist() == [[1, 18]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"product": np.zeros((2, 4), np.float32)}, r"product: expected bfloat16 as uint16"),
        ({"y": np.zeros((2, 4))}, r"y: expected float32 or bfloat16 as uint16, got float64"),
        ({"y": np.zeros((2, 3), np.uint16)}, r"y: expected bfloat16 as uint16 of shape \(2, 4\)"),
        ({"bias": np.zeros(4, np.uint16)}, r"bias: expected float32"),
    ],
)
def test_bad_arrays_are_named(change: dict[str, Any], message: str) -> None:
    call = {name: np.zeros((2, 4), np.uint16) for name in ("product", "y")}
    call["bias"] = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=message):
        _kernels.dense_bf16(**{"activation": "relu", **call, **change})
