"""Autocast: products in bfloat16 but for the heads, outputs in float32."""

import pytest
import torch

from pufferlib.config.options import PolicyOptions
from pufferlib.policies.autocast import Autocast
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.custom import AdaptedModule
from pufferlib.policies.factory import make_policy

OUTPUT_ERROR = 0.02  # relative; one rounding has an error of at most 0.004


def error(got: torch.Tensor, want: torch.Tensor) -> float:
    """Return the relative error of all entries together."""
    return float((got - want).norm() / want.norm())


class Recording(torch.nn.Module):
    """A user's network, which records the dtype of its product."""

    def __init__(self) -> None:
        super().__init__()
        self.both = torch.nn.Linear(6, 4)
        self.dtype = torch.float32

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self.both(obs)
        self.dtype = out.dtype
        return out[:, :3], out[:, 3:]


def test_a_users_own_network_is_autocast_and_its_output_float32() -> None:
    module = Recording()
    policy = Autocast(AdaptedModule(PolicySpec((6,), torch.float32, (3,), (), ()), module))
    output = policy.unroll(torch.randn(2, 5, 6), None, torch.zeros(2, 5))
    assert module.dtype == torch.bfloat16
    assert output.logits.dtype == output.value.dtype == torch.float32
    (output.logits.sum() + output.value.sum()).backward()
    assert module.both.weight.grad.dtype == torch.float32
    module.both(torch.randn(1, 6))
    assert policy(torch.randn(2, 6), None)[0].value.shape == (2,)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_our_layers_are_autocast_but_for_the_heads(name: str) -> None:
    image = PolicySpec((12, 12, 3), torch.uint8, (3,), (), ())
    spec = image if name == "cnn" else PolicySpec((6,), torch.float32, (3,), (), ())
    policy = make_policy(PolicyOptions(name=name, hidden_size=32), spec, norm_obs=name == "mlp")
    obs = torch.randint(0, 255, (8, *spec.obs_shape)).to(spec.obs_dtype)
    if policy.norm is not None:  # observations are rounded after normalization, not before
        obs += 100_000
        policy.norm.update(policy.parts.numbers(obs))
        policy.norm.publish()
    seen = []
    policy.heads.out.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    with torch.no_grad():
        want, got = policy(obs, None)[0], Autocast(policy)(obs, None)[0]
    assert seen[1][0].dtype == torch.bfloat16 and seen[1][1].dtype == torch.float32
    for a, b in ((want.logits, got.logits), (want.value, got.value)):
        assert error(b, a) < OUTPUT_ERROR
