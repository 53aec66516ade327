"""Replay: one episode as the actions that were taken, and its file.

An env's trajectory depends on its seed and its actions alone, so those repeat it to the bit. An env
plays several episodes from one stream of random numbers: the replay of its k-th episode holds the
actions since the env was made, and `start` is the step at which that episode begins.

A file is, with all numbers little-endian:
    8 bytes    "pufreply"
    uint32     version of the format, FORMAT
    uint32     CRC-32 of all that follows
    uint32     bytes of the header
    header     JSON: game, source (hash of the game's header), config, seed and number of the env,
               mode, num_agents, num_choices of each head, num_axes, steps, episode, start, log,
               policy
    body       zlib: hashes (C) uint64, then of each head the choices (N, T) as uint8, uint16 or
               int32, then of each axis the values (N, T) float32, its four bytes in four planes
A reader takes nothing on trust: every size follows from numbers that are checked first, nothing is
run or built from what a file says, and there is no pickle.

Letters in shapes: T steps, N agents of the env, K discrete heads, X continuous axes, C checkpoints.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pufferenv.engine._engine import MAX_AXES, MAX_HEADS
from pufferlib.run.checkpoint import write_bytes

FORMAT = 1
MAGIC = b"pufreply"
EVERY = 100  # steps between two checkpoints
MODE = "same_step"  # autoreset mode of all recorded envs
MOST_HEADER = 1 << 20  # bytes
MOST_BYTES = 1 << 28  # of the actions of one replay in memory and in a body
MOST_TEXT = 200  # characters of a name or label
LEAD = len(MAGIC) + 12  # bytes before the header


class ReplayError(ValueError):
    """A file is no replay, damaged or of another game or version; the message says which."""


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """The actions of one env from the step at which it was made to the end of an episode."""

    game: str  # name; never a path
    source: str  # Game.source of the game that was played
    config: dict[str, int | float]  # all fields
    seed: int  # of this env alone, uint64; see game_config.env_seeds
    env: int  # its number among the envs that played together
    episode: int  # number of the wanted episode, 0 for the env's first
    start: int  # step at which it begins
    num_choices: tuple[int, ...]  # (K,)
    choices: npt.NDArray[np.int32]  # (T, N, K); 0 for agents that were dead
    axes: npt.NDArray[np.float32]  # (T, N, X); 0 likewise
    hashes: npt.NDArray[np.uint64]  # (C,) of what was observed, after EVERY steps and at the end
    log: dict[str, float] | None  # the episode's; None if it had not ended
    policy: str  # who acted, for a title

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.choices)

    @property
    def num_agents(self) -> int:
        """Number of agents of the env."""
        return int(self.choices.shape[1])

    def checkpoints(self) -> list[int]:
        """Return the steps (C,) after which `hashes` were taken."""
        return checkpoints(self.steps)

    def write(self, path: str | Path) -> int:
        """Write a file atomically and return its size in bytes.

        Raise ReplayError for more actions than a file may hold, and SaveError.
        """
        content = encode(self)
        write_bytes(Path(path), content)
        return len(content)

    @classmethod
    def read(cls, path: str | Path) -> Replay:
        """Read a file. Raise ReplayError, with the path, for anything but a whole replay."""
        path = Path(path)
        try:
            size = path.stat().st_size
            if size <= MOST_BYTES:
                with path.open("rb") as file:
                    content = file.read(MOST_BYTES + 1)  # devices and pipes do not know their size
                size = len(content)
            if size > MOST_BYTES:
                raise ReplayError(f"it has {size} bytes, more than any replay: {MOST_BYTES}")
            return decode(content)
        except OSError as error:
            raise ReplayError(f"{path} cannot be read: {error.strerror or error}") from None
        except ReplayError as error:
            raise ReplayError(f"{path} is not a replay that can be played: {error}") from None


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which what was observed is hashed: every EVERY, and the last."""
    return [*range(EVERY, steps, EVERY), steps]


def encode(replay: Replay) -> bytes:
    """Return the content of a file. Raise ReplayError for more actions than a file may hold."""
    sizes = [dtype_of(n).itemsize for n in replay.num_choices] + [4] * replay.axes.shape[2]
    _check_size(replay.steps, replay.num_agents, sizes)
    planes = [replay.hashes.astype("<u8").tobytes()]
    for k, n in enumerate(replay.num_choices):
        planes.append(replay.choices[:, :, k].T.astype(dtype_of(n)).tobytes())
    for x in range(replay.axes.shape[2]):
        values = np.ascontiguousarray(replay.axes[:, :, x].T, "<f4")
        planes.append(values.view(np.uint8).reshape(-1, 4).T.tobytes())
    note = {
        **{name: getattr(replay, name) for name in ("game", "source", "config", "seed", "env")},
        "mode": MODE,
        "num_agents": replay.num_agents,
        "num_choices": list(replay.num_choices),
        "num_axes": replay.axes.shape[2],
        **{name: getattr(replay, name) for name in ("steps", "episode", "start", "log")},
        "policy": "".join(c if c.isprintable() else "?" for c in replay.policy)[:MOST_TEXT],
    }
    header = json.dumps(note).encode()
    checked = len(header).to_bytes(4, "little") + header + zlib.compress(b"".join(planes), 9)
    crc = zlib.crc32(checked)
    return MAGIC + FORMAT.to_bytes(4, "little") + crc.to_bytes(4, "little") + checked


def decode(content: bytes) -> Replay:
    """Return the replay of a file's content. Raise ReplayError unless all of it is legal."""
    if content[: len(MAGIC)] != MAGIC:
        raise ReplayError("it was not written by puffer" if content else "it is empty")
    if len(content) < LEAD:
        raise ReplayError(f"it is truncated after {len(content)} bytes")
    version, crc, length = (int.from_bytes(content[at : at + 4], "little") for at in (8, 12, 16))
    if version != FORMAT:
        raise ReplayError(f"it has format {version}, this version reads {FORMAT}")
    if zlib.crc32(content[16:]) != crc:
        raise ReplayError("it is truncated or damaged: its checksum differs")
    if length > min(MOST_HEADER, len(content) - LEAD):
        raise ReplayError(f"its header has {length} bytes, the file has {len(content)}")
    try:
        header = json.loads(content[LEAD : LEAD + length])
    except (ValueError, RecursionError):
        raise ReplayError("its header is not JSON") from None
    note = _Note.of(header)
    return note.replay(content[LEAD + length :])


def dtype_of(num_choices: int) -> np.dtype[Any]:
    """Return the type in which a head's choices are stored."""
    return np.dtype("u1" if num_choices <= 1 << 8 else "<u2" if num_choices <= 1 << 16 else "<i4")


@dataclasses.dataclass(frozen=True)
class _Note:
    """A file's header after its checks."""

    game: str
    source: str
    config: dict[str, int | float]
    seed: int
    env: int
    mode: str
    num_agents: int
    num_choices: tuple[int, ...]
    num_axes: int
    steps: int
    episode: int
    start: int
    log: dict[str, float] | None
    policy: str

    @classmethod
    def of(cls, header: Any) -> _Note:
        """Check a header. Raise ReplayError that names the first entry that is wrong."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(header, dict) or set(header) != set(names):
            raise ReplayError(f"its header must have exactly {', '.join(names)}")
        for name in ("game", "source", "mode", "policy"):
            _check_text(name, header[name])
        if not re.fullmatch(r"[A-Za-z_]\w{0,63}", header["game"], re.ASCII):
            raise ReplayError(f"game={_short(header['game'])} is not the name of a game")
        if header["mode"] != MODE:
            raise ReplayError(f"mode={_short(header['mode'])} must be {MODE!r}")
        most = 1 << 31
        limits = {"seed": (0, 1 << 64), "env": (0, most), "num_agents": (1, most)}
        limits |= {"num_axes": (0, MAX_AXES + 1), "steps": (1, most), "episode": (0, most)}
        for name, (low, high) in limits.items():
            _check_int(name, header[name], low, high)
        _check_int("start", header["start"], 0, header["steps"])
        counts = header["num_choices"]
        if not isinstance(counts, list) or len(counts) > MAX_HEADS:
            raise ReplayError(f"num_choices={_short(counts)} must have at most {MAX_HEADS} numbers")
        for n in counts:
            _check_int("num_choices", n, 1, most)
        if not counts and not header["num_axes"]:
            raise ReplayError("it has no head and no axis, so there are no actions")
        _check_numbers("config", header["config"])
        if header["log"] is not None:
            _check_numbers("log", header["log"])
        return cls(**{**header, "num_choices": tuple(counts)})

    def replay(self, body: bytes) -> Replay:
        """Return the replay with the hashes and actions of a compressed body."""
        steps, agents = self.steps, self.num_agents
        dtypes = [dtype_of(n) for n in self.num_choices]
        _check_size(steps, agents, [d.itemsize for d in dtypes] + [4] * self.num_axes)
        marks = len(range(EVERY, steps, EVERY)) + 1
        sizes = [8 * marks]
        sizes += [dtype.itemsize * steps * agents for dtype in dtypes]
        sizes += [4 * steps * agents] * self.num_axes
        planes = _split(_inflate(body, sum(sizes)), sizes)
        hashes = np.frombuffer(planes[0], "<u8").astype(np.uint64)
        choices = np.zeros((steps, agents, len(dtypes)), np.int32)
        for k, (n, dtype) in enumerate(zip(self.num_choices, dtypes, strict=True)):
            plane = np.frombuffer(planes[1 + k], dtype).reshape(agents, steps).T
            if plane.min() < 0 or plane.max() >= n:
                wrong = int(plane.min() if plane.min() < 0 else plane.max())
                raise ReplayError(f"a choice of head {k} is {wrong}, outside [0, {n - 1}]")
            choices[:, :, k] = plane
        axes = np.zeros((steps, agents, self.num_axes), np.float32)
        for x in range(self.num_axes):
            plane = np.frombuffer(planes[1 + len(dtypes) + x], np.uint8).reshape(4, -1).T
            axes[:, :, x] = np.ascontiguousarray(plane).view("<f4").reshape(agents, steps).T
        if not np.isfinite(axes).all():
            raise ReplayError("a value of an axis is not a finite number")
        same = ("game", "source", "config", "seed", "env", "episode", "start", "log", "policy")
        return Replay(
            num_choices=self.num_choices,
            choices=choices,
            axes=axes,
            hashes=hashes,
            **{name: getattr(self, name) for name in same},
        )


def _check_size(steps: int, agents: int, action_bytes: list[int]) -> None:
    """Raise ReplayError if actions of these many bytes per agent and step are too many."""
    # In memory an action has four bytes per head and axis.
    size = steps * agents * 4 * len(action_bytes) + 8 * (steps // EVERY + 2)
    if size > MOST_BYTES:
        raise ReplayError(
            f"{steps} steps of {agents} agents have {size} bytes of actions, more than a replay "
            f"may have: {MOST_BYTES}"
        )


def _inflate(body: bytes, size: int) -> bytes:
    """Decompress a body that must have exactly `size` bytes; no more memory is used than that."""
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(body, size + 1)
    except zlib.error as error:
        raise ReplayError(f"its actions are damaged: {error}") from None
    if len(found) != size or not stream.eof or stream.unused_data:
        raise ReplayError(f"its actions do not have the {size} bytes that its header says")
    return found


def _split(content: bytes, sizes: list[int]) -> list[memoryview]:
    ends = np.cumsum(sizes).tolist()
    view = memoryview(content)
    return [view[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _check_int(name: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value < high:
        raise ReplayError(f"{name}={_short(value)} must be an integer in [{low}, {high - 1}]")


def _check_text(name: str, value: Any) -> None:
    # What is printed later must not control a terminal.
    if not isinstance(value, str) or len(value) > MOST_TEXT or not value.isprintable():
        raise ReplayError(
            f"{name}={_short(value)} must be at most {MOST_TEXT} printable characters"
        )


def _check_numbers(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ReplayError(f"{name}={_short(value)} must be a table of numbers")
    for key, number in value.items():
        _check_text(f"a name in {name}", key)
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            raise ReplayError(f"{name}.{_short(key)}={_short(number)} must be a number")
        if isinstance(number, int) and abs(number) >= 1 << 64:
            raise ReplayError(f"{name}.{_short(key)} is too large a number")
    if name == "config" and not all(math.isfinite(number) for number in value.values()):
        raise ReplayError("a number of config is not finite")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
