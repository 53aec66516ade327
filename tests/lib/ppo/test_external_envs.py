"""Training on wrapped envs: conservation, equal results for every backend, asynchronous groups."""

from __future__ import annotations

import functools
import threading

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv

import pufferlib
from pufferenv.external.game import ExternalGame
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ops.sample import UNUSED
from pufferlib.ppo.trainer import Trainer
from pufferlib.run.evaluate import evaluate
from tests.support.external_envs import LIVE, RECORDED, TRUNCATED, RecordingEnv, Village

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


def trainer_of(game, num_envs, *, groups=1, asynchronous=False, policy="mlp", **train):
    RECORDED.clear()
    vec = VecOptions(num_envs=num_envs, num_groups=groups, asynchronous=asynchronous, debug=True)
    defaults = {"horizon": 4, "batch_size": 24, "seed": 2, "device": "cpu", "threads": 1}
    defaults["precision"] = "float32"  # `auto` is measured, and may differ from one run to the next
    options = TrainOptions(**{**defaults, **train})
    hidden = PolicyOptions(name=policy, hidden_size=8, num_layers=2)
    trainer = Trainer(game, {}, vec, options, hidden)
    with torch.no_grad():  # observations are numbers of up to a million
        for parameter in trainer.policy.parameters():
            parameter.mul_(1e-6)
    return trainer


@pytest.mark.parametrize("policy", ["mlp", "lstm"])
@pytest.mark.parametrize(("groups", "asynchronous"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("backend", ["serial", "threads"])
@pytest.mark.parametrize("make", [RecordingEnv, Village])
def test_a_run_trains_on_what_was_lived_once(make, backend, groups, asynchronous, policy):
    game = ExternalGame(make, backend=backend, num_workers=2)
    trainer = trainer_of(
        game, 5, groups=groups, asynchronous=asynchronous, policy=policy, norm_return=True
    )
    arrays = trainer.env.arrays
    load = trainer.batch.load

    def checked(*given):
        rows = trainer.env.engine.batch()
        for row in rows:
            for t in range(4):
                step = RECORDED.pop(tuple(arrays["pool_observation"][row, t].tolist()))
                assert arrays["pool_action"][row, t, 0] == step.action
                assert arrays["pool_reward"][row, t] == np.float32(step.reward)
                assert arrays["pool_done"][row, t] == step.done
                if t < 3 and step.done == LIVE and not arrays["pool_segment_start"][row, t + 1]:
                    assert tuple(arrays["pool_observation"][row, t + 1].tolist()) == step.after
        return load(*given)

    trainer.batch.load = checked
    for _ in range(8):
        trainer.update()
    engine = trainer.env.engine
    engine._backend.wait_all()  # steps in flight are in RECORDED, but not in the pool
    kept = arrays["pool_observation"][arrays["pool_version"] != UNUSED]
    assert sorted(map(tuple, kept.tolist())) == sorted(RECORDED)
    assert len(RECORDED) == trainer.dropped
    trainer.close()


@pytest.mark.parametrize("groups", [1, 2])
def test_weights_do_not_depend_on_who_plays(groups):
    found = []
    for backend, workers in (("serial", None), ("threads", 2), ("processes", 2)):
        game = ExternalGame(RecordingEnv, backend=backend, num_workers=workers)
        trainer = trainer_of(game, 6, groups=groups)
        for _ in range(5):
            trainer.update()
        found.append([parameter.clone() for parameter in trainer.policy.parameters()])
        trainer.close()
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


class Gate(RecordingEnv):
    """An env that blocks in `step`, if it is the first of a run, until it is released."""

    open = threading.Event()
    made = 0

    def __init__(self):
        super().__init__(end=0.0)
        self.slow = Gate.made == 1  # env 0; an earlier one is created for its spaces
        Gate.made += 1

    def step(self, action):
        if self.slow:
            assert Gate.open.wait(60)
        return super().step(action)


def test_fast_envs_do_not_wait_for_a_slow_one():
    """While env 0 makes no step, the others make many, which are trained on."""
    Gate.made = 0
    Gate.open.clear()
    game = ExternalGame(Gate, backend="threads", num_workers=4)
    trainer = trainer_of(game, 4, groups=4, asynchronous=True, batch_size=48)
    slow = float(trainer.env.arrays["pool_observation"][0, 0, 0])
    for _ in range(3):
        trainer.update()
    steps = {tag: sum(key[0] == tag for key in RECORDED) for tag in {key[0] for key in RECORDED}}
    assert slow not in steps
    assert len(steps) == 3
    assert sum(steps.values()) >= 3 * 48
    Gate.open.set()
    while not any(key[0] == slow for key in RECORDED):
        trainer.update()
    trainer.close()


def test_asynchronous_needs_groups_that_can_overtake_each_other():
    for game, groups in ((ExternalGame(RecordingEnv), 1), ("squared", 2)):
        with pytest.raises(ValueError, match=r"vec.asynchronous=true .* needs several groups"):
            trainer_of(game, 4, groups=groups, asynchronous=True)


class Short(gymnasium.Env):
    """An env whose episodes are truncated in their second step."""

    observation_space, action_space = Box(0, 9, (2,), np.float32), Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.count = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.count += 1
        return np.full(2, self.count, np.float32), 0.0, False, self.count == 2, {}


@pytest.mark.parametrize("groups", [1, 2])
def test_final_observations_of_wrapped_envs_are_evaluated_before_there_is_no_room(groups):
    game = ExternalGame(Short, backend="serial")
    trainer = trainer_of(game, 4, groups=groups, horizon=32, batch_size=128)
    assert trainer.update()["env/episodes"] == 64
    trainer.close()


def test_wrapped_envs_of_a_group_step_together(monkeypatch):
    monkeypatch.setattr("pufferlib.ppo.collector.ENV_CHUNK", 1)
    trainer, ranges = trainer_of(ExternalGame(Short, backend="serial"), 4), []
    step = trainer.env.step
    monkeypatch.setattr(trainer.env, "step", lambda *envs: ranges.append(envs) or step(*envs))
    trainer.update()
    assert set(ranges) == {(0, 4)}
    trainer.close()


def test_a_wrapped_env_trains_in_place_of_a_name():
    env = pufferlib.wrap(functools.partial(RecordingEnv, 0.5), 3, name="recording")
    trainer = trainer_of(env, 3)
    assert trainer.env.game is env.game
    metrics = trainer.update()
    assert metrics["env/episodes"] > 0
    assert metrics["env/length"] >= 1
    trainer.close()


def test_a_wrapped_vector_env_is_evaluated_in_whole_ones():
    make = functools.partial(SyncVectorEnv, [RecordingEnv] * 3)
    trainer = trainer_of(ExternalGame(make), 3)
    result = evaluate(trainer.policy, trainer.env.game_spec, episodes=7)
    assert (result.episodes, result.unfinished) == (7, 0)
    assert result.fields["length"].min >= 1
    trainer.close()


def test_the_end_of_a_truncated_episode_is_evaluated():
    """next_value of a truncated step is the value of the env's final observation."""

    class Short(RecordingEnv):
        def step(self, action):
            seen, reward, *_ = super().step(action)
            return seen, reward, False, seen[3] == 3, {}

    trainer = trainer_of(ExternalGame(functools.partial(Short, 0.0)), 6)
    arrays, seen = trainer.env.arrays, {}
    original = trainer.collector.bootstrap.evaluate_finals

    def recording():
        for k in range(trainer.env.engine.num_final):
            final = torch.from_numpy(arrays["final_observation"][k].copy())
            seen[int(arrays["final_slot"][k])] = trainer.policy(final[None], None)[0].value.item()
        original()

    trainer.collector.bootstrap.evaluate_finals = recording
    trainer._collect()
    rows = trainer.env.engine.batch()
    done = arrays["pool_done"][rows]
    assert (done[:, 2] == TRUNCATED).all()
    for row in rows:
        assert arrays["pool_next_value"][row, 2] == pytest.approx(seen[row * 4 + 2], abs=1e-7)
    trainer.close()
