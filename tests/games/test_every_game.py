"""Properties of every game of the ocean package, and faults that debug objects find."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from gymnasium.spaces import Box

import pufferenv
from pufferenv import games
from pufferenv.toolchain.incremental import BuildError
from tests.support.paths import GAME_HEADERS

NAMES = games.names()

# First 16 digits of the sha256 of 1,000 steps of `play`, the same for every compiler and its flags.
# When a game's rules change, the failing test prints the new value for this table.
GOLDEN = {
    "breakout": "d41bc47ce39e89c7",
    "cartpole": "998e4026ce183962",
    "memory": "438e3a1bd726a294",
    "probe": "cfb8981d160a0c6c",
    "royale": "3b600298929015e1",
    "snake": "05a9003093139ab2",
    "squared": "b44ebbcf00e445f6",
    "tag": "93a60b71feb7841c",
}


def actions_of(env, step):
    """Return actions that depend only on the agent's index and the step, for any action space."""

    def below(n, salt):
        place = np.arange(env.num_envs, dtype=np.uint64) + np.uint64(1_000_003 * step + 7919 * salt)
        mixed = place * np.uint64(0x9E3779B97F4A7C15)
        return ((mixed >> np.uint64(33)) % np.uint64(n)).astype(np.int32)

    choices = [below(head.n, k) for k, head in enumerate(env.heads)]
    pushes = [
        axis.low + (axis.high - axis.low) * (below(257, 100 + k) / np.float32(256))
        for k, axis in enumerate(env.axes)
    ]
    if not pushes:
        return choices[0] if len(choices) == 1 else np.stack(choices, -1)
    continuous = np.stack(pushes, -1).astype(np.float32)
    if not choices:
        return continuous
    return {"discrete": np.stack(choices, -1), "continuous": continuous}


def play(env, steps):
    """Step an env and return the hash of every byte that it returned."""
    digest = hashlib.sha256()
    obs, _ = env.reset()
    digest.update(obs.tobytes())
    for step in range(steps):
        obs, rewards, terminated, truncated, _ = env.step(actions_of(env, step))
        if step % 97 == 0:
            assert env.observation_space.contains(obs)
        assert np.isfinite(rewards).all()
        assert not (terminated & truncated).any()
        for array in (obs, rewards, terminated, truncated):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_random_steps_break_no_rule_of_the_contract(name):
    play(pufferenv.make(name, 8, seed=1, debug=True), 1000)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(name):
    first, again, other = (play(pufferenv.make(name, 4, seed=s), 200) for s in (7, 7, 8))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", NAMES)
def test_debug_and_release_objects_play_the_same_game(name):
    release, debug = (play(pufferenv.make(name, 4, seed=2, debug=d), 200) for d in (False, True))
    assert release == debug


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_thousand_steps_are_the_same_bytes_everywhere(name):
    assert play(pufferenv.make(name, 16, seed=1), 1000) == GOLDEN[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_config_field_works_at_its_ends(name):
    """Each field at its lowest and highest value, then all together; a refusal has a reason."""
    fields = games.load(name).config_fields
    configs = [{f.name: getattr(f, end)} for f in fields for end in ("min", "max")]
    configs += [{f.name: getattr(f, end) for f in fields} for end in ("min", "max")]
    for config in configs:
        try:
            env = pufferenv.make(name, 2, seed=3, debug=True, **config)
        except ValueError as error:
            refusal = str(error)
        else:
            refusal = ""
            play(env, 40)
        assert not refusal or f"{name} refuses this config: " in refusal, config


@pytest.mark.parametrize("name", NAMES)
def test_a_game_documents_itself(name):
    game = games.load(name)
    env = pufferenv.make(game, 1)
    assert game.name == name
    assert game.doc.endswith(".")
    assert all(f.doc and f.min <= f.default <= f.max for f in game.config_fields)
    assert all(doc for _, doc in game.log_fields)
    assert {"score", "length"} <= {field for field, _ in game.log_fields}
    assert all(part.doc for part in (*env.heads, *env.axes))
    assert isinstance(env.single_observation_space, Box)


@pytest.mark.parametrize("name", NAMES)
def test_training_defaults_are_known_options(name):
    from pufferlib.config.options import SECTIONS

    defaults = games.defaults(name)
    assert set(defaults) <= {"env", *SECTIONS}
    pufferenv.make(name, 1, **defaults.get("env", {}))
    for section, options in SECTIONS.items():
        options.make(defaults.get(section, {}))


FAULTS = {
    "nan_obs": "has a NaN, an infinity or an unwritten entry in an observation",
    "unwritten": "has a NaN, an infinity or an unwritten entry in an observation",
    "overrun": "writes past the end of an observation",
    "nan_reward": "gives a reward that is NaN or infinite",
    "dead_reward": "rewards an agent that was dead when the step began",
    "dead_act": "acts for an agent that was dead when the step began",
    "double_kill": "kills a dead agent",
    "live_spawn": "spawns a live agent",
}


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_debug_object_names_game_env_agent_and_step_of_a_fault(name):
    env = pufferenv.make(GAME_HEADERS / f"{name}.h", 2, debug=True, after=5)
    env.reset()
    for _ in range(5):
        env.step(np.zeros(4, np.int32))
    with pytest.raises(RuntimeError, match=f"^{name} {FAULTS[name]}: env 0, agent 1, step 6$"):
        env.step(np.zeros(4, np.int32))


def test_a_refused_config_says_why():
    with pytest.raises(ValueError, match="refuses refuses this config: low must be below high"):
        pufferenv.make(GAME_HEADERS / "refuses.h", 1, low=3, high=3)


def test_a_header_that_does_not_compile_is_shown_with_its_line():
    with pytest.raises(BuildError, match=r"broken\.h:11:\d+: error"):
        pufferenv.make(GAME_HEADERS / "broken.h", 1)


def test_a_missing_macro_is_named_with_an_example():
    with pytest.raises(BuildError, match=r"PUF_OBS is missing. Example, type and shape: #define"):
        pufferenv.make(GAME_HEADERS / "no_obs.h", 1)
