"""The optimizer moves weights as torch's own do, parameter by parameter."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.optim.adamw import adamw

from pufferlib.config.options import TrainOptions
from pufferlib.kernels import _kernels
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.runtime.thread_pool import ThreadPool


def network(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    made[0].bias.requires_grad_(False)  # a parameter that is not trained
    return made


def learn(policy, step, clip, steps=5):
    """Take gradient steps on one batch; return the norms before clipping."""
    norms = []
    x, y = torch.linspace(-3, 3, 40).view(8, 5), torch.linspace(-1, 1, 24).view(8, 3)
    for _ in range(steps):
        (20 * (policy(x) - y) ** 2).sum().backward()
        norms.append(float(clip()))
        step()
    return norms


@pytest.mark.parametrize("max_norm", [0.0, 0.5, 1e6])
@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_weights_go_where_torchs_optimizers_bring_them(kind, max_norm):
    train = TrainOptions(
        optimizer=kind,
        learning_rate=0.01,
        adam_beta1=0.8,
        adam_beta2=0.95,
        adam_eps=1e-5,
        weight_decay=0.02,
        max_grad_norm=max_norm,
    )
    ours, theirs = network(), network()
    optimizer = Optimizer(ours, train)
    own = learn(ours, optimizer.step, optimizer.clip)

    trained = [p for p in theirs.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.dim() == 2 and kind == "muon"]
    adam = torch.optim.AdamW(
        [p for p in trained if not any(p is m for m in matrices)],
        lr=0.01,
        betas=(0.8, 0.95),
        eps=1e-5,
        weight_decay=0.02,
    )
    parts = [adam]
    if matrices:
        parts.append(
            torch.optim.Muon(matrices, lr=0.01, weight_decay=0.02, adjust_lr_fn="match_rms_adamw")
        )

    def step():
        for part in parts:
            part.step()
            part.zero_grad()

    def clip():
        return nn.utils.clip_grad_norm_(trained, max_norm or torch.inf)

    assert own == pytest.approx(learn(theirs, step, clip), rel=1e-4)
    for mine, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-6)


def adam_params(steps, rate, beta1, beta2, weight_decay=0.0, grad_scale=1, **_):
    """Return the parameters of step number `steps`."""
    params = _kernels.AdamParams()
    params.set(
        grad_scale=grad_scale,
        step_size=rate / (1 - beta1**steps),
        root_scale=(1 - beta2**steps) ** -0.5,
        weight_factor=1 - rate * weight_decay,
    )
    return params


@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_the_native_step_is_torchs_fused_one(size):
    rng = np.random.default_rng(size)
    names = ("weights", "grads", "mean", "square")
    arrays = {name: rng.normal(size=size).astype(np.float32) for name in names}
    arrays["square"] **= 2
    given = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-5, "weight_decay": 0.1}
    tensors = [torch.tensor(arrays[name]) for name in names]
    adamw(
        *([tensor] for tensor in tensors),
        [],
        [torch.tensor(6.0)],
        fused=True,
        amsgrad=False,
        maximize=False,
        lr=0.02,
        **given,
    )
    params = adam_params(7, 0.02, grad_scale=0.25, **given)
    arrays["grads"] *= 4
    given.pop("weight_decay")
    _kernels.adam(**arrays, params=params, **given)
    for name, tensor in zip(names, tensors, strict=True):
        wanted = np.zeros(size) if name == "grads" else tensor.numpy()
        assert_allclose(arrays[name], wanted, rtol=2e-6, atol=1e-7, err_msg=name)


def test_moments_of_gradients_that_ceased_become_0():
    arrays = {n: np.ones(20, np.float32) for n in ("weights", "grads", "mean", "square")}
    given = {"beta1": 0.5, "beta2": 0.5, "eps": 1e-5}
    for step in range(1, 150):
        _kernels.adam(**arrays, params=adam_params(step, 0.01, **given), **given)
    assert not arrays["mean"].any() and not arrays["square"].any()
    assert np.isfinite(arrays["weights"]).all()


def test_a_tiny_gradient_moves_a_weight_no_further_than_a_large_one():
    moved = []
    for grad in (1.0, 1e-14):  # the square of 1e-14 is small even for a float
        arrays = {n: np.zeros(20, np.float32) for n in ("weights", "mean", "square")}
        given = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-16}
        arrays["grads"] = np.full(20, grad, np.float32)
        _kernels.adam(**arrays, params=adam_params(1, 0.01, **given), **given)
        moved.append(arrays["weights"])
    assert_allclose(moved[0], -0.01, rtol=1e-5)
    assert_allclose(moved[1], -0.01, rtol=0.01)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 1000])
def test_gradients_of_several_threads_become_one(size, rows):
    rng = np.random.default_rng(size)
    out, more = rng.normal(size=size), rng.normal(size=(rows, size + 5))
    out, more, squares = out.astype(np.float32), more.astype(np.float32), np.full(1, np.nan)
    wanted, beside = out + more[:, :size].sum(0), more[:, size:].copy()
    _kernels.reduce_grads(out=out, more=more[:, :size], squares=squares)
    assert_allclose(out, wanted, rtol=1e-5, atol=1e-6)
    assert squares[0] == pytest.approx((out.astype(np.float64) ** 2).sum())
    assert not more[:, :size].any() and np.array_equal(more[:, size:], beside)


@pytest.mark.parametrize("kind", ["adam", "muon"])
@pytest.mark.parametrize("threads", [2, 3])
def test_threads_that_share_the_weights_do_what_one_does(kind, threads, monkeypatch):
    monkeypatch.setattr("pufferlib.ppo.optimizer.MIN_WEIGHTS_PER_THREAD", 8)
    train, found = TrainOptions(optimizer=kind, weight_decay=0.1, max_grad_norm=2.0), []
    for size in (1, threads):
        policy, thread_pool = network(), ThreadPool(size)
        optimizer = Optimizer(policy, train, thread_pool)
        norms, rng = [], torch.Generator().manual_seed(4)
        for _ in range(3):
            given = torch.randn((threads, len(optimizer.grads)), generator=rng)
            optimizer.grads += given[0] if size > 1 else given.sum(0)
            optimizer.extra_grads += given[1:size]
            norms.append(optimizer.clip())
            optimizer.step()
            assert not optimizer.grads.any() and not optimizer.extra_grads.any()
        found.append((norms, *(p.detach() for p in policy.parameters())))
        thread_pool.close()
    (norms, *weights), (others, *parameters) = found
    assert norms == pytest.approx(others) and max(norms) > 2
    for one, many in zip(weights, parameters, strict=True):
        torch.testing.assert_close(one, many, rtol=1e-5, atol=1e-7)


def test_gradients_that_are_forgotten_leave_nothing_behind():
    moved = []
    for before in (0.0, 100.0):
        policy = network()
        optimizer = Optimizer(policy, TrainOptions(optimizer="adam", max_grad_norm=0.01))
        optimizer.grads += before
        optimizer.clip()
        optimizer.zero_grad()
        optimizer.grads += 1e-4
        optimizer.step()
        moved.append(optimizer.tensors()["adam.2.weight.exp_avg"].clone())
    assert moved[0].any() and torch.equal(*moved)


def test_a_new_learning_rate_holds_from_the_next_step_on():
    policy = network()
    optimizer = Optimizer(policy, TrainOptions(learning_rate=0.01))
    optimizer.learning_rate = 0.0
    before = policy[2].weight.detach().clone()
    learn(policy, optimizer.step, optimizer.clip)
    assert torch.equal(policy[2].weight, before)


def test_parameters_of_several_dtypes_are_refused_by_name():
    policy = network()
    policy[2].double()
    with pytest.raises(ValueError, match=r"torch\.float32 and torch\.float64"):
        Optimizer(policy, TrainOptions())
