"""The fused MLP: outputs and gradients equal autograd's, in chunks of any number of steps."""

from typing import Any

import pytest
import torch

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import TRAIN_CHUNK_STEPS, make_fused
from pufferlib.fused.mlp import FusedMLP
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from tests.support.games import compare_with_autograd
from tests.support.specs import BOTH, CONTINUOUS, DISCRETE, UNUSUAL


def network(spec: PolicySpec, steps: int, **options: Any) -> Any:
    """Return a policy, its fused network, the gradients that it adds to, and observations."""
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
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS, BOTH, UNUSUAL])
def test_output_and_gradients_are_those_of_autograd(
    spec: PolicySpec, activation: str, norm: bool
) -> None:
    torch.manual_seed(3)
    policy, fused, grads, obs = network(spec, 30, activation=activation, norm=norm)
    for part in (slice(0, 15), slice(15, 23)):  # gradients accumulate; memory is reused
        seen = obs[part].unsqueeze(0)
        wanted, found = (
            policy(obs[part])[0],
            fused.unroll(seen, None, torch.zeros(seen.shape[:2])),
        )
        compare_with_autograd(wanted, found, fused)
    for name, parameter in policy.named_parameters():
        torch.testing.assert_close(grads[name], parameter.grad, atol=2e-4, rtol=1e-4, msg=name)


def test_any_number_of_agents_acts_in_chunks() -> None:
    policy, fused, _, _ = network(CONTINUOUS, 4)
    for n in (3, 6, 23, 1, 9, 4):
        obs = torch.randn(n, 6)
        with torch.no_grad():
            wanted = policy(obs)[0]
        found, state = fused.forward(obs)
        assert state is None
        torch.testing.assert_close(found.mean, wanted.mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.value, wanted.value, atol=1e-5, rtol=1e-5)


def test_an_unroll_of_more_steps_than_a_chunk_has_no_backward_pass() -> None:
    policy, fused, _, _ = network(CONTINUOUS, 4)
    with pytest.raises(RuntimeError, match="no forward pass to differentiate"):
        fused.backward()
    for rows in (2, 3):
        obs = torch.randn(rows, 2, 6)
        with torch.no_grad():
            wanted = policy(obs.flatten(0, 1))[0]
        found = fused.unroll(obs, None, torch.zeros(rows, 2))
        torch.testing.assert_close(found.value, wanted.value, atol=1e-5, rtol=1e-5)
    with pytest.raises(RuntimeError, match="with no more than 4 steps"):
        fused.gradient()


def test_chunks_to_act_in_are_no_smaller_for_small_minibatches() -> None:
    policy, _, grads, _ = network(DISCRETE, 4)
    assert [make_fused(policy, grads, steps).chunk_size for steps in (4, 5000)] == [
        TRAIN_CHUNK_STEPS,
        5000,
    ]


def test_only_known_networks_are_fused() -> None:
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
