"""Conservation: every transition of every agent is trained on once, unchanged and in order.

Property tests through the trainer's own loop, with its sampler and learning, against a shadow of
the run (tests/support/shadow_books.py) and the definitions of docs/design.md in plain numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ops.reference import logprob_and_entropy
from pufferlib.ppo.trainer import Trainer
from tests.support.games import training_columns
from tests.support.known_policy import mixed
from tests.support.paths import KNOWN_POLICY
from tests.support.shadow_books import LIVE, TERMINAL, TRUNCATED, Lived, Shadow

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")
KNOWN = f"{KNOWN_POLICY}:Known"
SCALE, GAMMA, LAMBDA = 1e-4, 0.9, 0.8
RARE = st.sampled_from([0.0, 0.05, 0.3])


@st.composite
def runs(draw: Any, longest: int, most: int) -> tuple[dict[str, Any], VecOptions, TrainOptions]:
    """Draw a population with deaths, and sizes that need not divide it; `most` steps per batch."""
    envs, agents = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    steps = draw(st.integers(1, 40))
    env = {
        "agents": agents,
        "steps": steps,
        "shorter": draw(st.integers(0, steps - 1)),
        "truncate": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "respawn": draw(st.sampled_from([0.0, 0.5])),
        "spawn": draw(st.sampled_from([0.0, 0.1, 0.5])),
        **{name: draw(RARE) for name in ("die", "cut", "flash", "absent")},
    }
    horizon = draw(st.one_of(st.integers(1, 4), st.integers(1, longest)))
    rows = draw(st.integers(1, max(1, min(2 * envs * agents + 1, most // horizon))))
    groups = draw(st.integers(1, min(3, envs)))
    vec = VecOptions(num_envs=envs, num_threads=draw(st.integers(1, 2)), num_groups=groups)
    train = TrainOptions(
        horizon=horizon,
        batch_size=rows * horizon,
        seed=draw(st.integers(0, 2**32)),
        update_epochs=draw(st.integers(1, 2)),
        learning_rate=0.05,
        reward_scale=SCALE,
        gamma=GAMMA,
        gae_lambda=LAMBDA,
        rho_clip=draw(st.sampled_from([0.8, 1.0, 2.0])),
        c_clip=draw(st.sampled_from([0.8, 1.0])),
        threads=1,
        device="cpu",
        precision="float32",  # the tolerances are float32's
    )
    return env, vec, train


def update_or_starve(shadow: Shadow, update: Any) -> bool:
    """Run one update; return False if no agent is left alive, and check that this is so."""
    try:
        update()
    except RuntimeError as error:
        assert "has been alive for more than" in str(error)
        assert shadow.empty >= shadow.trainer.train.horizon
        return False
    return True


class Versions:
    """Outputs of each version of the known policy, in float64 if that is simple."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Any]] = []

    def keep(self, trainer: Trainer) -> None:
        self.weights.append({k: v.clone() for k, v in trainer.policy.state_dict().items()})

    def values(self, version: Any, obs: Any) -> Any:
        """Value (B, H) of observations (B, H, 4) by the weights of `version` (B, H)."""
        shift = np.array([w["shift"].item() for w in self.weights])
        return (
            shift[version - 1] + mixed(obs.reshape(-1, 4).astype(int)).reshape(version.shape) / 256
        )

    def logprobs(self, version: Any, columns: dict[str, Any]) -> Any:
        """Log-probability (B, H) of what stands in a batch's action and axis."""
        number = mixed(torch.from_numpy(columns["pool_observation"]).reshape(-1, 4).long())
        flat = version.reshape(-1) - 1
        weights = {k: torch.stack([w[k] for w in self.weights])[flat] for k in self.weights[0]}
        logprob, _ = logprob_and_entropy(
            logits=weights["bias"] + (number[:, None] * (2 * torch.arange(8) + 3) % 11) / 8,
            sizes=np.array([3, 5], np.int32),
            mean=weights["push"] + (number[:, None] % 7) / 8,
            log_std=weights["log_std"],
            action=torch.from_numpy(columns["pool_action"]).reshape(-1, 2),
            axis=torch.from_numpy(columns["pool_axis"]).reshape(-1, 1),
        )
        return logprob.numpy().reshape(version.shape)


def defined_advantages(
    train: TrainOptions, columns: dict[str, Any], value: Any, next_value: Any, ratio: Any
) -> Any:
    """Return advantages (B, H) slot by slot, as docs/design.md defines them."""
    advantage = np.zeros_like(value)
    done, starts = columns["pool_done"], columns["pool_segment_start"]
    for b, t in np.ndindex(value.shape):
        t = value.shape[1] - 1 - t
        last = t + 1 == value.shape[1]
        delta = SCALE * columns["pool_reward"][b, t] + GAMMA * next_value[b, t] - value[b, t]
        advantage[b, t] = min(ratio[b, t], train.rho_clip) * delta
        if done[b, t] == LIVE and not last and not starts[b, t + 1]:
            c = min(ratio[b, t], train.c_clip)
            advantage[b, t] += GAMMA * LAMBDA * c * advantage[b, t + 1]
    return advantage


def check_training_columns(
    trainer: Trainer, versions: Versions, columns: dict[str, Any], lived: Lived
) -> None:
    """Compare the pool's columns and the columns computed from them with the definitions."""
    close = {"rtol": 2e-5, "atol": 2e-5}
    acted = lived.version
    now = np.full_like(acted, trainer.version)
    stored_logprob = versions.logprobs(acted, columns)
    np.testing.assert_allclose(columns["pool_value"], versions.values(acted, lived.seen), **close)
    np.testing.assert_allclose(columns["pool_logprob"], stored_logprob, **close)
    ends = lived.done == TRUNCATED
    ends[:, -1] |= lived.done[:, -1] == LIVE
    after = versions.values(acted, lived.after)  # under the weights that acted
    np.testing.assert_allclose(columns["pool_next_value"][ends], after[ends], **close)
    value = versions.values(now, lived.seen)
    logprob = versions.logprobs(now, columns)
    next_value = np.where(ends, after, versions.values(now, lived.after))
    next_value[lived.done == TERMINAL] = 0
    own = training_columns(trainer)
    np.testing.assert_allclose(own["value"], value, **close)
    np.testing.assert_allclose(own["logprob"], logprob, **close)
    ratio = np.where(acted == now, 1.0, np.exp(logprob - stored_logprob))
    advantage = defined_advantages(trainer.train, columns, value, next_value, ratio)
    np.testing.assert_allclose(own["advantage"], advantage, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(own["target"], value + advantage, rtol=2e-4, atol=2e-4)
    assert trainer.batch.density == 1
    assert trainer.batch.carried == pytest.approx((acted < now).mean())
    assert trainer.batch.age == pytest.approx((now - acted).mean())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(runs(longest=128, most=400))
def test_every_transition_is_trained_on_once_as_it_was_lived_and_in_order(run):
    env, vec, train = run
    trainer = Trainer("probe", env, vec, train, PolicyOptions(path=KNOWN))
    shadow, versions = Shadow(trainer, env), Versions()
    for _ in range(4):
        versions.keep(trainer)
        learn = trainer.learner.learn

        def checked(when, learn=learn):
            columns, lived = shadow.batches[-1]
            shadow.check_places(columns, lived)
            check_training_columns(trainer, versions, columns, lived)
            return learn(when)

        trainer.learner.learn = checked
        going = update_or_starve(shadow, trainer.update)
        trainer.learner.learn = learn
        shadow.check_conserved()
        if not going:
            break
    trainer.close()


def by_life(policy: Any, lived: list[Lived]) -> dict[tuple[int, ...], tuple[float, float]]:
    """Return by observation its value and that of the next one, acting from each life's start."""
    values, states = {}, {}
    for one in lived:
        tag, agent, life, _ = key = tuple(map(int, one.seen))
        state = states.get((tag, agent, life), policy.initial_state(1))
        output, state = policy(torch.from_numpy(one.seen[None]), state)
        following, _ = policy(torch.from_numpy(one.after[None]), state)
        states[tag, agent, life] = state
        values[key] = output.value.item(), following.value.item()
    return values


@pytest.mark.parametrize("name", ["lstm", "mingru"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(run=runs(longest=24, most=150))
def test_a_recurrent_policy_is_trained_on_its_outputs_while_acting(name, run):
    env, vec, train = run
    options = PolicyOptions(name=name, hidden_size=8, num_layers=3)
    trainer = Trainer("probe", env, vec, train, options)
    weight = trainer.policy.first.weight.data
    weight *= torch.tensor([2.0**-24, 0.25, 0.25, 0.1])
    shadow = Shadow(trainer, env)
    close = {"rtol": 1e-4, "atol": 2e-5}

    def unrolled(when: str) -> dict[str, float]:
        """Replace learning: the weights stay constant, so that acting can be repeated."""
        columns, lived = shadow.batches[-1]
        shadow.check_places(columns, lived)
        for rows in torch.arange(trainer.sizes.batch_rows).split(trainer.sizes.minibatch_sequences):
            minibatch = trainer.batch.minibatch(rows)
            with torch.no_grad():
                output = trainer.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
            logprob, _ = logprob_and_entropy(
                **{name: x for name, x in output._asdict().items() if name != "value"},
                sizes=trainer.sampler.head_sizes,
                action=minibatch.transitions.action,
                axis=minibatch.transitions.axis,
            )
            for name, got in (("value", output.value), ("logprob", logprob)):
                np.testing.assert_allclose(got, columns[f"pool_{name}"][rows].reshape(-1), **close)
        return {}

    trainer.learner.learn = unrolled
    for _ in range(3):
        if not update_or_starve(shadow, trainer.update):
            break
    with torch.no_grad():
        values = by_life(trainer.policy, shadow.lived)
    for columns, lived in shadow.batches:
        keys = [tuple(key) for key in lived.seen.reshape(-1, 4).astype(int).tolist()]
        value, after = np.array([values[key] for key in keys]).T.reshape(2, *lived.done.shape)
        np.testing.assert_allclose(columns["pool_value"], value, **close)
        ends = lived.done == TRUNCATED
        ends[:, -1] |= lived.done[:, -1] == LIVE
        np.testing.assert_allclose(columns["pool_next_value"][ends], after[ends], **close)
    trainer.close()
