"""Replay: its file holds the same actions to the bit, is small, and no file can do harm."""

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferlib.run import replay as replay_file
from pufferlib.run.replay import EVERY, LEAD, Replay, ReplayError, checkpoints, decode, encode

NAMES = st.text(st.characters(categories=["L", "N", "P"]), max_size=20)
NUMBERS = st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False))


def make_replay(steps=250, agents=3, num_choices=(3, 300), num_axes=2, seed=0, **others) -> Replay:
    random = np.random.default_rng(seed)
    shape = (steps, agents)
    columns = [random.integers(0, n, shape, np.int32) for n in num_choices]
    fields = {
        "game": "arena",
        "source": "0123456789abcdef",
        "config": {"size": 7, "speed": 0.1},
        "seed": 2**64 - 1,
        "env": 5,
        "episode": 2,
        "start": min(40, steps - 1),
        "num_choices": tuple(num_choices),
        "choices": np.stack(columns, 2) if columns else np.zeros((*shape, 0), np.int32),
        "axes": random.standard_normal((*shape, num_axes)).astype(np.float32),
        "hashes": random.integers(0, 2**64, len(checkpoints(steps)), np.uint64),
        "log": {"score": 0.1 + 0.2, "length": 250.0},
        "policy": "best of runs/arena/2026-01-01",
    }
    return Replay(**{**fields, **others})


def assert_equal(one: Replay, other: Replay) -> None:
    for name in (
        "game",
        "source",
        "config",
        "seed",
        "env",
        "episode",
        "start",
        "num_choices",
        "log",
    ):
        assert getattr(one, name) == getattr(other, name)
    for name in ("choices", "axes", "hashes"):
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def resealed(content: bytes) -> bytes:
    """Return a file's content with the checksum that it should have."""
    return content[:12] + struct.pack("<I", zlib.crc32(content[16:])) + content[16:]


def with_header(replay: Replay, **entries) -> bytes:
    """Return a sealed file whose header has other entries."""
    content = encode(replay)
    (length,) = struct.unpack("<I", content[16:20])
    header = {**json.loads(content[LEAD : LEAD + length]), **entries}
    text = json.dumps(header).encode()
    return resealed(content[:16] + struct.pack("<I", len(text)) + text + content[LEAD + length :])


def with_body(replay: Replay, body: bytes) -> bytes:
    content = encode(replay)
    (length,) = struct.unpack("<I", content[16:20])
    return resealed(content[: LEAD + length] + body)


@settings(deadline=None, max_examples=80)
@given(
    steps=st.integers(1, 350),
    agents=st.integers(1, 5),
    num_choices=st.lists(st.sampled_from([1, 2, 3, 256, 257, 65536, 65537]), max_size=3),
    num_axes=st.integers(0, 2),
    seed=st.integers(0, 100),
    config=st.dictionaries(NAMES, NUMBERS, max_size=4),
    log=st.none() | st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=4),
)
def test_what_is_read_is_what_was_written(steps, agents, num_choices, num_axes, seed, config, log):
    if not num_choices and not num_axes:
        num_axes = 1
    replay = make_replay(steps, agents, num_choices, num_axes, seed, config=config, log=log)
    assert_equal(replay, decode(encode(replay)))


def test_checkpoints_are_every_hundred_steps_and_at_the_end():
    assert EVERY == 100
    assert checkpoints(1) == [1] and checkpoints(100) == [100]
    assert checkpoints(101) == [100, 101] and checkpoints(250) == [100, 200, 250]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path, replay = tmp_path / "a.replay", make_replay()
    size = replay.write(path)
    assert path.stat().st_size == size and [p.name for p in tmp_path.iterdir()] == ["a.replay"]
    assert_equal(replay, Replay.read(path))
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"a\.replay cannot be written: No space left"):
        make_replay(seed=1).write(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_a_label_that_would_control_a_terminal_is_made_harmless():
    assert (
        decode(encode(make_replay(policy="a\x1b[2Jb\n" + "c" * 300))).policy
        == "a?[2Jb?" + "c" * 193
    )


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"game": "../../evil"}, "is not the name of a game"),
        ({"game": "/tmp/evil.h"}, "is not the name of a game"),
        ({"game": "evil.h"}, "is not the name of a game"),
        ({"game": ""}, "is not the name of a game"),
        ({"game": 7}, "game=7 must be at most 200 printable"),
        ({"game": "squarëd"}, "is not the name of a game"),
        ({"policy": "\x1b[2J"}, "policy=.* printable characters"),
        ({"policy": "x" * 201}, "policy=.* at most 200"),
        ({"source": None}, "source=None must be"),
        ({"mode": "next_step"}, "mode='next_step' must be 'same_step'"),
        ({"steps": 0}, r"steps=0 must be an integer in \[1"),
        ({"steps": -5}, "steps=-5 must"),
        ({"steps": 2.0}, "steps=2.0 must be an integer"),
        ({"steps": True}, "steps=True must be an integer"),
        ({"steps": 251}, "do not have the 11068 bytes|its actions do not have"),
        ({"steps": 2**31}, "steps=2147483648 must"),
        ({"steps": 2**31 - 1}, "more than a replay may have"),
        ({"num_agents": 2**31 - 1}, "more than a replay may have"),
        ({"num_agents": 0}, "num_agents=0 must"),
        ({"num_agents": 10**400}, "num_agents=1000.* must be an integer"),
        ({"num_axes": -1}, "num_axes=-1 must"),
        ({"num_axes": 10**9}, "num_axes=1000000000 must"),
        ({"num_choices": [3] * 1000}, "num_choices=.* must have at most"),
        ({"num_choices": [3, 0]}, "num_choices=0 must"),
        ({"num_choices": [2, 300]}, r"a choice of head 0 is 2, outside \[0, 1\]"),
        ({"num_choices": "ab"}, "num_choices='ab' must"),
        ({"num_choices": [], "num_axes": 0}, "there are no actions"),
        ({"seed": -1}, "seed=-1 must"),
        ({"seed": 2**64}, "seed=18446744073709551616 must"),
        ({"start": 250}, "start=250 must"),
        ({"config": [1]}, r"config=\[1\] must be a table"),
        ({"config": {"a": "b"}}, "config.'a'='b' must be a number"),
        ({"config": {"a": float("inf")}}, "a number of config is not finite"),
        ({"config": {"a": 10**300}}, "config.'a' is too large"),
        ({"log": {"a": None}}, "log.'a'=None must be a number"),
        ({"log": {"\x1b": 1}}, "a name in log=.* printable"),
        ({"extra": 1}, "its header must have exactly game, source"),
    ],
)
def test_a_hostile_header_is_refused_by_name(entries, message):
    with pytest.raises(ReplayError, match=message):
        decode(with_header(make_replay(), **entries))


def test_a_header_that_is_no_table_or_no_json_is_refused():
    content = encode(make_replay())
    for text in (
        b"[]",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"game": 1' + b"0" * 5000 + b"}",
    ):
        sealed = resealed(content[:16] + struct.pack("<I", len(text)) + text)
        with pytest.raises(ReplayError, match="header"):
            decode(sealed)
    huge = resealed(content[:16] + struct.pack("<I", 2**32 - 1) + content[20:])
    with pytest.raises(ReplayError, match="header has 4294967295 bytes"):
        decode(huge)


def test_wrong_actions_are_refused():
    replay = make_replay(num_choices=(3,), num_axes=1)
    raw = zlib.decompress(encode(replay)[LEAD + len(header_of(replay)) :])
    for body in (b"", b"no zlib", zlib.compress(raw[:-1]), zlib.compress(raw + b"x"),
                 zlib.compress(raw) + b"more", zlib.compress(raw)[:-4]):  # fmt: skip
        with pytest.raises(ReplayError, match="its actions"):
            decode(with_body(replay, body))
    choice = bytearray(raw)
    choice[8 * 3] = 3
    with pytest.raises(ReplayError, match=r"a choice of head 0 is 3, outside \[0, 2\]"):
        decode(with_body(replay, zlib.compress(bytes(choice))))
    for value in (np.nan, np.inf):
        axes = replay.axes.copy()
        axes[100, 1, 0] = value
        with pytest.raises(ReplayError, match="a value of an axis is not a finite number"):
            decode(encode(make_replay(num_choices=(3,), axes=axes)))


def header_of(replay: Replay) -> bytes:
    content = encode(replay)
    (length,) = struct.unpack("<I", content[16:20])
    return content[LEAD : LEAD + length]


def test_a_bomb_takes_no_more_memory_than_its_header_says(monkeypatch):
    replay = make_replay()
    bomb = zlib.compress(b"\0" * (64 << 20), 9)
    given = []

    class Spied:
        def __init__(self, stream):
            self.stream = stream

        def decompress(self, body, most):
            given.append(most)
            return self.stream.decompress(body, most)

        def __getattr__(self, name):
            return getattr(self.stream, name)

    real = zlib.decompressobj
    monkeypatch.setattr(replay_file.zlib, "decompressobj", lambda: Spied(real()))
    with pytest.raises(ReplayError, match="do not have the"):
        decode(with_body(replay, bomb))
    assert given == [3 * 8 + 250 * 3 * (1 + 2 + 4 + 4) + 1]


def test_other_files_are_named(tmp_path):
    path = tmp_path / "x.replay"
    content = encode(make_replay())
    for given_bytes, message in (
        (b"", "it is empty"),
        (b"GIF89a......................", "not written by puffer"),
        (content[:15], "truncated after 15 bytes"),
        (content[:-1], "truncated or damaged"),
        (content[:200], "truncated or damaged"),
        (content[:8] + struct.pack("<I", 2) + content[12:], "format 2, this version reads 1"),
    ):
        path.write_bytes(given_bytes)
        with pytest.raises(ReplayError, match=rf"x\.replay is not a replay.*{message}"):
            Replay.read(path)
    with pytest.raises(ReplayError, match=r"none\.replay cannot be read: No such file"):
        Replay.read(tmp_path / "none.replay")
    with pytest.raises(ReplayError, match="cannot be read: Is a directory"):
        Replay.read(tmp_path)
    monstrous = tmp_path / "sparse.replay"
    with monstrous.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ReplayError, match="it has 1099511627776 bytes, more than any replay"):
        Replay.read(monstrous)
    with pytest.raises(ReplayError, match=f"it has {2**28 + 1} bytes, more than any replay"):
        Replay.read("/dev/zero")


def test_ten_thousand_damaged_files_raise_a_replay_error_or_are_legal():
    """Half of them have the right checksum, so that all later checks are reached."""
    random = np.random.default_rng(0)
    content = encode(make_replay(steps=120, agents=2))
    legal = 0
    for i in range(10_000):
        damaged = bytearray(content)
        for _ in range(int(random.integers(1, 5))):
            # A third of the changes are in the header.
            end = len(damaged) if random.random() < 0.67 else min(LEAD + 400, len(damaged))
            at = int(random.integers(0, max(1, end)))
            kind = int(random.integers(4))
            if kind == 0:
                damaged[at : at + 1] = bytes([int(random.integers(256))])
            elif kind == 1:
                del damaged[at : at + int(random.integers(1, 30))]
            elif kind == 2:
                damaged[at:at] = random.bytes(int(random.integers(1, 9)))
            else:
                damaged[at : at + 1] = b"-0123456789e"[int(random.integers(12)) :][:1]
        mutated = resealed(bytes(damaged)) if i % 2 and len(damaged) > 16 else bytes(damaged)
        try:
            read = decode(mutated)
        except ReplayError as error:
            assert str(error) and "\x1b" not in str(error)
            continue
        legal += 1
        assert read.choices.shape == (read.steps, read.num_agents, len(read.num_choices))
    assert legal < 1000  # such as another label or another seed
