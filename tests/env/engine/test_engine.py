"""The engine's Cython layer: loading games, given memory, seeds, logs, actions, rows."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from pufferenv import games
from pufferenv.engine import _engine
from tests.support.games import load_game


def open_engine(game, num_envs=8, *, mode=_engine.SAME_STEP, seed=0, config=None, **options):
    fields = {field.name: field.default for field in game.config_fields} | (config or {})
    seeds = _engine.mix_seed(seed, num_envs)
    packed = game.pack(fields)
    if mode == _engine.ROWS:
        agents = num_envs * game.shapes(packed).num_agents
        options = {"horizon": 4, "batch_rows": agents} | options
        options |= {"num_rows": options["batch_rows"] + 2 * agents, "num_finals": 2 * agents}
    return _engine.Engine(game, packed, num_envs, mode=mode, seeds=seeds, **options)


# --- loading -----------------------------------------------------------------------------
def test_a_file_that_is_no_game_is_refused(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("not an object")
    with pytest.raises(ImportError, match=r"cannot load .*text\.so"):
        _engine.Game(str(text))
    source, library = tmp_path / "empty.c", tmp_path / "empty.so"
    source.write_text("int nothing;\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    with pytest.raises(ImportError, match="is not a game: it has no symbol puf_spec"):
        _engine.Game(str(library))


def test_a_game_of_another_abi_is_refused(tmp_path):
    source, library = tmp_path / "old.c", tmp_path / "old.so"
    source.write_text("const unsigned puf_spec[64] = {99};\n")
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    with pytest.raises(ImportError, match=f"built for ABI 99, this engine has ABI {_engine.ABI}"):
        _engine.Game(str(library))


def test_pack_puts_each_field_at_its_place():
    game = games.load("squared")
    assert np.frombuffer(game.pack({"size": 7}), np.int32)[0] == 7
    assert game.shapes(game.pack({"size": 7})).obs_shape == (7, 7)
    with pytest.raises(ValueError, match="config has 3 bytes"):
        game.shapes(b"abc")


# --- memory ------------------------------------------------------------------------------
def test_arrays_are_aligned_and_named_as_the_header_says():
    engine = open_engine(games.load("squared"), 64)
    assert all(a.ctypes.data % 64 == 0 for a in engine.arrays.values() if a.size)
    assert engine.arrays["observation"].shape == (64, 11, 11)
    assert "pool_reward" not in engine.arrays
    assert engine.env_bytes == 2 * 8 + 8 + 4 * 4  # squared's log, its generator, four integers
    rows = open_engine(games.load("squared"), 64, mode=_engine.ROWS)
    assert rows.arrays["pool_observation"].shape == (192, 4, 11, 11)
    assert "termination" not in rows.arrays


def test_the_engine_writes_into_memory_it_is_given():
    memory = {}

    def allocate(name, shape, dtype):
        if name == "reward":
            memory[name] = bytearray(int(np.prod(shape)) * dtype.itemsize)
        return memory.get(name)

    engine = open_engine(load_game("script"), 2, allocate=allocate)
    engine.arrays["action"][:] = 0
    engine.step()
    assert np.frombuffer(memory["reward"], np.float32).tolist() == [0, 1000, 2000] * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda s, d: np.zeros(s, np.float64), r"this one has shape .* and dtype float64"),
        (lambda s, d: np.zeros((*s, 2), d), r"reward needs .* shape \(8,\) and dtype float32"),
        (lambda s, d: np.zeros((s[0], 2), d)[:, 0], "this one has strides"),
        (lambda s, d: b"x" * s[0] * 4, "this one is read-only"),
        (lambda s, d: bytearray(5), "that is 32 bytes; this one has 5"),
        (lambda s, d: [0.0] * s[0], "list has no buffer"),
        (lambda s, d: memoryview(bytearray(33))[1:], "not aligned to 4 bytes"),
    ],
)
def test_memory_that_does_not_fit_is_refused(given, message):
    def allocate(name, shape, dtype):
        return given(shape, dtype) if name == "reward" else None

    with pytest.raises(ValueError, match=message):
        open_engine(games.load("squared"), 8, allocate=allocate)


def test_arrays_outlive_their_engine():
    engine = open_engine(games.load("squared"), 4096)
    seen = engine.arrays["observation"]
    before = seen.copy()
    engine.close()
    engine.close()
    del engine
    np.testing.assert_array_equal(seen, before)
    seen[:] = 0


# --- seeds and logs -------------------------------------------------------------------------
def test_an_envs_seed_does_not_depend_on_how_many_there_are():
    many = _engine.mix_seed(7, 1000)
    assert len(set(many.tolist())) == 1000
    np.testing.assert_array_equal(_engine.mix_seed(7, 10), many[:10])
    np.testing.assert_array_equal(_engine.mix_seed(7, 5, begin=5), many[5:10])
    assert not set(many.tolist()) & set(_engine.mix_seed(8, 1000).tolist())


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_rows_are_the_same_bytes_for_any_number_of_threads(threads):
    config = {"agents": 8}
    one = open_engine(load_game("script"), 50, mode=_engine.ROWS, config=config)
    many = open_engine(
        load_game("script"), 50, mode=_engine.ROWS, config=config, num_threads=threads
    )
    rng = np.random.default_rng(0)
    for _ in range(60):
        actions = np.zeros((400, 3), np.int32)
        actions[:, 0] = np.where(rng.random(400) < 0.3, rng.integers(0, 6, 400), 0)
        actions[:, 1] = np.where(rng.random(400) < 0.1, rng.integers(0, 3, 400), 0)
        for engine in (one, many):
            engine.arrays["action"][:] = actions
            engine.arrays["bootstrap_slot"][:] = -1
            engine.clear_finals()
            engine.step()
            while engine.num_full >= 400:
                engine.release()
        for name, array in one.arrays.items():
            np.testing.assert_array_equal(array, many.arrays[name], err_msg=name)


def test_the_log_is_mean_spread_and_extremes_of_the_episodes_since_the_last_call():
    engine = open_engine(load_game("script"), 1, config={"agents": 1})
    lengths = [3, 1, 4, 1, 5]
    for length in lengths:
        for t in range(length):
            engine.arrays["action"][0, 1] = int(t == length - 1)
            engine.step()
    assert engine.arrays["final_log"][0, 0] == 5
    log = engine.log()
    assert log["episodes"][0] == 5
    assert log["length"] == pytest.approx((np.mean(lengths), np.std(lengths), 1, 5))
    assert engine.log() == {"episodes": (0, 0, 0, 0)}


def test_a_reset_that_fails_half_way_closes_the_env_instead_of_leaving_it_broken():
    engine = open_engine(load_game("unlucky"), 4)
    with pytest.raises(ValueError, match="unlucky refuses this config: 13 brings bad luck"):
        engine.reset(np.array([1, 2, 13, 4], np.uint64))
    with pytest.raises(RuntimeError, match="unlucky is closed"):
        engine.step()
    engine.close()


def test_an_episode_broken_off_by_a_reset_leaves_nothing_in_the_next_ones_log():
    engine = open_engine(load_game("unlucky"), 1)
    for steps in (7, 10):
        for _ in range(steps):
            engine.step()
        if steps == 7:
            engine.reset()
    assert engine.arrays["final_log"][0, 0] == 10


def test_envs_share_what_the_game_loaded_once_and_a_load_that_fails_says_why():
    engine = open_engine(load_game("loaded"), 3)
    seen = []
    for _ in range(9):
        seen.append(engine.arrays["observation"][:, 0].tolist())
        engine.step()
    assert seen == [[t * t] * 3 for t in (0, 1, 2, 3, 4, 5, 6, 7, 0)]
    with pytest.raises(ValueError, match="loaded refuses this config: 13 brings bad luck"):
        open_engine(load_game("loaded"), 3, config={"length": 13})


# --- given actions ----------------------------------------------------------------------------
def test_actions_in_another_byte_order_mean_what_they_say():
    engine = open_engine(load_game("continuous"), 2)
    engine.set_actions(None, np.full((2, 2), 0.5, ">f4"))
    assert engine.arrays["axis"].tolist() == [[0.5, 0.5]] * 2
    heads = open_engine(games.load("squared"), 2)
    heads.set_actions(np.array([3, 4], ">i8"))
    assert heads.arrays["action"].ravel().tolist() == [3, 4]
    with pytest.raises(ValueError, match=f"move={2**63 + 3} is outside"):
        heads.set_actions(np.array([0, 2**63 + 3], np.uint64))


# --- rows in the pool -------------------------------------------------------------------------
def test_current_observations_of_a_fixed_population_are_a_strided_view_of_the_pool():
    engine = open_engine(games.load("cartpole"), 16, mode=_engine.ROWS, horizon=4)
    pool = engine.arrays["pool_observation"]
    rng = np.random.default_rng(0)
    for _ in range(4 * 10 + 3):
        engine.arrays["action"][:] = rng.integers(0, 2, (16, 1))
        engine.arrays["bootstrap_slot"][:] = -1
        engine.clear_finals()
        engine.step()
        while engine.num_full >= 16:
            engine.release()
        first = engine.uniform_first_slot()
        row, place = divmod(first, 4)
        view = pool[row : row + 16, place]
        assert view.ctypes.data == pool.ctypes.data + first * pool.strides[1]
        assert view.strides == (4 * pool.strides[1], pool.strides[2])
        assert (engine.arrays["slot"] == first + 4 * np.arange(16)).all()


def test_reset_with_the_same_seeds_begins_the_same_run_again():
    engine = open_engine(games.load("squared"), 16, mode=_engine.ROWS)
    first = engine.arrays["pool_observation"][:16, 0].copy()
    engine.arrays["action"][:] = 1
    for _ in range(3):
        engine.step()
    engine.reset(_engine.mix_seed(0, 16))
    np.testing.assert_array_equal(engine.arrays["pool_observation"][:16, 0], first)
    assert (engine.num_open, engine.num_full) == (16, 0)


def test_the_check_finds_a_row_whose_owner_was_changed_from_outside():
    engine = open_engine(games.load("squared"), 4, mode=_engine.ROWS)
    engine.check()
    slot = engine.arrays["slot"]
    slot[[0, 1]] = slot[[1, 0]]
    with pytest.raises(AssertionError, match="slot is not in its row"):
        engine.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_threads": 0}, "num_threads=0 must be at least 1"),
        ({"num_threads": 1000}, r"num_threads=1000 is outside \[1, 256\]"),
    ],
)
def test_impossible_sizes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        open_engine(games.load("squared"), 4, **options)


def test_fewer_rows_than_agents_are_refused_with_the_number_that_suffices():
    game = games.load("squared")
    with pytest.raises(ValueError, match=r"num_rows=3 .* 8 agents; .* = 20 always suffices"):
        _engine.Engine(
            game,
            game.pack({"size": 5}),
            8,
            mode=_engine.ROWS,
            seeds=_engine.mix_seed(0, 8),
            horizon=4,
            num_rows=3,
            batch_rows=4,
            num_finals=16,
        )


@pytest.mark.parametrize("call", ["step", "live_agents", "uniform_first_slot"])
@pytest.mark.parametrize("span", [(0, 9), (-1, 4), (3, 3)])
def test_a_range_of_envs_that_is_none_is_refused(call, span):
    engine = open_engine(games.load("squared"), 8, mode=_engine.ROWS)
    with pytest.raises(ValueError, match=r"envs \[.*\) are not in \[0, 8\)"):
        getattr(engine, call)(*span)
