"""Packing: any nest of spaces comes back from its slots; what cannot be packed is refused."""

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array, iterate
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferenv.spaces import ActionPacking, Packing

SHAPES = st.lists(st.integers(1, 3), max_size=5).map(tuple)
DTYPES = st.sampled_from(
    [np.uint8, np.int8, np.bool_, np.int16, np.int32, np.int64, np.float32, np.float64]
)


@st.composite
def boxes(draw: Any) -> spaces.Box:
    dtype = np.dtype(draw(DTYPES))
    if dtype.kind == "f":
        low = draw(st.sampled_from([-np.inf, -0.1, 0.0]))
        return spaces.Box(low, draw(st.sampled_from([0.3, 1.0, np.inf])), draw(SHAPES), dtype.type)
    low = draw(st.integers(0, 1)) if dtype.kind in "bu" else draw(st.integers(-5, 1))
    return spaces.Box(
        low, 1 if dtype.kind == "b" else draw(st.integers(1, 100)), draw(SHAPES), dtype.type
    )


LEAVES = st.one_of(
    boxes(),
    st.builds(spaces.Discrete, st.integers(1, 9), start=st.integers(-9, 9)),
    st.builds(
        lambda sizes, start: spaces.MultiDiscrete(sizes, start=[start] * len(sizes)),
        st.lists(st.integers(1, 5), min_size=1, max_size=4),
        st.integers(-9, 9),
    ),
    st.builds(spaces.MultiBinary, st.lists(st.integers(1, 3), min_size=1, max_size=2)),
)
NESTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=4).map(spaces.Dict),
        st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
    ),
    max_leaves=8,
)


def assert_same(one: Any, other: Any) -> None:
    """Assert equal nests with equal values, floats compared as float32."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        one, other = np.asarray(one), np.asarray(other)
        assert one.shape == other.shape
        kind = np.float32 if one.dtype.kind == "f" else np.int64
        np.testing.assert_array_equal(one.astype(kind), other.astype(kind))


def roots(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in roots(inner)]
    if isinstance(value, tuple):
        return [leaf for inner in value for leaf in roots(inner)]
    return [value]


@settings(deadline=None, max_examples=150)
@given(NESTS, st.integers(0, 2**31))
def test_what_is_packed_comes_back_in_views_of_the_slots(space: spaces.Space, seed: int) -> None:
    space.seed(seed)
    packing = Packing.of(space)
    samples = [space.sample() for _ in range(3)]
    pool = np.full((5, 2, *packing.shape), 77, packing.dtype)  # (R, H, *slot)
    untouched = pool[:, 1].copy()
    views = packing.views(pool)
    for i, sample in enumerate(samples):
        if i == 2:
            packing.write(views, (i, 0), sample)
        else:
            packing.pack(sample, pool[i, 0])
    np.testing.assert_array_equal(pool[:, 1], untouched)  # the neighbours
    for i, sample in enumerate(samples):
        assert_same(sample, packing.unpack(pool[i, 0]))
    batch = packing.unpack(pool[:3, 0])
    for i, inner in enumerate(iterate(batch_space(space, 3), batch)):
        assert_same(samples[i], inner)
    assert all(np.shares_memory(leaf, pool) for leaf in roots(batch))


@settings(deadline=None, max_examples=60)
@given(NESTS, st.integers(0, 2**31))
def test_a_batch_is_packed_like_its_observations(space: spaces.Space, seed: int) -> None:
    space.seed(seed)
    packing = Packing.of(space)
    samples = [space.sample() for _ in range(4)]
    together = concatenate(space, samples, create_empty_array(space, 4))
    one_by_one = np.zeros((4, *packing.shape), packing.dtype)
    for sample, slot in zip(samples, one_by_one, strict=True):
        packing.pack(sample, slot)
    batch = np.zeros_like(one_by_one)
    packing.pack_batch(together, batch)
    np.testing.assert_array_equal(one_by_one, batch)


@settings(deadline=None, max_examples=150)
@given(NESTS, st.integers(0, 2**31))
def test_an_action_comes_back_from_its_heads_and_axes(space: spaces.Space, seed: int) -> None:
    space.seed(seed)
    packing = ActionPacking.of(space)
    samples = [space.sample() for _ in range(3)]
    pairs = [packing.pack(sample) for sample in samples]
    for sample, (heads, axes) in zip(samples, pairs, strict=True):
        assert heads.dtype == np.int32 and axes.dtype == np.float32
        assert all(0 <= h < head.n for h, head in zip(heads, packing.heads, strict=True))
        assert_same(sample, packing.unpack(heads, axes))
    batch = packing.unpack(np.stack([h for h, _ in pairs]), np.stack([a for _, a in pairs]))
    for sample, inner in zip(samples, iterate(batch_space(space, 3), batch), strict=True):
        assert_same(sample, inner)


@settings(deadline=None, max_examples=100)
@given(NESTS, st.integers(0, 2**31))
def test_every_choice_and_every_axis_in_its_bounds_is_an_action(
    space: spaces.Space, seed: int
) -> None:
    packing = ActionPacking.of(space)
    random = np.random.default_rng(seed)
    for edge in (0.0, 1.0, random.random()):
        heads = [min(int(edge * head.n), head.n - 1) for head in packing.heads]
        low = np.clip([axis.low for axis in packing.axes], -9, None)
        high = np.clip([axis.high for axis in packing.axes], None, 9)
        axes = (low + np.float32(edge) * (high - low)).astype(np.float32)
        action = packing.unpack(
            np.array(heads, np.int32), np.clip(axes, low, high).astype(np.float32)
        )
        assert space.contains(action), (action, space)


def test_a_box_keeps_its_shape_and_dtype() -> None:
    packing = Packing.of(spaces.Box(0, 255, (84, 84, 4), np.uint8))
    assert packing.shape == (84, 84, 4) and packing.dtype == np.uint8 and packing.is_plain
    assert Packing.of(spaces.Box(-1, 1, (4,), np.float64)).dtype == np.float32
    deep = Packing.of(spaces.Box(-1, 1, (2, 1, 3, 1, 2), np.float32))
    assert deep.shape == (12,) and deep.parts[0].shape == (2, 1, 3, 1, 2)
    assert Packing.of(spaces.Discrete(4)).shape == (1,)


def test_parts_of_a_mixed_slot_are_aligned_and_named_by_their_path() -> None:
    space = spaces.Dict(
        image=spaces.Box(0, 255, (7, 7, 3), np.uint8),
        inner=spaces.Tuple([spaces.Discrete(4), spaces.Box(-1, 1, (2,), np.float32)]),
        last=spaces.MultiBinary(3),
    )
    packing = Packing.of(space)
    assert [(p.name, p.offset, p.dtype.name, p.shape) for p in packing.parts] == [
        ("image", 0, "uint8", (7, 7, 3)),
        ("inner/0", 148, "int32", ()),
        ("inner/1", 152, "float32", (2,)),
        ("last", 160, "int8", (3,)),
    ]
    assert packing.shape == (164,) and packing.dtype == np.uint8


def test_parts_of_one_dtype_need_no_bytes() -> None:
    box = spaces.Box(-1, 1, (3,), np.float32)
    packing = Packing.of(spaces.Dict(b=box, a=spaces.Box(-1, 1, (2, 2), np.float64)))
    assert packing.shape == (7,) and packing.dtype == np.float32


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Text(5), ["observation space is Text", "ObservationWrapper"]),
        (spaces.Dict(a=spaces.Tuple([spaces.Text(5)])), ["'a/0'", "Text"]),
        (spaces.Dict(g=spaces.Graph(spaces.Box(0, 1, (2,)), None)), ["'g'", "Graph"]),
        (spaces.Tuple([spaces.Sequence(spaces.Discrete(2))]), ["'0'", "Sequence"]),
        (spaces.Dict(o=spaces.OneOf([spaces.Discrete(2)])), ["'o'", "OneOf"]),
        (spaces.Discrete(2**40), ["does not fit int32"]),
        (spaces.Dict(m=spaces.MultiDiscrete([2, 2**33])), ["'m'", "does not fit int32"]),
        (spaces.Dict({}), ["nothing to observe"]),
        (spaces.Box(0, 1, (0,), np.float32), ["nothing to observe"]),
    ],
)
def test_what_cannot_be_packed_is_refused_by_name(space: spaces.Space, words: list[str]) -> None:
    with pytest.raises(TypeError) as caught:
        Packing.of(space)
    for word in words:
        assert word in str(caught.value)


def test_two_leaves_of_one_name_are_refused() -> None:
    one = spaces.Discrete(2)
    with pytest.raises(ValueError, match="two leaves that are named 'a/b'"):
        Packing.of(spaces.Dict({"a/b": one, "a": spaces.Dict(b=one)}))


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Dict(say=spaces.Text(5)), ["action space at 'say'", "ActionWrapper"]),
        (spaces.Dict(k=spaces.Box(0, 5000, (2,), np.int32)), ["'k'", "5001 integers", "1024"]),
        (spaces.Box(-(2**63), 2**63 - 1, (1,), np.int64), ["more than 1024"]),
        (spaces.Tuple([]), ["nothing to do"]),
    ],
)
def test_actions_that_are_neither_choices_nor_axes_are_refused(
    space: spaces.Space, words: list[str]
) -> None:
    with pytest.raises(TypeError) as caught:
        ActionPacking.of(space)
    for word in words:
        assert word in str(caught.value)


def test_a_value_that_the_space_does_not_have_is_named() -> None:
    space = spaces.Dict(
        big=spaces.Box(-(2**62), 2**62, (2,), np.int64),
        door=spaces.Discrete(4, start=2),
        image=spaces.Box(0, 255, (2, 2), np.uint8),
    )
    packing = Packing.of(space)
    slot = np.zeros(packing.shape, packing.dtype)
    good = {"big": np.array([1, -2]), "door": 3, "image": np.zeros((2, 2), np.uint8)}
    packing.pack(good, slot)
    bad: list[tuple[str, Any, str]] = [
        ("big", np.array([1, 2**31]), r"'big' is 2147483648, outside \[-2147483648, 2147483647\]"),
        ("door", 6, r"'door' is 6, outside \[2, 5\]"),
        ("door", np.int64(1), r"'door' is 1, outside \[2, 5\]"),
        ("image", np.zeros((2, 3), np.uint8), r"'image' has shape \(2, 3\).*needs \(2, 2\)"),
        ("image", np.full((2, 2), 0.5), "'image' is float64.*needs uint8"),
        ("image", np.full((2, 2), 256), r"'image' is 256, outside \[0, 255\]"),
        ("image", "text", "'image' has shape"),
    ]
    for name, value, words in bad:
        with pytest.raises(ValueError, match=words):
            packing.pack({**good, name: value}, slot)


def test_an_axis_without_bound_has_none_and_names_say_where() -> None:
    space = spaces.Dict(
        arm=spaces.Box(np.array([-1, -np.inf]), np.array([0.1, np.inf]), dtype=np.float64),
        grip=spaces.MultiDiscrete([2, 3], start=[0, 5]),
        step=spaces.Box(-1, 2, (), np.int32),
    )
    packing = ActionPacking.of(space)
    assert [axis.name for axis in packing.axes] == ["arm/0", "arm/1"]
    assert packing.axes[1].low == -np.inf and packing.axes[1].high == np.inf
    assert np.float64(np.float32(0.1)) > 0.1 >= packing.axes[0].high > 0.0999
    assert [tuple(head) for head in packing.heads] == [
        ("grip/0", 2, 0),
        ("grip/1", 3, 5),
        ("step", 4, -1),
    ]
    huge = spaces.Box(-np.finfo(np.float64).max, np.finfo(np.float32).max, (1,), np.float64)
    assert ActionPacking.of(huge).axes[0][1:] == (-np.inf, np.inf)
