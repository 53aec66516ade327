"""Fused networks read what the autograd policy reads: normalized observations, clipped.

Every way through a network is compared with one network that gets observations which numpy has
normalized: acting, learning, evaluating, in float32 and in bfloat16. Entries are far beyond the
bound, constant, or off their mean by many deviations.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import make_fused
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.ppo.learner import TrainingDiverged
from tests.lib.policies.test_autocast import OUTPUT_ERROR, error
from tests.support.games import compare_with_autograd
from tests.support.trainers import MORTAL, collect, make

NAMES = ["mlp", "lstm", "mingru"]
DTYPES = [torch.uint8, torch.int8, torch.int32, torch.float32]


def observations(spec: PolicySpec, rng: np.random.Generator, *shape: int) -> Tensor:
    """Return observations (*shape, F): entries 0 and 1 are constant, the others spread out."""
    x = rng.normal(20, 5, (*shape, spec.obs_size))
    x[..., 0], x[..., 1] = 0, 100
    return torch.from_numpy(x).to(spec.obs_dtype)


def far(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Return a copy of observations of which a third of the entries are 0, 120 or 1e9."""
    values = [0, 120, 10**9 if x.dtype.itemsize == 4 else 1]
    away = torch.from_numpy(rng.choice(values, x.shape)).to(x.dtype)
    return torch.where(torch.from_numpy(rng.random(x.shape) < 1 / 3), away, x)


def normal(norm: ObservationNorm, x: Tensor) -> Tensor:
    """Normalize observations in float64, without the code under test."""
    mean, scale, bound = (t.double().numpy() for t in (norm.mean, norm.scale, norm.bound))
    normalized = (x.double().numpy() - mean) * scale
    return torch.from_numpy(np.clip(normalized, -bound, bound).astype(np.float32))


@settings(deadline=None, max_examples=30)
@given(
    name=st.sampled_from(NAMES),
    dtype=st.sampled_from(DTYPES),
    size=st.integers(2, 40),
    seed=st.integers(0, 999),
)
def test_acting_and_learning_read_clipped_observations(
    name: str, dtype: torch.dtype, size: int, seed: int
) -> None:
    torch.manual_seed(seed)
    rng, spec = np.random.default_rng(seed), PolicySpec((size,), dtype, (3,), (-1.0,), (1.0,))
    policy = make_policy(PolicyOptions(name=name, hidden_size=16), spec, norm_obs=True)
    policy.norm.update(observations(spec, rng, 200).float())
    policy.norm.publish()
    grads = {n: torch.zeros_like(p) for n, p in policy.named_parameters()}
    fused = EagerRunner(make_fused(policy, grads, 64))
    obs = far(observations(spec, rng, 4, 5), rng)
    seen = normal(policy.norm, obs)
    bound = 10 if dtype == torch.float32 else 100
    assert (seen.abs() == bound).any() and (seen.abs() < bound).any()
    state = torch.randn(4, policy.state_size) if policy.state_size else None
    reset = torch.from_numpy(rng.random((4, 5)) < 0.2)

    # Learning: both passes of the fused network, and autograd's, equal those of the seen numbers.
    norm, policy.norm = policy.norm, None
    wanted = policy.unroll(seen, state, reset)
    acted = policy(seen[:, 0], state)[0]
    policy.norm = norm
    for part in (wanted, policy.unroll(obs, state, reset)):
        policy.zero_grad()
        for grad in grads.values():
            grad.zero_()
        compare_with_autograd(part, fused.unroll(obs, state, reset), fused)
        for n, parameter in policy.named_parameters():
            torch.testing.assert_close(grads[n], parameter.grad, atol=2e-3, rtol=1e-3, msg=n)

    # Acting.
    found = fused.forward(obs[:, 0], state)[0]
    for part in (found, policy(obs[:, 0], state)[0]):
        torch.testing.assert_close(part.logits, acted.logits, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(part.value, acted.value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_reads_clipped_observations(name: str, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    rng, spec = np.random.default_rng(1), PolicySpec((9,), dtype, (3,), (), ())
    policy = make_policy(PolicyOptions(name=name, hidden_size=48), spec, norm_obs=True)
    policy.norm.update(observations(spec, rng, 200).float())
    policy.norm.publish()
    grads = {n: torch.zeros_like(p) for n, p in policy.named_parameters()}
    rounded = {n: p.detach().bfloat16() for n, p in policy.named_parameters()}
    fused = EagerRunner(make_fused(policy, grads, 64, rounded))
    obs, reset = far(observations(spec, rng, 4, 16), rng), torch.zeros(4, 16, dtype=torch.bool)
    state = torch.randn(4, policy.state_size) if policy.state_size else None
    with torch.no_grad():
        norm, policy.norm = policy.norm, None
        wanted = policy.unroll(normal(norm, obs), state, reset)
        acted = policy(normal(norm, obs[:, 0]), state)[0]
        policy.norm = norm
    assert error(fused.unroll(obs, state, reset).value, wanted.value) < OUTPUT_ERROR
    assert error(fused.forward(obs[:, 0], state)[0].value, acted.value) < OUTPUT_ERROR


# --- training ------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:batch_rows")
@pytest.mark.parametrize("env", [{}, MORTAL])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", NAMES)
def test_learning_and_evaluating_read_what_acting_read(
    name: str, precision: str, env: dict[str, Any]
) -> None:
    trainer = make("probe", env=env, precision=precision, policy={"name": name})
    norm = trainer.policy.norm
    norm.mean.copy_(torch.tensor([2.0**23, 2, 1, 5]))
    norm.scale.copy_(torch.tensor([2.0**-18, 8, 9, 2]))
    batch = collect(trainer)
    seen = normal(norm, torch.from_numpy(batch["pool_observation"]))
    assert (seen.abs() == 10).float().mean() > 0.2
    trainer.batch.load(trainer.backend, trainer.version, 1e-4)

    # Learning: with unchanged weights, no probability has changed.
    stats = trainer.learner.minibatch(torch.arange(trainer.sizes.minibatch_sequences))
    tolerance = 1e-6 if precision == "float32" else 1e-3
    assert abs(stats.old_approx_kl) < tolerance and stats.clip_frac == 0

    # Evaluating again, and the policy without its own normalization.
    places = torch.from_numpy(trainer.batch.rows).long()
    obs = torch.from_numpy(trainer.env.arrays["pool_observation"])[places]
    state = None if trainer.states is None else trainer.states.row_state[places]
    reset = torch.from_numpy(trainer.batch._reset(trainer.batch.rows))
    value = trainer.backend.unroll(obs, state, reset).value.view(reset.shape)
    assert_allclose(value, batch["pool_value"], rtol=1e-4, atol=1e-5)
    trainer.policy.norm = None
    with torch.no_grad():
        wanted = trainer.policy.unroll(seen, state, reset).value.view(reset.shape)
    trainer.policy.norm = norm
    assert error(value, wanted) < (1e-4 if precision == "float32" else OUTPUT_ERROR)
    trainer.close()


def test_an_entry_that_was_constant_in_the_first_batch_does_no_harm() -> None:
    """The loss would be a hundred thousand if the entry were not clipped."""
    trainer = make("squared", num_envs=16, norm_obs=True, policy={"hidden_size": 64})
    trainer.update()
    norm = trainer.policy.norm
    assert (norm.scale > 1e10).any()  # cells that nothing was in
    losses = [trainer.update()["loss/value"] for _ in range(3)]
    assert max(losses) < 100
    trainer.close()


def test_an_observation_of_nan_stops_the_training() -> None:
    trainer = make("cartpole", num_envs=8, norm_obs=True, horizon=8)
    trainer.update()
    collect(trainer)
    trainer.env.arrays["pool_observation"][trainer.env.engine.batch()[0], 3, 1] = np.nan
    with pytest.raises(TrainingDiverged, match="loss is nan"):
        trainer.update()
    trainer.close()
