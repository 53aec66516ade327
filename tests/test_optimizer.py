"""The optimizer moves weights as torch's own do, parameter by parameter."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.optim.adamw import adamw

from pufferlib import _kernels
from pufferlib.optimizer import Optimizer
from pufferlib.options import TrainOptions


def network(seed=0):
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    made[0].bias.requires_grad_(False)  # a part that is not trained
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
    grads = arrays["grads"].copy()
    assert _kernels.norm(grads) == pytest.approx(np.linalg.norm(grads.astype(np.float64)))
    _kernels.adam(**arrays, steps=7, learning_rate=0.02, **given)
    for name, tensor in zip(names, tensors, strict=True):
        wanted = np.zeros(size) if name == "grads" else tensor.numpy()
        assert_allclose(arrays[name], wanted, rtol=2e-6, atol=1e-7, err_msg=name)


def test_moments_of_gradients_that_ceased_become_0():
    arrays = {n: np.ones(20, np.float32) for n in ("weights", "grads", "mean", "square")}
    given = {"learning_rate": 0.01, "beta1": 0.5, "beta2": 0.5, "eps": 1e-5}
    for step in range(1, 150):
        _kernels.adam(**arrays, steps=step, **given)
    assert not arrays["mean"].any() and not arrays["square"].any()
    assert np.isfinite(arrays["weights"]).all()


def test_a_tiny_gradient_moves_a_weight_no_further_than_a_large_one():
    moved = []
    for grad in (1.0, 1e-14):  # of which the square is small even for a float
        arrays = {n: np.zeros(20, np.float32) for n in ("weights", "mean", "square")}
        given = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-16}
        _kernels.adam(**arrays, grads=np.full(20, grad, np.float32), steps=1, **given)
        moved.append(arrays["weights"])
    assert_allclose(moved[0], -0.01, rtol=1e-5)
    assert_allclose(moved[1], -0.01, rtol=0.01)


def test_a_step_before_the_first_is_refused():
    one = [np.zeros(1, np.float32) for _ in range(4)]
    arrays = dict(zip(("weights", "grads", "mean", "square"), one, strict=True))
    with pytest.raises(ValueError, match=r"steps=0: the first step is number 1"):
        _kernels.adam(**arrays, steps=0, learning_rate=0.1, beta1=0.9, beta2=0.9, eps=1e-5)


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
