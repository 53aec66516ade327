"""wrap: a policy keeps to the action masks of external envs, in every backend."""

from __future__ import annotations

import functools
import sys
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AutoresetMode, SyncVectorEnv

import pufferlib
from pufferenv.external.game import EnvError, ExternalGame
from pufferlib.ops.sample import UNUSED
from pufferlib.run.evaluate import evaluate
from tests.lib.ppo.test_external_envs import trainer_of
from tests.support.external_envs import RecordingEnv, Village

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers need not import torch

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")


def legal_at(step: float, sizes=(5,)) -> list[np.ndarray]:
    """Return the mask of each head in a step: two adjacent choices are legal."""
    return [np.array([(k - int(step)) % n < 2 for k in range(n)], np.int8) for n in sizes]


class Strict(gymnasium.Env):
    """Asserts that actions are legal, and ends after some steps. `how` selects the masks' place."""

    observation_space: Any = Box(0, 100, (1,), np.float32)
    action_space: Any = Discrete(5, start=3)

    def __init__(self, how="info", forbid=None):
        self.how, self.forbid, self.step_count = how, forbid, 0
        self.sizes, self.starts = (5,), (3,)
        if how in ("heads", "tuple"):
            self.sizes, self.starts = (3, 4), (0, 0)
            self.action_space = MultiDiscrete([3, 4])
        if how != "info":
            inner = MultiBinary(sum(self.sizes))
            if how == "tuple":
                inner = Tuple([MultiBinary(3), MultiBinary(4)])
            self.observation_space = Dict(
                {"observation": self.observation_space, "action_mask": inner}
            )

    def _observe(self):
        self.legal = legal_at(self.step_count, self.sizes)
        if self.step_count == self.forbid:
            self.legal[-1][:] = 0
        mask = tuple(self.legal) if self.how == "tuple" else np.concatenate(self.legal)
        seen = np.array([self.step_count], np.float32)
        if self.how == "info":
            return seen, {"action_mask": mask}
        return {"observation": seen, "action_mask": mask}, {}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_count, self.last = 0, int(self.np_random.integers(1, 9))
        return self._observe()

    def step(self, action):
        chosen = np.atleast_1d(action) - self.starts
        for legal, choice in zip(self.legal, chosen, strict=True):
            assert legal[choice], f"{choice} of {legal}"
        self.step_count += 1
        over = self.step_count > self.last
        seen, info = self._observe()
        return seen, 1.0, over, False, info


class StrictVillage(Village):
    """Each agent has one legal choice, which differs from step to step; masks are in the infos."""

    def __init__(self):
        super().__init__()
        self.legal = {}

    def _infos(self):
        self.legal = {name: (int(name[6:]) + int(self.seen[name][3])) % 3 for name in self.agents}
        return {
            name: {"action_mask": np.arange(3) == choice} for name, choice in self.legal.items()
        }

    def reset(self, seed=None, options=None):
        seen, _ = super().reset(seed, options)
        return seen, self._infos()

    def step(self, actions):
        assert all(actions[name] == self.legal[name] for name in actions), (actions, self.legal)
        *result, _ = super().step(actions)
        return *result, self._infos()


STRICT = {how: functools.partial(Strict, how) for how in ("info", "seen", "heads", "tuple")}


def strict_batch(how, mode):
    return SyncVectorEnv([functools.partial(Strict, how)] * 2, autoreset_mode=mode)


@pytest.mark.parametrize(
    ("make", "backend"),
    [
        *((make, "threads") for make in STRICT.values()),
        *((functools.partial(strict_batch, "heads", mode), "serial") for mode in AutoresetMode),
        *((functools.partial(strict_batch, "info", mode), "serial") for mode in AutoresetMode),
        (StrictVillage, "serial"),
        (StrictVillage, "processes"),
        (STRICT["tuple"], "processes"),
    ],
)
def test_a_policy_chooses_what_is_legal_only(make, backend):
    """The envs assert it in training and evaluation; the masks are in the rows."""
    game = ExternalGame(make, backend=backend, num_workers=2)
    trainer = trainer_of(game, 4)
    for _ in range(4):
        trainer.update()
    if game.description.kind == "gymnasium":
        rows = trainer.env.arrays
        seen = game.description.observations.views(rows["pool_observation"])[-1][..., 0]
        if game.description.masks.in_observation:
            seen = game.description.observations.unpack(rows["pool_observation"])["observation"][
                ..., 0
            ]
        sizes = [head.n for head in game.description.actions.heads]
        for row, t in np.argwhere(rows["pool_version"] != UNUSED):
            expected = np.concatenate(legal_at(seen[row, t], sizes))
            np.testing.assert_array_equal(rows["pool_mask"][row, t], expected)
    if backend != "processes":
        assert evaluate(trainer.policy, trainer.env.game_spec, episodes=4).episodes == 4
    trainer.close()


def test_a_wrapped_env_tells_its_masks_with_every_step():
    env = pufferlib.wrap(functools.partial(Strict, "heads"), 3, seed=1)
    _, infos = env.reset()
    for t in range(1, 3):
        np.testing.assert_array_equal(
            infos["action_mask"], [np.concatenate(legal_at(t - 1, (3, 4)))] * 3
        )
        *_, terminated, _, infos = env.step(np.full((3, 2), t - 1))
        if terminated.any():
            break


@pytest.mark.parametrize(("how", "backend"), [("info", "serial"), ("tuple", "processes")])
def test_a_mask_that_forbids_everything_is_an_error(how, backend):
    make = functools.partial(Strict, how, forbid=1)
    env = pufferlib.wrap(make, 2, backend=backend, num_workers=2, seed=1)
    env.reset()
    head = "action" if how == "info" else "action/1"
    where = "info" if how == "info" else "observation"
    words = rf"env 0, step 1: ValueError: 'action_mask' of its {where} forbids .* '{head}'"
    with pytest.raises(EnvError, match=words):
        env.step(np.full(2, 3) if how == "info" else np.zeros((2, 2), np.int64))
    env.close()


def test_masks_that_do_not_fit_are_refused():
    class Short(Strict):
        observation_space = Dict({"observation": Box(0, 1, (1,)), "action_mask": MultiBinary(4)})

        def __init__(self):
            self.sizes = (5,)

    with pytest.raises(ValueError, match=r"'action_mask' has 4 entries, .* has 5 choices"):
        pufferlib.wrap(Short)

    class Forgets(Strict):
        def step(self, action):
            return *super().step(action)[:4], {}

    env = pufferlib.wrap(Forgets, seed=1)
    env.reset()
    with pytest.raises(EnvError, match="step 1: ValueError: its info has no 'action_mask'"):
        env.step(np.array([3]))


def test_without_choices_an_action_mask_is_an_observation_like_any():
    class Pushes(RecordingEnv):
        observation_space = Dict({"action_mask": Box(0, 1, (2,))})
        action_space = Box(-1, 1, (2,))

    assert pufferlib.wrap(Pushes).action_masks is None
