"""Kinds of observation: how networks recognize and encode each, and pass it to a user's network."""

import copy
import math

import gymnasium.spaces as sp
import numpy as np
import pytest
import torch

from pufferenv.spaces import Packing
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.cnn import CNN
from pufferlib.policies.custom import AdaptedModule
from pufferlib.policies.encoders import MAX_CHOICES, Convolutions, Encoder, OneHot
from pufferlib.policies.factory import make_policy
from pufferlib.policies.layers import InputLayer
from pufferlib.policies.mlp import MLP
from pufferlib.policies.normalization import BOUND, INTEGER_BOUND
from pufferlib.policies.observation_kinds import (
    auto_network,
    image_size,
    is_flat,
    is_normalized,
    kind,
)

PIXELS = sp.Box(0, 255, (84, 84, 4), np.uint8)
GRID = sp.Box(0, 255, (7, 7, 3), np.uint8)
FLOATS = sp.Box(-np.inf, np.inf, (4,), np.float32)
MIXED = sp.Dict(
    image=GRID,
    inner=sp.Tuple([sp.Discrete(4, start=2), FLOATS]),
    keys=sp.MultiBinary(3),
    pair=sp.MultiDiscrete([2, 3], start=[0, 5]),
)
NAMES = ["auto", "mlp", "lstm", "mingru"]


def spec_of(space: sp.Space) -> PolicySpec:
    """Return the spec of an env with these observations and one head."""
    packing = Packing.of(space)
    return PolicySpec(packing.shape, getattr(torch, packing.dtype.name), (3,), (), (), packing)


def packed(space: sp.Space, n: int, seed: int = 0) -> tuple[list, torch.Tensor]:
    """Return n samples and their slots (n, *O), which are every other row of a pool."""
    space.seed(seed)
    packing = Packing.of(space)
    pool = np.zeros((n, 2, *packing.shape), packing.dtype)
    samples = [space.sample() for _ in range(n)]
    for sample, slot in zip(samples, pool[:, 1], strict=True):
        packing.pack(sample, slot)
    return samples, torch.from_numpy(pool)[:, 1]


def made(space: sp.Space, name: str = "auto", *, norm_obs: bool = False, **options):
    return make_policy(
        PolicyOptions(name=name, hidden_size=16, **options), spec_of(space), norm_obs=norm_obs
    )


@pytest.mark.parametrize(
    ("space", "what", "normal"),
    [
        (PIXELS, "image", False),
        (sp.Box(0, 255, (4, 84, 84), np.uint8), "image", False),
        (sp.Box(0, 255, (84, 84), np.uint8), "image", False),
        (GRID, "image", True),
        (sp.Box(0, 1, (10, 10, 6), bool), "image", False),
        (sp.Box(0, 255, (11, 11), np.uint8), "numbers", True),
        (sp.Box(0, 255, (4, 3, 3), np.uint8), "numbers", True),
        (sp.Box(0, 1, (3, 3), np.int64), "bits", False),
        (sp.Box(0, 1, (3, 3), np.float32), "numbers", True),
        (sp.Box(-5, 5, (7, 7, 3), np.int16), "numbers", True),
        (sp.MultiBinary(3), "bits", False),
        (sp.Discrete(3), "choices", False),
        (sp.MultiDiscrete([3, 2]), "choices", False),
    ],
)
def test_a_part_is_of_the_kind_that_its_space_says(space, what, normal):
    part = Packing.of(space).parts[0]
    assert (kind(part), is_normalized(part)) == (what, normal)
    assert auto_network(Packing.of(space)) == ("cnn" if what == "image" else "mlp")
    assert is_flat(Packing.of(space)) == (what in ("numbers", "bits"))


def test_the_channels_of_an_image_are_what_a_square_leaves_or_its_smallest_dimension():
    for shape, want in {
        (84, 84, 4): (84, 84, 4, 2),
        (4, 84, 96): (84, 96, 4, 0),
        (84, 96): (84, 96, 1, -1),
        (48, 36, 36): (36, 36, 48, 0),
        (8, 8, 111): (8, 8, 111, 2),
        (7, 7, 7): (7, 7, 7, 2),
    }.items():
        part = Packing.of(sp.Box(0, 255, shape, np.uint8)).parts[0]
        assert tuple(image_size(part)) == want


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "space", [PIXELS, GRID, MIXED, sp.Discrete(5), sp.Box(0, 255, (20, 30, 3), np.uint8)]
)
def test_every_network_reads_every_kind_and_unrolls_as_it_acts(name, space):
    policy = made(space, name, norm_obs=True)
    _, slots = packed(space, 6)
    if policy.norm is not None:
        policy.norm.update(policy.parts.numbers(slots))
        policy.norm.publish()
    state = policy.initial_state(6)
    output, new = policy(slots, state)
    assert output.logits.shape == (6, 3) and output.value.shape == (6,)
    assert (new is None) == (name in ("auto", "mlp"))
    unrolled = policy.unroll(slots.unsqueeze(1), state, torch.zeros((6, 1), dtype=torch.bool))
    torch.testing.assert_close(unrolled.value, output.value)


def test_auto_takes_the_network_for_the_kind_and_reads_flat_observations_as_they_are():
    assert isinstance(made(FLOATS), MLP)
    assert isinstance(made(FLOATS, "lstm").first, InputLayer)
    assert isinstance(made(PIXELS), CNN) and isinstance(made(PIXELS, "lstm").first, Encoder)
    assert isinstance(made(PIXELS).first.each[0], Convolutions)
    assert not isinstance(made(PIXELS, "mlp").first.each[0], Convolutions)
    plain = PolicySpec((84, 84, 4), torch.uint8, (3,), (), ())  # a game written in C
    assert isinstance(make_policy(PolicyOptions(), plain).first.each[0], Convolutions)
    assert isinstance(make_policy(PolicyOptions(), PolicySpec((4,), torch.int8, (3,), (), ())), MLP)


def test_without_an_image_there_is_no_cnn():
    with pytest.raises(
        ValueError, match=r"policy.name=cnn needs an image.*float32 of shape \(4,\)"
    ):
        made(FLOATS, "cnn")


def test_the_network_of_mnih_et_al_has_their_sizes():
    layers = made(PIXELS).first.each[0]
    assert [tuple(layer.weight.shape) for layer in layers.layers] == [
        (32, 4, 8, 8),
        (64, 32, 4, 4),
        (64, 64, 3, 3),
    ]
    assert layers.size == 3136  # 64 x 7 x 7
    black, white = torch.zeros((1, 84, 84, 4), dtype=torch.uint8), torch.ones((1, 84, 84, 4))
    with torch.no_grad():
        got = layers(black + 255)
        want = white.permute(0, 3, 1, 2)
        for layer in layers.layers:
            want = layer(want).relu()
    torch.testing.assert_close(got, want.flatten(1), atol=1e-5, rtol=1e-4)


def test_conv_filters_is_the_size_of_the_convolutions_of_a_large_image():
    for filters, want in {16: [16, 32, 32], 5: [5, 10, 10], 1: [1, 2, 2]}.items():
        convolutions = made(PIXELS, conv_filters=filters).first.each[0]
        assert [layer.out_channels for layer in convolutions.layers] == want
    small = made(GRID, conv_filters=16).first.each[0]
    assert [layer.out_channels for layer in small.layers] == [16, 32]
    recurrent = made(PIXELS, "lstm", conv_filters=16).first.each[0]
    assert [layer.out_channels for layer in recurrent.layers] == [16, 32, 32]


def test_bytes_are_exact_in_bfloat16():
    convolutions = made(PIXELS, conv_filters=2).first.each[0]
    image = torch.arange(84 * 84 * 4, dtype=torch.int64).remainder(256).to(torch.uint8)
    image = image.view(1, 84, 84, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(convolutions(image), convolutions(image.float()), rtol=0, atol=0)


def test_channels_first_and_last_are_encoded_alike():
    last = made(PIXELS)
    first = made(sp.Box(0, 255, (4, 84, 84), np.uint8))
    first.load_state_dict(last.state_dict())
    obs = torch.randint(0, 256, (3, 84, 84, 4)).to(torch.uint8)
    torch.testing.assert_close(
        last(obs, None)[0].value, first(obs.permute(0, 3, 1, 2).contiguous(), None)[0].value
    )


def test_one_hot_begins_at_start_and_is_0_for_what_is_no_choice():
    layer = OneHot([(2, 0), (3, 5)], "pair")
    got = layer(torch.tensor([[1, 5], [0, 7], [0, 8]], dtype=torch.int32))
    assert got.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1], [1, 0, 0, 0, 0]]
    with pytest.raises(ValueError, match=r"'room' has 5000 choices.*policy.path"):
        made(sp.Dict(room=sp.Discrete(MAX_CHOICES + 904)))


def test_only_numbers_are_normalized_and_far_ones_clipped():
    policy = made(MIXED, norm_obs=True)
    samples, slots = packed(MIXED, 50)
    numbers = policy.parts.numbers(slots)
    assert numbers.shape == (50, 7 * 7 * 3 + 4) and policy.norm.mean.shape == (7 * 7 * 3 + 4,)
    np.testing.assert_array_equal(numbers[3, -4:], samples[3]["inner"][1])
    policy.norm.update(numbers)
    policy.norm.publish()
    seen = policy.parts.nest(slots, policy.norm)
    torch.testing.assert_close(seen["inner"][1].mean(0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        seen["image"].std(0, correction=0), torch.ones(7, 7, 3), atol=1e-4, rtol=0
    )
    assert seen["inner"][0].tolist() == [int(sample["inner"][0]) for sample in samples]
    far = copy.deepcopy(samples[0])
    far["inner"][1][:] = 1e9
    slot = np.zeros((1, *policy.spec.obs_shape), np.uint8)
    policy.parts.packing.pack(far, slot[0])
    assert policy.parts.nest(torch.from_numpy(slot), policy.norm)["inner"][1].tolist() == [
        [BOUND] * 4
    ]
    assert made(PIXELS, norm_obs=True).norm is None  # nothing to normalize


def test_integers_are_clipped_further_away_than_floats():
    """A rare cell of a grid is many deviations from its mean and must stay as far away."""
    policy = made(MIXED, norm_obs=True)
    assert policy.norm.bound.tolist() == [INTEGER_BOUND] * 7 * 7 * 3 + [BOUND] * 4
    assert "norm.bound" not in policy.state_dict()  # policies saved before it was there still load
    grid = make_policy(
        PolicyOptions(hidden_size=8), PolicySpec((3,), torch.uint8, (2,), (), ()), norm_obs=True
    )
    cells = torch.zeros(1000, 3)
    cells[0, 1] = 1
    grid.norm.update(cells)
    grid.norm.publish()
    rare = math.sqrt(1000 - 1)  # deviations: (1 - p) / sqrt(p (1 - p)) with p = 1 / 1000
    assert grid.norm(torch.tensor([0.0, 1, 1])).tolist() == pytest.approx([0, rare, INTEGER_BOUND])


def test_a_users_network_gets_the_parts_by_name(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch\n"
        "class Mine(torch.nn.Module):\n"
        "    def __init__(self, spec, options):\n"
        "        super().__init__()\n"
        "        self.value = torch.nn.Linear(4, 1)\n"
        "        self.seen = None\n"
        "    def forward(self, obs):\n"
        "        self.seen = obs\n"
        "        return obs['image'][:, :3, 0, 0].float(), self.value(obs['inner'][1])\n"
    )
    policy = make_policy(PolicyOptions(path=f"{file}:Mine"), spec_of(MIXED))
    assert isinstance(policy, AdaptedModule)
    samples, slots = packed(MIXED, 5)
    policy(slots, None)
    seen = policy.module.seen
    for i, sample in enumerate(samples):
        np.testing.assert_array_equal(seen["image"][i], sample["image"])
        np.testing.assert_array_equal(seen["pair"][i], sample["pair"])
        np.testing.assert_array_equal(seen["inner"][1][i], sample["inner"][1])
    assert seen["image"].dtype == torch.uint8
    assert seen["image"].untyped_storage().data_ptr() == slots.untyped_storage().data_ptr()
