"""The sample kernel: the actions that it draws, and the arrays that it writes."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pufferlib.kernels import _kernels
from pufferlib.ops import reference

Call = dict[str, Any]
HORIZON = 4


def call(
    agents: int = 0,
    *,
    logits: npt.ArrayLike | None = None,
    sizes: tuple[int, ...] = (),
    mean: npt.ArrayLike | None = None,
    log_std: npt.ArrayLike | None = None,
    **changes: Any,
) -> Call:
    """Return arguments with which every agent acts, agent a in the first slot of row a."""
    shape = np.shape(logits if logits is not None else mean)
    agents = agents or shape[0]
    rows = (agents, HORIZON)
    given: Call = {
        "values": np.arange(shape[0], dtype=np.float32) / 8,
        "slot": np.arange(agents, dtype=np.int64) * HORIZON,
        "bootstrap_slot": np.full(agents, -1, np.int64),
        "counts": np.zeros(agents, np.uint64),
        "seed": 7,
        "version": 3,
        "pool_logprob": np.full(rows, 99, np.float32),
        "pool_value": np.full(rows, 99, np.float32),
        "pool_next_value": np.full(rows, 99, np.float32),
        "pool_version": np.full(rows, 99, np.int32),
        "entropy": np.full(shape[0], 99, np.float32),
    }
    if logits is not None:
        given["logits"] = np.asarray(logits, np.float32)
        given["sizes"] = np.array(sizes or (shape[1],), np.int32)
        given["action"] = np.full((agents, len(given["sizes"])), 99, np.int32)
        given["pool_action"] = np.full((*rows, len(given["sizes"])), 99, np.int32)
    if mean is not None:
        axes = np.shape(mean)[1]
        given["mean"] = np.asarray(mean, np.float32)
        given["log_std"] = np.asarray(log_std, np.float32)
        given["low"], given["high"] = np.full((2, axes), 1, np.float32) * [[-1], [1]]
        given["low"] = given["low"].astype(np.float32)
        given["high"] = given["high"].astype(np.float32)
        given["axis"] = np.full((agents, axes), 99, np.float32)
        given["pool_axis"] = np.full((*rows, axes), 99, np.float32)
    return {**given, **changes}


def sampled(*args: Any, **changes: Any) -> Call:
    given = call(*args, **changes)
    _kernels.sample(**given)
    return given


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_threefry_gives_the_published_words() -> None:
    """The words are the known answers of Random123 1.14, `threefry4x32 20`."""
    digits_of_pi = (
        [0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89],
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
    )
    assert reference.threefry([0] * 4, [0] * 4) == [0x9C6CA96A, 0xE17EAE66, 0xFC10ECD4, 0x5256A7D8]
    assert reference.threefry([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 4) == [
        *(0x2A881696, 0x57012287, 0xF6C7446E, 0xA16A6732)
    ]
    assert reference.threefry(*digits_of_pi) == [0x59CD1DBB, 0xB8879579, 0x86B5D00C, 0xAC8B6D84]


@pytest.mark.parametrize("sizes", [(4,), (1,), (2, 3, 5), (2, 2, 2, 2, 3), (300,)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("greedy", [False, True])
def test_heads_equal_the_reference(sizes: tuple[int, ...], masked: bool, greedy: bool) -> None:
    n, choices = 67, sum(sizes)
    logits = rng().normal(0, 3, (n, choices))
    counts = rng().integers(0, 2**63, n, dtype=np.uint64)
    masks = rng().integers(0, 2, (n, HORIZON, choices)).astype(bool)
    masks[:, :, np.cumsum(sizes) - 1] = True
    given = call(logits=logits, sizes=sizes, counts=counts.copy(), greedy=greedy, seed=2**64 - 5)
    if masked:
        given["pool_mask"] = masks
    _kernels.sample(**given)
    legal = torch.from_numpy(masks[:, 0]) if masked else None
    known = {"logits": torch.from_numpy(given["logits"]).double(), "sizes": sizes, "mask": legal}
    action, _ = reference.sample(
        agents=range(n), counts=counts, seed=2**64 - 5, greedy=greedy, **known
    )
    logprob, entropy = reference.logprob_and_entropy(action=action, **known)
    assert_array_equal(given["action"], action)
    assert_array_equal(given["pool_action"][:, 0], action)
    assert_array_equal(given["pool_value"][:, 0], given["values"])
    assert_allclose(given["pool_logprob"][:, 0], logprob, rtol=2e-6, atol=2e-6)
    assert_allclose(given["entropy"], entropy, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("axes", [1, 2, 6])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("greedy", [False, True])
def test_axes_equal_the_reference(axes: int, shared: bool, greedy: bool) -> None:
    n = 67
    mean = rng().normal(size=(n, axes)).astype(np.float32)
    log_std = rng().normal(-1, 1, axes if shared else (n, axes)).astype(np.float32)
    given = sampled(mean=mean, log_std=log_std, greedy=greedy)
    known = {"mean": torch.from_numpy(mean).double(), "log_std": torch.from_numpy(log_std).double()}
    _, axis = reference.sample(agents=range(n), counts=[0] * n, seed=7, greedy=greedy, **known)
    assert_allclose(given["pool_axis"][:, 0], axis, rtol=1e-5, atol=2e-6)
    assert_array_equal(given["axis"], given["pool_axis"][:, 0].clip(-1, 1))
    stored = torch.from_numpy(given["pool_axis"][:, 0]).double()
    logprob, entropy = reference.logprob_and_entropy(axis=stored, **known)
    assert_allclose(given["pool_logprob"][:, 0], logprob, rtol=1e-5, atol=1e-5)
    assert_allclose(given["entropy"], entropy, rtol=1e-5, atol=1e-5)


def test_greedy_axes_are_the_mean() -> None:
    given = sampled(mean=[[0.25, -3]], log_std=[0, 0], greedy=True)
    assert given["pool_axis"][0, 0].tolist() == [0.25, -3]
    assert given["axis"].tolist() == [[0.25, -1]]
    assert_allclose(given["pool_logprob"][0, 0], -math.log(2 * math.pi), rtol=1e-6)


def test_heads_and_axes_add_up() -> None:
    n = 19
    logits, mean = rng().normal(size=(n, 5)), rng().normal(size=(n, 3))
    both = sampled(logits=logits, sizes=(2, 3), mean=mean, log_std=[0, -1, 1])
    discrete = sampled(logits=logits, sizes=(2, 3))
    continuous = sampled(mean=mean, log_std=[0, -1, 1])
    assert_array_equal(both["action"], discrete["action"])
    assert_array_equal(both["pool_axis"], continuous["pool_axis"])
    for name in ("pool_logprob", "entropy"):
        total = discrete[name] + continuous[name]
        used = (slice(None), 0)[: total.ndim]
        assert_allclose(both[name][used], total[used], rtol=1e-5)


def test_choices_come_as_often_as_their_probabilities() -> None:
    n, logits = 200_000, np.log([0.5, 0.3, 0.15, 0.04, 0.01])
    given = sampled(logits=np.tile(np.concatenate([logits, logits[::-1]]), (n, 1)), sizes=(5, 5))
    for head, probs in enumerate((np.exp(logits), np.exp(logits[::-1]))):
        seen = np.bincount(given["action"][:, head], minlength=5)
        assert (((seen - n * probs) ** 2) / (n * probs)).sum() < 23.5  # chi-square, 4 degrees, 1e-4
    joint = np.bincount(given["action"] @ [5, 1], minlength=25)
    probs = np.outer(np.exp(logits), np.exp(logits[::-1])).ravel()
    assert (((joint - n * probs) ** 2) / (n * probs)).sum() < 60  # 24 degrees, 6e-5: independent


def test_one_agents_draws_over_time_follow_its_probabilities() -> None:
    n, seen = 40_000, np.zeros(4)
    given = call(logits=np.tile(np.log([0.4, 0.3, 0.2, 0.1]), (16, 1)))
    for _ in range(n // 16):
        _kernels.sample(**given)
        seen += np.bincount(given["action"][:, 0], minlength=4)
    expected = n * np.array([0.4, 0.3, 0.2, 0.1])
    assert ((seen - expected) ** 2 / expected).sum() < 21.1  # chi-square, 3 degrees, 1e-4


def test_axes_have_the_moments_of_a_normal() -> None:
    n = 100_000
    given = sampled(mean=np.full((n, 4), 2), log_std=np.log([1, 0.5, 2, 1]))
    z = (given["pool_axis"][:, 0] - 2) / [1, 0.5, 2, 1]
    assert_allclose(z.mean(0), 0, atol=0.016)  # 5 standard errors
    assert_allclose(z.var(0), 1, atol=0.023)
    assert_allclose((z**3).mean(0), 0, atol=0.062)
    assert_allclose((z**4).mean(0), 3, atol=0.16)
    assert_allclose(np.corrcoef(z.T), np.eye(4), atol=0.016)
    assert_allclose((z < -1).mean(0), 0.158655, atol=0.006)


def test_a_draw_does_not_depend_on_who_else_acts_or_in_which_order() -> None:
    n = 50
    logits, mean = rng().normal(size=(n, 7)), rng().normal(size=(n, 2))
    counts = rng().integers(0, 1000, n).astype(np.uint64)
    fixed: Call = {"sizes": (3, 4), "log_std": [0, 0]}
    whole = sampled(logits=logits, mean=mean, counts=counts.copy(), **fixed)
    order = rng().permutation(n).astype(np.int32)
    for part in (order, order[:1], order[3:20]):
        some = call(n, logits=logits[part], mean=mean[part], counts=counts.copy(), **fixed)
        _kernels.sample(agents=part, **some)
        assert_array_equal(some["action"][part], whole["action"][part])
        assert_array_equal(some["pool_axis"][part, 0], whole["pool_axis"][part, 0])
        assert_array_equal(some["pool_logprob"][part, 0], whole["pool_logprob"][part, 0])
    later = call(n, logits=logits[17:30], mean=mean[17:30], counts=counts.copy(), **fixed)
    _kernels.sample(first=17, **later)
    assert_array_equal(later["action"][17:30], whole["action"][17:30])


@pytest.mark.parametrize("change", [{"seed": 8}, {"counts": np.ones(64, np.uint64)}])
def test_another_seed_or_step_gives_other_draws(change: Call) -> None:
    logits = np.zeros((64, 100))
    first, second = sampled(logits=logits), sampled(logits=logits, **change)
    assert (first["action"] == second["action"]).mean() < 0.1


def test_only_agents_that_act_leave_a_trace() -> None:
    given = call(6, logits=np.zeros((2, 3)), bootstrap_slot=np.array([-1, 5, 7, -1, 2, -1]))
    before = {name: array.copy() for name, array in given.items() if hasattr(array, "copy")}
    _kernels.sample(agents=np.array([4, 1], np.int32), **given)
    assert given["bootstrap_slot"].tolist() == [-1, -1, 7, -1, -1, -1]
    assert given["counts"].tolist() == [0, 1, 0, 0, 1, 0]
    changed = before["pool_next_value"].copy()
    changed.flat[[2, 5]] = given["values"]
    assert_array_equal(given["pool_next_value"], changed)
    assert given["pool_value"][[4, 1], 0].tolist() == given["values"].tolist()
    assert given["pool_version"][[4, 1], 0].tolist() == [3, 3]
    for name in ("pool_value", "pool_version", "pool_logprob", "pool_action"):
        assert (given[name][[0, 2, 3, 5]] == 99).all()
        assert (given[name][:, 1:] == 99).all()


def test_masked_choices_have_probability_zero() -> None:
    masks = np.zeros((4000 * HORIZON, 5), np.uint8)
    masks[:, [1, 4]] = 1
    given = sampled(logits=np.tile([50, 0, 99, 3, 0], (4000, 1)), pool_mask=masks)
    assert sorted(set(given["action"][:, 0])) == [1, 4]
    assert_allclose(given["pool_logprob"][:, 0], -math.log(2), rtol=1e-6)
    assert_allclose(given["entropy"], math.log(2), rtol=1e-6)


def test_masks_are_those_of_the_agents_slot() -> None:
    masks = np.zeros((3, HORIZON, 4), bool)
    for row, t, choice in ((0, 2, 3), (1, 0, 1), (2, 3, 2)):
        masks[row, t, choice] = True
    given = sampled(logits=np.zeros((3, 4)), pool_mask=masks, slot=np.array([2, 4, 11]))
    assert given["action"][:, 0].tolist() == [3, 1, 2]
    assert given["pool_action"].reshape(-1)[[2, 4, 11]].tolist() == [3, 1, 2]
    assert given["pool_logprob"].reshape(-1)[[2, 4, 11]].tolist() == [0, 0, 0]


def test_greedy_takes_the_lowest_of_equals() -> None:
    masks = np.ones((2 * HORIZON, 4), np.uint8)
    masks[HORIZON, 1] = 0
    logits = [[0, 2, 2, 1]] * 2
    assert sampled(logits=logits, pool_mask=masks, greedy=True)["action"].tolist() == [[1], [2]]


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize(
    "row", [[0, math.nan, 0], [math.nan] * 3, [math.inf, 0, math.inf], [-math.inf] * 3]
)
def test_logits_without_a_distribution_give_nan_and_a_legal_choice(
    row: list[float], greedy: bool
) -> None:
    masks = np.ones((40 * HORIZON, 3), np.uint8)
    masks[: 20 * HORIZON, 0] = 0
    given = sampled(logits=[row] * 40, pool_mask=masks, greedy=greedy)
    assert np.isnan(given["pool_logprob"][:, 0]).all()
    assert given["action"][:, 0].tolist() == [1] * 20 + [0] * 20


def test_a_mask_without_a_choice_gives_nan_and_choice_zero() -> None:
    given = sampled(logits=np.zeros((3, 4)), pool_mask=np.zeros((3 * HORIZON, 4), np.uint8))
    assert given["action"].tolist() == [[0]] * 3
    assert np.isnan(given["pool_logprob"][:, 0]).all()


def test_a_nan_lane_leaves_its_neighbours_alone() -> None:
    logits = rng().normal(size=(40, 5))
    whole = sampled(logits=logits)
    logits[13] = math.nan
    given, others = sampled(logits=logits), np.arange(40) != 13
    assert_array_equal(given["action"][others], whole["action"][others])
    assert_array_equal(given["pool_logprob"][others], whole["pool_logprob"][others])


def test_a_nan_head_leaves_the_agents_other_heads_alone() -> None:
    logits = rng().normal(size=(70, 5))
    whole = sampled(logits=logits, sizes=(2, 3))
    logits[[13, 66], :2] = math.nan
    given = sampled(logits=logits, sizes=(2, 3))
    assert given["action"][[13, 66], 0].tolist() == [0, 0]
    assert_array_equal(given["action"][:, 1], whole["action"][:, 1])
    assert np.flatnonzero(np.isnan(given["entropy"])).tolist() == [13, 66]


def test_a_nan_mean_gives_nan_and_an_axis_in_range() -> None:
    given = sampled(mean=[[math.nan], [math.inf], [0.5]], log_std=[-20])
    assert given["axis"][0] == -1
    assert -1 <= given["axis"][1] <= 1
    assert np.isnan(given["pool_logprob"][:2, 0]).all()
    assert np.isfinite(given["pool_logprob"][2, 0])


def test_choices_of_minus_infinity_and_far_apart_logits_are_exact() -> None:
    given = sampled(logits=[[-math.inf, 1e30, -1e30, 0]] * 100)
    assert (given["action"] == 1).all()
    assert (given["pool_logprob"][:, 0] == 0).all()
    assert (given["entropy"] == 0).all()


def test_one_product_may_hold_logits_means_and_values() -> None:
    output = rng().normal(size=(67, 8)).astype(np.float32)  # 4 choices, 3 axes, a value
    views = {"logits": output[:, :4], "mean": output[:, 4:7], "log_std": output[:, 1:4]}
    parts = sampled(
        **{name: view.copy() for name, view in views.items()}, values=output[:, 7].copy()
    )
    whole = call(**views)
    whole |= {**views, "values": output[:, 7]}
    _kernels.sample(**whole)
    for name in ("action", "axis", "pool_logprob", "pool_value", "entropy"):
        assert_array_equal(whole[name], parts[name])


def test_nobody_acting_is_nothing_to_do() -> None:
    given = sampled(5, logits=np.zeros((0, 3)))
    assert (given["counts"] == 0).all()
    assert (given["action"] == 99).all()


def strided() -> Call:
    return {"logits": np.zeros((3, 8), np.float32)[:, ::2]}


def read_only() -> Call:
    actions = np.zeros((3, 1), np.int32)
    actions.flags.writeable = False
    return {"action": actions}


def test_a_graph_reads_version_and_number_of_agents_when_it_is_replayed() -> None:
    params, graph, logits = _kernels.SampleParams(), _kernels.Graph(), np.zeros((4, 3))
    params.set(version=5, num_acting=2)
    given, alone = call(logits=logits), call(logits=logits[:2], agents=4, version=5)
    _kernels.sample(**{**given, "version": 99}, params=params, graph=graph)
    graph.replay()
    _kernels.sample(**alone)
    for name in ("action", "pool_action", "pool_version", "pool_logprob", "counts"):
        assert_array_equal(given[name], alone[name], err_msg=name)
    params.set(version=5, num_acting=5)
    with pytest.raises(IndexError, match=r"params\.num_acting = 5 is outside \[0, 5\)"):
        graph.replay()
    assert_array_equal(given["counts"], [1, 1, 0, 0])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"logits": np.zeros((3, 4))},
            ValueError,
            r"logits: expected float32 of shape \(3, 4\), got float64 of shape \(3, 4\)",
        ),
        (
            {"logits": np.zeros((3, 5), np.float32)},
            ValueError,
            r"logits: expected float32 of shape \(3, 4\), got float32 of shape \(3, 5\)",
        ),
        (strided(), ValueError, r"logits: its rows are not contiguous"),
        (read_only(), ValueError, r"action: .*read-only"),
        ({"logits": [[0.0]]}, TypeError, r"logits: expected a numpy array, got list"),
        ({"values": [1.0]}, TypeError, r"values: expected a numpy array, got list"),
        ({"logits": torch.zeros(3, 4)}, TypeError, r"logits: .*got Tensor.*\.numpy\(\)"),
        ({"logits": None}, ValueError, r"nothing to sample"),
        ({"action": None}, TypeError, r"action: missing; expected int32 of shape \(3, 1\)"),
        ({"sizes": np.array([4, 0], np.int32)}, ValueError, r"sizes\[1\] = 0"),
        ({"sizes": np.array([4])}, ValueError, r"sizes: expected int32"),
        ({"counts": np.zeros(3, np.int64)}, ValueError, r"counts: expected uint64"),
        ({"bootstrap_slot": np.full(2, -1)}, ValueError, r"bootstrap_slot: .*\(3,\).*\(2,\)"),
        ({"pool_mask": np.ones((3, 4), np.uint8)}, ValueError, r"pool_mask: .*\(12, 4\).*\(3, 4\)"),
        ({"slot": np.array([0, 12, 4])}, IndexError, r"slot\[1\] = 12 is outside \[0, 12\)"),
        ({"slot": np.array([0, 4, -1])}, IndexError, r"slot\[2\] = -1 is outside"),
        (
            {"bootstrap_slot": np.array([0, 12, 4])},
            IndexError,
            r"bootstrap_slot\[1\] = 12 is outside \[-1, 12\)",
        ),
        ({"agents": np.array([0, 1, 3], np.int32)}, IndexError, r"agents\[2\] = 3 is outside"),
        ({"first": 1}, IndexError, r"agents\[2\] = 3 is outside \[0, 3\)"),
    ],
)
def test_bad_arrays_are_named_and_nothing_is_written(
    change: Call, error: type[Exception], message: str
) -> None:
    given = call(logits=np.zeros((3, 4)))
    with pytest.raises(error, match=message):
        _kernels.sample(**{**given, **change})
    assert (given["pool_action"] == 99).all()
    assert (given["pool_value"] == 99).all()
    assert (given["counts"] == 0).all()


def test_a_graph_holds_the_parameters_that_nothing_else_holds() -> None:
    graph, given = _kernels.Graph(), call(logits=np.zeros((4, 3)), version=5)
    _kernels.sample(**given, graph=graph)
    beside = [_kernels.SampleParams() for _ in range(50)]  # these would take freed memory
    for params in beside:
        params.set(version=99, num_acting=1)
    graph.replay()
    assert given["pool_version"][:, 0].tolist() == [5] * 4
