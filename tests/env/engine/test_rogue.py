"""Games that break rules about dead agents: debug objects name them, neighbours are unharmed."""

from __future__ import annotations

import numpy as np
import pytest

import pufferenv
from pufferenv.engine import _engine
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ppo.trainer import Trainer
from tests.support.games import load_game
from tests.support.paths import GAME_HEADERS

HORIZON, AGENTS, CANARY = 4, 4, 64


def trained(game, env, **vec):
    train = TrainOptions(horizon=64, threads=1, device="cpu")
    options = VecOptions(num_envs=6, num_threads=1, **vec)
    return Trainer(GAME_HEADERS / f"{game}.h", env, options, train, PolicyOptions(hidden_size=8))


@pytest.mark.parametrize(
    ("game", "text"),
    [
        ("dead_reward", "rewards an agent that was dead when the step began"),
        ("dead_act", "acts for an agent that was dead when the step began"),
        ("double_kill", "kills a dead agent"),
        ("live_spawn", "spawns a live agent"),
    ],
)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_trainer_of_debug_objects_names_game_env_agent_and_step(game, text, groups):
    trainer = trained(game, {"after": 3}, debug=True, num_groups=groups)
    with pytest.raises(RuntimeError, match=rf"^{game} {text}: env 0, agent 1, step 4$"):
        trainer.update()
    trainer.close()


def test_a_head_without_a_legal_choice_is_named_with_its_agent():
    text = r"^all_masked masks every choice of head steer: env 0, agent 1, step "
    trainer = trained("all_masked", {"after": 3}, debug=True)
    with pytest.raises(RuntimeError, match=text + "3$"):
        trainer.update()
    trainer.close()
    env = pufferenv.make(GAME_HEADERS / "all_masked.h", 3, debug=True, after=2)
    env.reset()
    env.step(np.zeros((6, 2), np.int32))
    with pytest.raises(RuntimeError, match=text + "2$"):
        env.step(np.zeros((6, 2), np.int32))
    with pytest.raises(RuntimeError, match=text + "0$"):
        trained("all_masked", {"after": 0}, debug=True)


class Canaries:
    """Allocates the engine's memory between guard bytes, which must not change."""

    def __init__(self):
        self.blocks = []

    def __call__(self, name, shape, dtype):
        size = int(np.prod(shape)) * dtype.itemsize
        whole = np.full(size + 3 * CANARY, 0xA5, np.uint8)
        start = CANARY + -(whole.ctypes.data + CANARY) % 64
        self.blocks.append((name, whole, start, start + size))
        whole[start : start + size] = 0
        return whole[start : start + size].view(dtype).reshape(shape)

    def check(self):
        for name, whole, begin, end in self.blocks:
            assert (whole[:begin] == 0xA5).all() and (whole[end:] == 0xA5).all(), name


@pytest.mark.parametrize("threads", [1, 2])
def test_a_release_object_that_breaks_rules_writes_only_where_its_own_agents_are(threads):
    game, canaries = load_game("rogue"), Canaries()
    seeds = np.array([11, 12, 13, 14, 15], np.uint64)  # 12 and 14 break rules
    total = len(seeds) * AGENTS
    engine = _engine.Engine(
        game,
        game.pack({}),
        len(seeds),
        mode=_engine.ROWS,
        seeds=seeds,
        num_threads=threads,
        horizon=HORIZON,
        num_rows=4 * total,
        batch_rows=1,
        num_finals=2 * total,
        allocate=canaries,
    )
    arrays = engine.arrays
    names = ("pool_observation", "pool_mask", "pool_reward", "pool_done")
    columns = {name: arrays[name] for name in names}
    slots = {name: column.reshape(4 * total * HORIZON, -1) for name, column in columns.items()}
    env_of = np.arange(total) // AGENTS
    neighbours = seeds[env_of] % 2 == 1
    for _ in range(600):
        before = {name: column.copy() for name, column in slots.items()}
        had_row = arrays["row_end"] >= 0
        acted = arrays["slot"][had_row]
        arrays["action"][:] = 1
        engine.step()
        engine.clear_finals()
        arrays["bootstrap_slot"][:] = -1
        while engine.num_full:
            engine.release()
        current = arrays["slot"][arrays["row_end"] >= 0]
        assert len(np.unique(current)) == len(current)
        legal = dict(zip(names, (current, current, acted, acted), strict=True))
        for name, column in slots.items():
            changed = np.flatnonzero((column != before[name]).any(1))
            assert np.isin(changed, legal[name]).all(), name
        kept = neighbours & arrays["alive"]
        seen = slots["pool_observation"][arrays["slot"][kept]]
        np.testing.assert_array_equal(seen[:, 0], seeds[env_of[kept]])
        np.testing.assert_array_equal(seen[:, 1], np.flatnonzero(kept) % AGENTS)
        assert (seen[:, 2] == 0).all()
        np.testing.assert_array_equal(
            slots["pool_mask"][arrays["slot"][kept], 1], np.flatnonzero(kept) % AGENTS % 2
        )
        mine = neighbours & had_row
        rewards = slots["pool_reward"][acted][neighbours[had_row], 0]
        np.testing.assert_array_equal(rewards, seeds[env_of[mine]] + 1)
    canaries.check()


def test_nobody_alive_for_longer_than_a_horizon_ends_training_with_an_error():
    train = TrainOptions(horizon=5, threads=1, device="cpu")
    vec = VecOptions(num_envs=4, num_threads=1, num_groups=2)
    env = {"steps": 1000, "die": 1.0}
    trainer = Trainer("probe", env, vec, train, PolicyOptions(hidden_size=8))
    with pytest.raises(
        RuntimeError, match=r"no agent of 4 envs has been alive for more than 5 steps"
    ):
        trainer.update()
    assert trainer.collector.steps == 6  # the first killed all, five more were waited for
    trainer.close()


def test_a_population_that_changes_between_episodes_is_trained_on():
    train = TrainOptions(horizon=8, threads=1, device="cpu", reward_scale=1e-4)
    vec = VecOptions(num_envs=3, num_threads=1)
    env = {"agents": 10, "steps": 12, "absent": 0.7}
    trainer = Trainer("probe", env, vec, train, PolicyOptions(hidden_size=8))
    live = {trainer.update()["rows/live"] for _ in range(6)}
    assert len(live) > 1 and max(live) < 30
    assert trainer.trained_steps + trainer.dropped == trainer.agent_steps
    trainer.close()


def test_more_groups_than_envs_are_refused():
    with pytest.raises(ValueError, match=r"num_groups=4 is more than vec.num_envs=3"):
        Trainer("squared", {}, VecOptions(3, 1, 4), TrainOptions(device="cpu"), PolicyOptions())
