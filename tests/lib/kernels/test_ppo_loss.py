"""PPO's loss: worked examples, then values and gradients against autograd's in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pufferlib.kernels import _kernels
from pufferlib.ops import reference

Call = dict[str, Any]
OUTPUTS = ("logits", "mean", "log_std", "values")
METRICS = ("loss", "policy", "value", "entropy", "approx_kl", "clip_fraction", "old_approx_kl")


def run(call: Call) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the kernel's metrics and the gradient of each output given."""
    grads = {f"grad_{n}": np.full_like(call[n], np.nan) for n in OUTPUTS if n in call}
    if call.get("log_std", np.empty(0)).ndim == 1 and "log_std" in call:
        grads["grad_log_std"][:] = 0  # the kernel adds to it
    metrics = _kernels.ppo_loss(**call, **grads)
    return dict(zip(METRICS, metrics, strict=True)), grads


def expect(call: Call) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the same from autograd in float64."""
    tensors = {
        name: torch.tensor(x, dtype=torch.float64 if x.dtype == np.float32 else None)
        for name, x in call.items()
        if isinstance(x, np.ndarray)
    }
    for name in OUTPUTS:
        if name in tensors:
            tensors[name].requires_grad_()
    metrics = reference.ppo_loss(**{**call, **tensors})
    metrics[0].backward()
    numbers = dict(zip(METRICS, (float(m.detach()) for m in metrics), strict=True))
    return numbers, {f"grad_{n}": tensors[n].grad.numpy() for n in OUTPUTS if n in tensors}


def minibatch(
    m: int = 101,
    sizes: tuple[int, ...] = (),
    axes: int = 0,
    *,
    masked: bool = False,
    shared: bool = False,
    spread: float = 0.5,
    **settings: float,
) -> Call:
    """Return a random minibatch; the new policy's outputs differ from the old ones by `spread`."""
    rng = np.random.default_rng(5)
    call: Call = {
        "values": rng.normal(size=m),
        "old_value": rng.normal(size=m),
        "advantage": rng.normal(size=m),
        "target": rng.normal(size=m),
    }
    if sizes:
        call["logits"] = rng.normal(size=(m, sum(sizes)))
        call["action"] = np.stack([rng.integers(0, n, m) for n in sizes], 1).astype(np.int32)
    if sizes and masked:
        taken = np.cumsum((0, *sizes[:-1])) + call["action"]
        call["mask"] = rng.integers(0, 2, call["logits"].shape).astype(np.uint8)
        np.put_along_axis(call["mask"], taken, 1, axis=1)
    if axes:
        call["mean"] = rng.normal(size=(m, axes))
        call["log_std"] = rng.normal(-0.5, 0.3, axes if shared else (m, axes))
        call["axis"] = rng.normal(size=(m, axes))
    call = {n: x.astype(np.float32) if x.dtype == np.float64 else x for n, x in call.items()}
    call["sizes"] = np.array(sizes, np.int32)
    names = ("logits", "sizes", "mask", "mean", "log_std", "action", "axis")
    known = {n: torch.from_numpy(call[n]) for n in names if n in call and n != "sizes"}
    logprob, _ = reference.logprob_and_entropy(**known, sizes=call["sizes"])
    call["logprob"] = logprob.numpy() + rng.normal(0, spread, m).astype(np.float32)
    chosen = {"clip_coef": 0.2, "vf_coef": 0.7, "vf_clip_coef": 0.3, "ent_coef": 0.05}
    return {**call, **chosen, "adv_mean": 0.1, "adv_scale": 1.7, **settings}


def assert_same(call: Call, rtol: float = 2e-5) -> None:
    metrics, grads = run(call)
    wanted_metrics, wanted_grads = expect(call)
    for name, wanted in wanted_metrics.items():
        assert_allclose(metrics[name], wanted, rtol=rtol, atol=5e-6, err_msg=name)
    assert grads.keys() == wanted_grads.keys()
    for name, wanted in wanted_grads.items():
        atol = 0.1 * rtol * max(abs(wanted).max(), 1e-3)
        assert_allclose(grads[name], wanted, rtol=rtol, atol=atol, err_msg=name)


@pytest.mark.parametrize("m", [1, 15, 16, 17, 500])
@pytest.mark.parametrize(
    "kind",
    [
        {"sizes": (4,)},
        {"sizes": (4,), "masked": True},
        {"sizes": (2, 3, 1, 7, 5)},
        {"sizes": (2, 3, 5), "masked": True},
        {"sizes": (200,)},
        {"axes": 1},
        {"axes": 3, "shared": True},
        {"sizes": (3, 4), "axes": 2, "masked": True, "shared": True},
        {"sizes": (3,), "axes": 1},
    ],
    ids=str,
)
def test_values_and_gradients_equal_autograd(m: int, kind: Call) -> None:
    assert_same(minibatch(m, **kind))


@pytest.mark.parametrize(
    "settings",
    [
        {"vf_clip_coef": 0.0},
        {"vf_clip_coef": -1.0},
        {"vf_clip_coef": 1e-3},
        {"vf_clip_coef": 100.0},
        {"clip_coef": 1e-3},
        {"clip_coef": 0.9},
        {"ent_coef": 0.0},
        {"ent_coef": -2.0},
        {"vf_coef": 0.0},
        {"adv_mean": 0.0, "adv_scale": 1.0},
        {"spread": 0.01},
        {"spread": 4.0},
    ],
    ids=str,
)
def test_every_setting_equals_autograd(settings: dict[str, float]) -> None:
    assert_same(minibatch(sizes=(4, 3), axes=2, **settings))


def single(ratio: float, advantage: float, **settings: float) -> Call:
    """Return one transition that takes the first of two equally likely choices, with this ratio."""
    call = {
        "logits": np.zeros((1, 2)),
        "logprob": np.array([math.log(0.5 / ratio)]),
        "advantage": np.array([advantage]),
        "values": np.array([1.0]),
        "old_value": np.array([1.0]),
        "target": np.array([1.0]),
    }
    chosen = {"clip_coef": 0.2, "vf_coef": 0.0, "ent_coef": 0.0}
    return {
        **{name: x.astype(np.float32) for name, x in call.items()},
        "sizes": np.array([2], np.int32),
        "action": np.zeros((1, 1), np.int32),
        **chosen,
        **settings,
    }


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "moves"),
    [
        (1.0, 2.0, -2.0, True),
        (1.1, 2.0, -2.2, True),
        (1.5, 2.0, -2.4, False),  # clipped
        (0.5, 2.0, -1.0, True),  # outside the range but not clipped
        (0.5, -2.0, 1.6, False),
        (1.5, -2.0, 3.0, True),
        (1.0, 0.0, 0.0, True),
    ],
)
def test_policy_loss_of_worked_examples(
    ratio: float, advantage: float, loss: float, moves: bool
) -> None:
    metrics, grads = run(single(ratio, advantage))
    assert_allclose(metrics["policy"], loss, rtol=1e-6)
    assert_allclose(metrics["loss"], loss, rtol=1e-6)
    slope = -advantage * ratio if moves else 0  # factor of d logp / d logits = (1/2, -1/2)
    assert_allclose(grads["grad_logits"], [[slope / 2, -slope / 2]], rtol=1e-6)
    assert_allclose(metrics["approx_kl"], ratio - 1 - math.log(ratio), rtol=1e-5, atol=1e-7)
    assert_allclose(metrics["old_approx_kl"], -math.log(ratio), rtol=1e-5, atol=1e-7)
    assert metrics["clip_fraction"] == (abs(ratio - 1) > 0.2)
    assert_allclose(metrics["entropy"], math.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("value", "target", "clip", "loss", "gradient"),
    [
        (3.0, 1.0, 0.0, 2.0, 2.0),  # half of (3 - 1)^2
        (3.0, 1.0, 5.0, 2.0, 2.0),  # within 5 of the old value, 0
        (3.0, 1.0, 1.5, 2.0, 2.0),  # (3 - 1)^2 > (1.5 - 1)^2
        (3.0, 4.0, 1.0, 4.5, 0.0),  # (3 - 4)^2 < (1 - 4)^2, which is constant
        (-3.0, -4.0, 1.0, 4.5, 0.0),
        (0.5, 2.0, 1.0, 1.125, -1.5),
    ],
)
def test_value_loss_of_worked_examples(
    value: float, target: float, clip: float, loss: float, gradient: float
) -> None:
    numbers = {"values": value, "old_value": 0, "target": target}
    call = {**single(1, 0), **{n: np.array([x], np.float32) for n, x in numbers.items()}}
    metrics, grads = run({**call, "vf_coef": 0.5, "vf_clip_coef": clip})
    assert metrics["value"] == loss
    assert metrics["loss"] == loss / 2
    assert grads["grad_values"].tolist() == [gradient / 2]
    assert expect({**call, "vf_clip_coef": clip})[0]["value"] == loss


def test_chunks_of_a_minibatch_add_up_to_it() -> None:
    call = minibatch(50, (3, 4), 2, shared=True)
    by_slot = {n for n, x in call.items() if np.shape(x)[:1] == (50,)}
    whole, grads = run(call)
    metrics, parts = [], []
    for part in (slice(0, 13), slice(13, 50)):
        given = {n: x[part] if n in by_slot else x for n, x in call.items()}
        found, grad = run({**given, "count": 50})
        metrics.append(found)
        parts.append(grad)
    for name, wanted in whole.items():
        assert_allclose(sum(m[name] for m in metrics), wanted, rtol=1e-6)
    for name in ("grad_logits", "grad_mean", "grad_values"):
        assert_allclose(np.concatenate([p[name] for p in parts]), grads[name], rtol=1e-6)
    summed = sum(p["grad_log_std"] for p in parts)
    assert_allclose(summed, grads["grad_log_std"], rtol=1e-5)


def test_outputs_and_gradients_may_lie_side_by_side() -> None:
    call = minibatch(37, (3, 4), 2)
    places = {"logits": slice(1, 8), "mean": slice(8, 10), "values": 11}
    wide, grads = np.zeros((37, 12), np.float32), np.full((37, 12), 7, np.float32)
    for name, place in places.items():
        wide[:, place] = call[name]
    given = {n: wide[:, place] for n, place in places.items()}
    into = {f"grad_{n}": grads[:, place] for n, place in places.items()}
    _, wanted = run(call)
    log_std = np.zeros_like(call["log_std"])
    _kernels.ppo_loss(**{**call, **given, **into, "grad_log_std": log_std})
    for name, place in places.items():
        assert_allclose(grads[:, place], wanted[f"grad_{name}"], rtol=0)
    assert (grads[:, [0, 10]] == 7).all()  # what lies between them is not written


def test_entropy_of_worked_examples() -> None:
    call = {**single(1, 0), "logits": np.log([[0.25, 0.75]]).astype(np.float32), "ent_coef": 0.1}
    metrics, grads = run(call)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert_allclose(metrics["entropy"], entropy, rtol=1e-6)
    assert_allclose(metrics["loss"], -0.1 * entropy, rtol=1e-6)
    slope = 0.1 * 0.25 * (math.log(0.25) + entropy)
    assert_allclose(grads["grad_logits"], [[slope, -slope]], rtol=1e-5)


def test_the_references_gradients_are_its_derivatives() -> None:
    call = minibatch(6, (2, 3), 2, masked=True, shared=True)
    given = {n: torch.tensor(x) for n, x in call.items() if isinstance(x, np.ndarray)}
    given = {n: x.double() if x.dtype == torch.float32 else x for n, x in given.items()}
    outputs = [given.pop(n).requires_grad_() for n in OUTPUTS]
    settings = {n: x for n, x in call.items() if isinstance(x, float)}

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        named = dict(zip(OUTPUTS, tensors, strict=True))
        return reference.ppo_loss(**named, **given, **settings)[0]

    assert torch.autograd.gradcheck(loss, outputs)


def test_the_sum_over_a_large_minibatch_is_exact() -> None:
    m = 200_000
    call = {
        n: np.repeat(x, m, axis=0) for n, x in single(1, 1).items() if np.ndim(x) and n != "sizes"
    }
    call["values"] = np.full(m, 1.1, np.float32)
    metrics, _ = run({**single(1, 1), **call})
    assert_allclose(metrics["value"], 0.5 * (np.float64(np.float32(1.1)) - 1) ** 2, rtol=1e-6)


def test_nan_is_seen() -> None:
    call = minibatch(40, (3,))
    call["logits"][13, 1] = math.nan
    metrics, grads = run(call)
    assert math.isnan(metrics["loss"])
    assert math.isnan(metrics["policy"])
    assert np.isnan(grads["grad_logits"]).any(1).tolist() == [i == 13 for i in range(40)]


def test_far_apart_logits_stay_finite() -> None:
    call = minibatch(64, (4,))
    call["logits"] *= 200
    known = {n: torch.from_numpy(call[n]) for n in ("logits", "action")}
    logprob, _ = reference.logprob_and_entropy(**known, sizes=[4])
    assert logprob.min() < -300
    call["logprob"] = logprob.numpy() + 0.1
    assert_same(call, rtol=2e-4)  # a float32 logit near 600 is 3e-5 from its neighbour


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"logits": np.zeros((3, 4))}, ValueError, r"logits: expected float32.*got float64"),
        ({"action": np.zeros((3, 1))}, ValueError, r"action: expected int32"),
        (
            {"action": np.full((3, 1), 4, np.int32)},
            IndexError,
            r"action\[0\] = 4 is outside \[0, 4",
        ),
        ({"action": None}, TypeError, r"action: missing"),
        ({"target": np.zeros((3, 1), np.float32)}, ValueError, r"target: .*\(3,\).*\(3, 1\)"),
        (
            {"values": np.zeros(0, np.float32)},
            ValueError,
            r"values: the minibatch has no transitions",
        ),
        ({"logits": None}, ValueError, r"no action heads"),
        ({"grad_logits": np.zeros((3, 3), np.float32)}, ValueError, r"grad_logits: .*\(3, 4\)"),
        ({"grad_logits": None}, TypeError, r"grad_logits: missing"),
        ({"count": 2}, ValueError, r"count=2 must be at least 3"),
        ({"values": np.zeros((3, 1), np.float32)}, ValueError, r"values: .*\(3,\).*\(3, 1\)"),
    ],
)
def test_bad_arrays_are_named(change: Call, error: type[Exception], message: str) -> None:
    call = minibatch(3, (4,))
    grads = {f"grad_{n}": np.zeros_like(call[n]) for n in OUTPUTS if n in call}
    with pytest.raises(error, match=message):
        _kernels.ppo_loss(**{**call, **grads, **change})


def test_a_graph_holds_the_parameters_that_nothing_else_holds() -> None:
    given = minibatch(16, (3,))
    wanted, _ = run(given)
    grads = {f"grad_{name}": np.zeros_like(given[name]) for name in ("logits", "values")}
    graph, metrics = _kernels.Graph(), np.zeros(len(METRICS))
    _kernels.ppo_loss(**given, **grads, metrics=metrics, graph=graph)
    beside = [_kernels.LossParams() for _ in range(50)]  # these would take freed memory
    for params in beside:
        params.set(adv_mean=9, adv_scale=9, ent_coef=9, count=1)
    graph.replay()
    assert_allclose(metrics, list(wanted.values()))
