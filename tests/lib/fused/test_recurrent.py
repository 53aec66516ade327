"""The fused LSTM and minGRU: values, states and gradients equal autograd's."""

from typing import Any

import pytest
import torch

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import chunk_sequences, make_fused
from pufferlib.policies import recurrent
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from tests.support.games import compare_with_autograd
from tests.support.specs import BOTH, CONTINUOUS, DISCRETE

each = pytest.mark.parametrize("name", ["lstm", "mingru"])


def network(spec: PolicySpec, name: str, **options: Any) -> Any:
    """Return a policy, its fused network, and the gradients that it adds to."""
    norm = options.pop("norm", False)
    chosen = PolicyOptions(**{"name": name, "hidden_size": 19, "num_layers": 3, **options})
    policy = make_policy(chosen, spec, norm_obs=norm)
    if policy.norm is not None:
        policy.norm.update(policy.parts.numbers(observations(spec, 50)))
        policy.norm.publish()
    grads = {n: torch.randn(p.shape) for n, p in policy.named_parameters()}
    return policy, EagerRunner(make_fused(policy, grads)), grads


def observations(spec: PolicySpec, *shape: int) -> torch.Tensor:
    """Return random observations (*shape, *O)."""
    return torch.randint(0, 9, (*shape, *spec.obs_shape)).to(spec.obs_dtype)


@each
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS, BOTH])
def test_output_and_gradients_are_those_of_autograd(
    spec: PolicySpec, activation: str, norm: bool, name: str
) -> None:
    torch.manual_seed(3)
    policy, fused, grads = network(spec, name, activation=activation, norm=norm)
    before = {n: grad.clone() for n, grad in grads.items()}
    for rows in (5, 3, 5):  # gradients accumulate; memory is reused
        obs, reset = observations(spec, rows, 7), torch.rand(rows, 7) < 0.3
        state = torch.randn(rows, policy.state_size)
        wanted, found = (net.unroll(obs, state, reset) for net in (policy, fused))
        compare_with_autograd(wanted, found, fused)
    for n, parameter in policy.named_parameters():
        wanted = before[n] + parameter.grad
        torch.testing.assert_close(grads[n], wanted, atol=3e-4, rtol=1e-4, msg=n)


@each
def test_acting_gives_output_and_state_of_the_policy_and_leaves_the_given_state(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent, "ACT_CHUNK_AGENTS", 4)
    monkeypatch.setattr("pufferlib.fused.recurrent.ACT_CHUNK_AGENTS", 4)
    torch.manual_seed(1)
    policy, fused, _ = network(CONTINUOUS, name)
    for n in (1, 4, 11, 3):
        obs, state = observations(CONTINUOUS, n), torch.randn(n, policy.state_size)
        given = state.clone()
        (wanted, new), (found, after) = policy(obs, state), fused.forward(obs, state)
        assert torch.equal(state, given)
        torch.testing.assert_close(after, new, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.mean, wanted.mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.value, wanted.value, atol=1e-5, rtol=1e-5)


def test_an_encoder_is_not_fused_and_an_lstms_chunk_is_a_threads_whole_share() -> None:
    image = PolicySpec((16, 16, 3), torch.uint8, (2,), (), ())
    policy = make_policy(PolicyOptions(name="lstm"), image)
    assert make_fused(policy, dict(policy.named_parameters())) is None
    lstm, mingru = (make_policy(PolicyOptions(name=n), DISCRETE) for n in ("lstm", "mingru"))
    assert [chunk_sequences(lstm, 64, share) for share in (7, 999)] == [7, 128]
    assert chunk_sequences(mingru, 64, 999) == 16
