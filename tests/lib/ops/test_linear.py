"""Linear layers without autograd: the passes between products against torch, whole networks too."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import TRAIN_CHUNK_STEPS, make_fused
from pufferlib.fused.mlp import FusedMLP
from pufferlib.kernels import _kernels
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from tests.support.games import compare_with_autograd

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
def test_the_passes_are_torchs_layer_and_its_gradient(
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


DISCRETE = PolicySpec((3, 4), torch.uint8, (5, 2), (), ())
CONTINUOUS = PolicySpec((6,), torch.float32, (), (-2.0, 0.0), (2.0, 10.0))
BOTH = PolicySpec((), torch.float32, (3,), (-1.0,), (1.0,))


def network(spec: PolicySpec, steps: int, **options: Any) -> Any:
    """A policy, the same without autograd, the gradients that that adds to, and observations."""
    norm = options.pop("norm", False)
    chosen = PolicyOptions(**{"hidden_size": 19, "num_layers": 3, **options})
    policy = make_policy(chosen, spec, norm_obs=norm)
    obs = torch.randint(0, 9, (23, *spec.obs_shape)).to(spec.obs_dtype)
    if policy.norm is not None:
        policy.norm.update(policy.parts.numbers(obs))
        policy.norm.publish()
    grads = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    return policy, EagerRunner(FusedMLP(policy, grads, steps)), grads, obs


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS, BOTH])
def test_a_network_gives_and_goes_back_as_with_autograd(
    spec: PolicySpec, activation: str, norm: bool
) -> None:
    torch.manual_seed(3)
    policy, fused, grads, obs = network(spec, 30, activation=activation, norm=norm)
    for part in (slice(0, 15), slice(15, 23)):  # gradients add up, in memory that is used again
        seen = obs[part].unsqueeze(0)
        wanted, found = (
            policy(obs[part])[0],
            fused.unroll(seen, None, torch.zeros(seen.shape[:2])),
        )
        compare_with_autograd(wanted, found, fused)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, atol=2e-4, rtol=1e-4, msg=name)


def test_many_act_at_once_and_any_number_of_them() -> None:
    policy, fused, _, _ = network(CONTINUOUS, 4)
    for n in (3, 6, 23, 1, 9, 4):
        obs = torch.randn(n, 6)
        with torch.no_grad():
            wanted = policy(obs)[0]
        found, state = fused.forward(obs)
        assert state is None
        torch.testing.assert_close(found.mean, wanted.mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.value, wanted.value, atol=1e-5, rtol=1e-5)


def test_what_is_too_much_to_go_back_through_is_not_gone_back_through() -> None:
    policy, fused, _, _ = network(CONTINUOUS, 4)
    with pytest.raises(RuntimeError, match="no forward pass to differentiate"):
        fused.backward()
    for rows in (2, 3):
        obs = torch.randn(rows, 2, 6)
        with torch.no_grad():
            wanted = policy(obs.flatten(0, 1))[0]
        found = fused.unroll(obs, None, torch.zeros(rows, 2))
        torch.testing.assert_close(found.value, wanted.value, atol=1e-5, rtol=1e-5)
    with pytest.raises(RuntimeError, match="with more than 4 steps"):
        fused.gradient()


def test_parts_to_act_in_are_no_smaller_for_small_minibatches() -> None:
    policy, _, grads, _ = network(DISCRETE, 4)
    assert [make_fused(policy, grads, steps).chunk_size for steps in (4, 5000)] == [
        TRAIN_CHUNK_STEPS,
        5000,
    ]


def test_only_what_it_knows_goes_without_autograd() -> None:
    for options in ({}, {"activation": "tanh", "num_layers": 1}):
        policy, _, grads, _ = network(DISCRETE, 4, **options)
        assert make_fused(policy, grads) is not None
        policy.heads.out.bias.requires_grad_(False)
        trained = {n: g for n, g in grads.items() if n != "heads.out.bias"}
        assert make_fused(policy, trained) is None
    for options in ({"activation": "gelu"}, {"activation": "gelu", "name": "lstm"}):
        policy = make_policy(PolicyOptions(**options), DISCRETE)
        grads = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
        assert make_fused(policy, grads) is None
    policy, _, grads, _ = network(DISCRETE, 4)
    assert make_fused(policy.double(), grads) is None
