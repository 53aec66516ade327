"""The kernels of a linear layer, held against torch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.kernels import _kernels

APPLY = {"identity": lambda x: x, "relu": torch.relu, "tanh": torch.tanh}
SIZES = st.sampled_from([1, 3, 4, 8, 15, 16, 17, 31, 32, 40, 128])


@pytest.mark.usefixtures("instruction_set")
@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(0, 11),
    size=SIZES,
    activation=st.sampled_from(list(APPLY)),
    seed=st.integers(0, 999),
)
def test_the_kernels_are_torchs_layer_and_its_gradient(
    rows: int, size: int, activation: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    product, grad, bias, before = (
        rng.normal(0, 2, shape).astype(np.float32)
        for shape in ((rows, size), (rows, size), (size,), (size,))
    )
    x = torch.from_numpy(product).double().requires_grad_()
    b = torch.from_numpy(bias).double().requires_grad_()
    wanted = APPLY[activation](x + b)
    wanted.backward(torch.from_numpy(grad).double())
    y, back = np.full((2, rows, size + 3), np.nan, np.float32)[:, :, 1 : size + 1]
    y[:], back[:], grad_bias = product, grad, before.copy()
    _kernels.linear(product=y, y=y, bias=bias, activation=activation)
    assert_allclose(y, wanted.detach(), rtol=1e-5, atol=2e-6)
    given = {"y": y, "grad": back, "out": back, "grad_bias": grad_bias}
    _kernels.linear_backward(activation=activation, **given)
    assert_allclose(back, x.grad, rtol=1e-5, atol=2e-5)
    assert_allclose(grad_bias, before + b.grad.numpy(), rtol=1e-5, atol=5e-5)


@pytest.mark.usefixtures("instruction_set")
def test_nan_is_seen() -> None:
    for activation in APPLY:
        y = np.zeros((2, 20), np.float32)
        y[1, 18] = np.nan
        _kernels.linear(product=y, y=y, bias=np.ones(20, np.float32), activation=activation)
        assert_array_equal(np.argwhere(np.isnan(y)), [[1, 18]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": np.zeros(3, np.float32)}, r"bias: expected float32 of shape \(4,\)"),
        ({"product": np.zeros((2, 4))}, r"product: expected float32"),
        ({"y": np.zeros((2, 4))}, r"y: expected float32 or bfloat16 as uint16, got float64"),
        ({"y": np.zeros((2, 3), np.uint16)}, r"y: expected bfloat16 as uint16 of shape \(2, 4\)"),
        ({"y": np.zeros((4, 2), np.float32).T}, r"y: its rows are not contiguous"),
        ({"activation": "gelu"}, r"activation: expected one of identity, relu, tanh, got 'gelu'"),
    ],
)
def test_bad_arrays_are_named(change: dict[str, Any], message: str) -> None:
    call = {name: np.zeros((2, 4), np.float32) for name in ("product", "y")}
    call["bias"] = np.zeros(4, np.float32)
    with pytest.raises(ValueError, match=message):
        _kernels.linear(**{"activation": "relu", **call, **change})
