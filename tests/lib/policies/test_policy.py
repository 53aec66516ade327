"""Networks: shapes, initialization, views, and unrolling that equals acting."""

import math

import numpy as np
import pytest
import torch

from pufferlib.config.options import PolicyOptions
from pufferlib.ops.output import Output
from pufferlib.policies.axis_scale import axis_scale
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.custom import AdaptedModule
from pufferlib.policies.factory import make_policy
from pufferlib.policies.layers import InputLayer
from pufferlib.policies.mlp import MLP
from tests.support.specs import CONTINUOUS, DISCRETE, UNUSUAL

BOTH = PolicySpec((7,), torch.float32, (3,), (-1.0,), (1.0,))
NAMES = ["mlp", "lstm", "mingru"]


def observe(spec, *lead):
    """Return random observations (*lead, *O)."""
    return torch.randint(0, 3, (*lead, *spec.obs_shape)).to(spec.obs_dtype)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS, BOTH])
def test_output_has_the_parts_and_shapes_that_the_game_asks_for(name, spec):
    policy = make_policy(PolicyOptions(name=name, hidden_size=16, num_layers=3), spec)
    state = policy.initial_state(9)
    output, new = policy(observe(spec, 9), state)
    if spec.sizes:
        assert output.logits.shape == (9, sum(spec.sizes))
    else:
        assert output.logits is None
    if spec.low:
        assert output.mean.shape == (9, len(spec.low))
        assert output.log_std.shape == (len(spec.low),)
    else:
        assert output.mean is None and output.log_std is None
    assert output.value.shape == (9,)
    assert (new is None) == (name == "mlp") and (new is None or new.shape == state.shape)


def test_new_weights_are_orthogonal_with_their_gains_and_follow_the_seed():
    policy = make_policy(PolicyOptions(hidden_size=32, num_layers=2), BOTH, seed=3)
    hidden = policy.hidden[0].weight
    torch.testing.assert_close(hidden @ hidden.T, 2 * torch.eye(32), atol=1e-5, rtol=0)
    first = policy.first.weight
    torch.testing.assert_close(first.T @ first, 2 * torch.eye(7), atol=1e-5, rtol=0)
    logits, _, value = policy.heads.weights()
    torch.testing.assert_close(logits @ logits.T, 1e-4 * torch.eye(3), atol=1e-8, rtol=0)
    assert value.norm().item() == pytest.approx(1.0)
    assert all((p == 0).all() for n, p in policy.named_parameters() if n.endswith("bias"))
    again = make_policy(PolicyOptions(hidden_size=32, num_layers=2), BOTH, seed=3)
    other = make_policy(PolicyOptions(hidden_size=32, num_layers=2), BOTH, seed=4)
    assert torch.equal(hidden, again.hidden[0].weight)
    assert not torch.equal(hidden, other.hidden[0].weight)


def test_making_a_policy_leaves_torchs_random_numbers_alone():
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    make_policy(PolicyOptions(), BOTH, seed=9)
    assert torch.equal(torch.rand(3), want)


def test_a_gaussian_starts_in_the_middle_of_each_axis_with_a_width_of_its_range():
    output, _ = make_policy(PolicyOptions(), CONTINUOUS)(torch.zeros(1, 6), None)
    torch.testing.assert_close(output.mean[0], torch.tensor([0.0, 5.0]))
    half = torch.tensor([2.0, 5.0])
    torch.testing.assert_close(output.log_std.exp(), half * math.exp(-0.5))


@pytest.mark.parametrize(
    ("low", "high", "middle", "reach"),
    [
        (-2, 10, 4, 6),
        (-5e5, 5e5, 0, 5e5),
        (-math.inf, math.inf, 0, 1),
        (0, math.inf, 1, 1),
        (3, math.inf, 4, 1),
        (-7, math.inf, 0, 1),
        (-math.inf, -3, -4, 1),
        (-3e38, 3e38, 0, 1),
        (2, 1e9, 3, 1),
        (0.5, 0.5, 0.5, 0),
    ],
)
def test_the_scale_of_an_axis_is_that_of_its_bounds_if_they_have_one(low, high, middle, reach):
    assert axis_scale(low, high) == (middle, reach)


def test_an_axis_of_one_value_has_it_as_its_mean_and_learns_nothing():
    policy = make_policy(PolicyOptions(hidden_size=8), UNUSUAL)
    output, _ = policy(torch.randn(9, 6), None)
    assert (output.mean[:, 3] == torch.tensor(0.3)).all() and output.log_std.isfinite().all()
    normal = torch.distributions.Normal(output.mean, output.log_std.exp())
    assert normal.entropy()[:, 3].abs().max() < 1e-6
    normal.log_prob(output.mean.detach() + 1).sum().backward()
    assert policy.heads.log_std.grad[3] == 0 and policy.heads.log_std.grad[4] != 0
    assert (policy.heads.out.weight.grad[3] == 0).all() and policy.heads.out.bias.grad[3] == 0
    assert all(p.grad.isfinite().all() for p in policy.parameters() if p.grad is not None)


def act(policy, obs, state, reset):
    """Unroll step by step: one forward each, from the initial state where a life begins."""
    outputs = []
    for t in range(obs.shape[1]):
        if state is not None:
            begins = reset[:, t].unsqueeze(1)
            state = torch.where(begins, policy.initial_state(len(obs)), state)
        output, state = policy(obs[:, t], state)
        outputs.append(output)
    return outputs


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("horizon", [1, 2, 13, 64])
def test_unrolling_a_row_gives_what_acting_gave(name, horizon):
    torch.manual_seed(horizon)
    policy = make_policy(PolicyOptions(name=name, hidden_size=24, num_layers=3), BOTH)
    rows = 11
    obs = torch.randn(rows, horizon, 7)
    reset = torch.rand(rows, horizon) < 0.2
    state = policy.initial_state(rows)
    if state is not None:
        state = torch.randn_like(state)
    unrolled = policy.unroll(obs, state, reset)
    acted = act(policy, obs, state, reset)
    for name_of_part in ("logits", "mean", "value"):
        want = torch.stack([getattr(o, name_of_part) for o in acted], dim=1).flatten(0, 1)
        torch.testing.assert_close(
            getattr(unrolled, name_of_part), want, atol=2e-6, rtol=2e-5, msg=name_of_part
        )


@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_a_reset_hides_everything_before_it(name):
    policy = make_policy(PolicyOptions(name=name, hidden_size=8), BOTH)
    obs = torch.randn(1, 6, 7)
    reset = torch.tensor([[False, False, False, True, False, False]])
    changed = obs.clone()
    changed[:, :3] += 1
    state = torch.randn(1, policy.state_size)
    one = policy.unroll(obs, state, reset).value
    two = policy.unroll(changed, state * 2, reset).value
    assert torch.equal(one[3:], two[3:])
    assert not torch.equal(one[:3], two[:3])


def test_mingru_stays_finite_over_long_rows_and_large_inputs():
    policy = make_policy(PolicyOptions(name="mingru", hidden_size=8), BOTH)
    obs = torch.randn(2, 4096, 7) * 1e4
    value = policy.unroll(
        obs, policy.initial_state(2), torch.zeros(2, 4096, dtype=torch.bool)
    ).value
    value.sum().backward()
    assert value.isfinite().all()
    assert all(p.grad.isfinite().all() for p in policy.parameters() if p.grad is not None)


def test_the_first_layer_reads_a_strided_view_where_it_is(monkeypatch):
    pool = torch.randn(6, 5, 7)
    view = pool[:, 2]
    seen = []
    real = torch.nn.functional.linear

    def linear(x, weight, bias):
        seen.append((x.data_ptr(), x.stride()))
        return real(x, weight, bias)

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    got = InputLayer(BOTH, 4)(view)
    assert seen == [(pool.data_ptr() + 2 * 7 * 4, (5 * 7, 1))]
    assert got.shape == (6, 4)


def test_recurrent_networks_need_a_layer_before_the_recurrent_ones():
    with pytest.raises(ValueError, match="num_layers=1 must be at least 2 for lstm"):
        make_policy(PolicyOptions(name="lstm", num_layers=1), BOTH)


PLAIN = """
import torch
from torch import nn
class Mine(nn.Module):
    def __init__(self, spec, options):
        super().__init__()
        self.body = nn.Linear(spec.obs_size, {outputs})
    def forward(self, obs):
        out = self.body(obs.flatten(1).float())
        return {returned}
"""


def load(tmp_path, text, spec=DISCRETE, name="Mine"):
    """Make the policy that a file of this text defines."""
    path = tmp_path / "my_file.py"
    path.write_text(text)
    return make_policy(PolicyOptions(path=f"{path}:{name}"), spec)


def test_a_plain_module_plays_by_path(tmp_path):
    policy = load(tmp_path, PLAIN.format(outputs=8, returned="out[:, :7], out[:, 7:]"))
    assert isinstance(policy, AdaptedModule)
    output = policy.unroll(observe(DISCRETE, 2, 3), None, torch.zeros(2, 3, dtype=torch.bool))
    assert output.logits.shape == (6, 7) and output.value.shape == (6,)


def test_a_subclass_of_policy_plays_by_path(tmp_path):
    text = (
        "from pufferlib.policies.mlp import MLP\n"
        "class Mine(MLP):\n"
        "    def forward(self, obs, state=None):\n"
        "        output, state = super().forward(obs, state)\n"
        "        return output._replace(value=output.value + 1), state\n"
    )
    policy = load(tmp_path, text)
    obs = observe(DISCRETE, 4)
    assert isinstance(policy, MLP)
    torch.testing.assert_close(policy(obs)[0].value, MLP.forward(policy, obs)[0].value + 1)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (PLAIN.format(outputs=8, returned="out"), TypeError, "returned Tensor; it must return"),
        (
            PLAIN.format(outputs=8, returned="out[:, :6], out[:, 7]"),
            ValueError,
            r"logits of shape \(3, 6\) .* not \(3, 7\)",
        ),
        (
            PLAIN.format(outputs=8, returned="out[:, :7], out[:, 6:]"),
            ValueError,
            r"value of shape \(3, 2\) .* not \(3,\)",
        ),
        ("Mine = 3\n", ValueError, "my_file.py has no nn.Module named Mine"),
        (
            "from pufferlib.policies.base import Policy\n"
            "class Mine(Policy):\n    def __init__(self, spec, options): super().__init__(spec)\n",
            NotImplementedError,
            r"Mine.forward\(obs, state\) is missing",
        ),
    ],
)
def test_an_error_says_what_a_users_network_lacks(tmp_path, text, error, says):
    with pytest.raises(error, match=says):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("mine.py", "FILE:CLASS"),
        ("mine.py:", "FILE:CLASS"),
        ("no_such_file.py:Mine", r"there is no file .*no_such_file\.py"),
        (".:Mine", "is not a Python file"),
    ],
)
def test_a_bad_path_says_what_a_path_is(path, says):
    with pytest.raises(ValueError, match=says):
        make_policy(PolicyOptions(path=path), DISCRETE)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_reads_normalized_and_clipped_observations(name):
    policy = make_policy(PolicyOptions(name=name, hidden_size=8), BOTH, norm_obs=True)
    obs = torch.randn(50, 7) * 3 + 5
    policy.norm.update(obs)
    policy.norm.publish()
    obs[::2, 0], obs[::3, 3] = 1e6, -100
    state = policy.initial_state(50)
    got: Output = policy(obs, state)[0]
    norm, policy.norm = policy.norm, None
    normal = np.clip((obs.numpy() - norm.mean.numpy()) * norm.scale.numpy(), -10, 10)
    assert (abs(normal) == 10).any()
    want = policy(torch.from_numpy(normal), state)[0]
    torch.testing.assert_close(got.value, want.value, atol=1e-5, rtol=1e-4)


def test_a_network_that_takes_other_arguments_is_told_which_it_gets(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import torch\nclass Mine(torch.nn.Module):\n    def __init__(self): pass\n")
    with pytest.raises(TypeError, match=r"Mine\(spec, options\), .*failed: .*positional"):
        make_policy(PolicyOptions(path=f"{file}:Mine"), BOTH)
