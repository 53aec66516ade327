"""Packing of nested Gymnasium spaces into the engine's arrays.

The leaves of an observation space become the parts of a slot, and are read as views of the slot.
The leaves of an action space become discrete heads (int32) and continuous axes (float32). The
constructor raises for a leaf that cannot be stored and names its path. Letters: N observations or
actions, K heads, X axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import Space
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from pufferenv.engine._engine import MAX_DIMS

MAX_CHOICES = 1024  # values of one integer of an action, which becomes one head
INT32 = np.iinfo(np.int32)
FLOAT32_MAX = float(np.finfo(np.float32).max)
ADVICE = "leave it out or turn it into numbers with a gymnasium.ObservationWrapper"
ACTION_ADVICE = "change it with a gymnasium.ActionWrapper"

Path = tuple[Any, ...]  # keys of Dicts and indices of Tuples, outermost first
Array = npt.NDArray[Any]


class ObservationPart(NamedTuple):
    """One leaf of an observation space, and where it is in a slot."""

    name: str  # its path, such as "image" or "inner/0"; "": the whole observation is one leaf
    path: Path
    space: Space[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]  # as stored: uint8, int8, int32 or float32
    offset: int  # bytes from the start of the slot
    limits: tuple[int, int] | None  # range of legal integers if the stored dtype allows others

    @property
    def num_bytes(self) -> int:
        """Return the size of the part in a slot, in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def spelled(self) -> str:
        """Return the part's name for a message."""
        return f"observation {self.name!r}" if self.name else "the observation"

    def checked(self, value: Any, lead: tuple[int, ...]) -> Any:
        """Return `value` (*lead, *shape) as it can be stored. Raise ValueError if it cannot."""
        if type(value) is np.ndarray and value.shape == lead + self.shape:
            if value.dtype == self.space.dtype and self.limits is None:
                return value
        elif not self.shape and not lead and isinstance(value, (int, np.integer)):
            low, high = self.limits or (
                int(np.iinfo(self.dtype).min),
                int(np.iinfo(self.dtype).max),
            )
            if low <= value <= high:
                return value
        return self._converted(value, lead)

    def _converted(self, value: Any, lead: tuple[int, ...]) -> Array:
        where = self.spelled
        array = np.asarray(value)
        if array.shape != lead + self.shape:
            raise ValueError(
                f"{where} has shape {array.shape}, {self.space} needs {lead + self.shape}"
            )
        whole = self.dtype.kind in "iu"
        if array.dtype.kind not in ("biu" if whole else "biuf"):
            raise ValueError(f"{where} is {array.dtype}, {self.space} needs {self.space.dtype}")
        if whole and array.size:
            kind = np.iinfo(self.dtype)
            low, high = self.limits or (int(kind.min), int(kind.max))
            least, most = int(array.min()), int(array.max())
            if least < low or most > high:
                raise ValueError(
                    f"{where} is {least if least < low else most}, outside [{low}, {high}]: "
                    f"{self.space} is stored as {self.dtype}"
                )
        return array


class Packing:
    """The layout of a space's observations in a slot. Make one with `Packing.of(space)`.

    A slot of a single Box has the Box's shape and dtype. A slot of several leaves of one dtype is
    one row of that dtype; of mixed dtypes it is bytes, with each part aligned to its item size.
    float16 and float64 are rounded to float32, bool becomes uint8, other integers int32. An integer
    that does not fit raises when it is packed.
    """

    space: Space[Any]
    parts: tuple[ObservationPart, ...]
    shape: tuple[int, ...]  # of a slot
    dtype: np.dtype[Any]  # of a slot

    def __init__(self, space: Space[Any]) -> None:
        self.space = space
        parts: list[ObservationPart] = []
        end = 0
        for path, leaf in leaves(space, "observation", ADVICE):
            dtype, limits = _stored(path, leaf)
            shape = tuple(leaf.shape or ())
            offset = -(-end // dtype.itemsize) * dtype.itemsize
            parts.append(ObservationPart(spell(path), path, leaf, shape, dtype, offset, limits))
            end = offset + parts[-1].num_bytes
        if not end:
            raise TypeError(
                f"observation space {space} has no entries, so there is nothing to observe"
            )
        _distinct([part.name for part in parts], space)
        self.parts = tuple(parts)
        dtypes = {part.dtype for part in parts}
        self.dtype = dtypes.pop() if len(dtypes) == 1 else np.dtype(np.uint8)
        widest = max(part.dtype.itemsize for part in parts)
        self.shape = (-(-end // widest) * widest // self.dtype.itemsize,)
        if self.is_plain and 1 <= len(parts[0].shape) <= MAX_DIMS:
            self.shape = parts[0].shape

    @classmethod
    def of(cls, space: Space[Any]) -> Packing:
        """Return the packing of a space.

        Raise TypeError, naming the leaf and its path, for a leaf that is not a Box, Discrete,
        MultiDiscrete or MultiBinary, or whose choices do not fit int32; ValueError for two leaves
        of one name.
        """
        return cls(space)

    @property
    def is_plain(self) -> bool:
        """Return whether the observation is one array and not nested."""
        return not self.parts[0].path and len(self.parts) == 1

    def pack(self, obs: Any, out: Array) -> None:
        """Write one observation of the space into a slot `out`.

        Raise ValueError, naming the part, for a wrong shape, a float if the space has integers,
        or an integer that does not fit.
        """
        self.write(self.views(out), ..., obs)

    def pack_batch(self, obs: Any, out: Array) -> None:
        """Write N observations, batched as Gymnasium's vector envs do, into slots (N, *shape)."""
        lead = (len(out),)
        for part, view in zip(self.parts, self.views(out), strict=True):
            view[...] = part.checked(_at(obs, part.path), lead)

    def write(self, views: list[Array], index: Any, obs: Any) -> None:
        """Write one observation at `index` of `views(pool)`, which are made once for a pool."""
        for part, view in zip(self.parts, views, strict=True):
            value = obs
            for key in part.path:
                value = value[key]
            view[index] = part.checked(value, ())

    def views(self, slots: Any, dtype: Callable[[np.dtype[Any]], Any] = np.dtype) -> list[Any]:
        """Return each part of slots (..., *shape) as a view (..., *part.shape).

        `slots` may also be a torch tensor; `dtype` then maps a numpy dtype to its dtype.
        """
        lead = tuple(slots.shape[: slots.ndim - len(self.shape)])
        if self.is_plain:
            return [slots.reshape(lead + self.parts[0].shape)]
        size, found = self.dtype.itemsize, []
        for part in self.parts:
            view = slots[..., part.offset // size : (part.offset + part.num_bytes) // size]
            if part.dtype != self.dtype:
                view = view.view(dtype(part.dtype))
            found.append(view.reshape(lead + part.shape))
        return found

    def unpack(self, slots: Array) -> Any:
        """Return slots (..., *shape) as the space's dicts and tuples, with views as leaves."""
        return self.nest(self.views(slots))

    def nest(self, values: list[Any]) -> Any:
        """Return one value per part, nested in dicts and tuples as in the space."""
        return _nest(self.space, iter(values))


class Head(NamedTuple):
    """One discrete head: choice 0 <= c < n means the integer `c + start` of the space."""

    name: str
    n: int
    start: int


class Axis(NamedTuple):
    """One continuous axis, its bounds rounded inwards to float32; infinite: no bound."""

    name: str
    low: float
    high: float


class ActionPacking:
    """Actions of a space as heads and axes. Make one with `ActionPacking.of(space)`.

    Discrete, MultiDiscrete, MultiBinary and Boxes of integers become heads, Boxes of floats axes.
    """

    space: Space[Any]
    heads: tuple[Head, ...]
    axes: tuple[Axis, ...]

    def __init__(self, space: Space[Any]) -> None:
        self.space = space
        heads: list[Head] = []
        axes: list[Axis] = []
        self._leaves: list[tuple[Path, Space[Any], slice]] = []
        for path, leaf in leaves(space, "action", ACTION_ADVICE):
            names = _names(path, leaf)
            if _continuous(leaf):
                begin = len(axes)
                axes += map(Axis, names, *_bounds(leaf))
                self._leaves.append((path, leaf, slice(begin, len(axes))))
            else:
                begin = len(heads)
                heads += map(Head, names, *_choices(path, leaf))
                self._leaves.append((path, leaf, slice(begin, len(heads))))
        self.heads, self.axes = tuple(heads), tuple(axes)
        if not heads and not axes:
            raise TypeError(f"action space {space} has no entries: nothing to do")
        _distinct([head.name for head in heads] + [axis.name for axis in axes], space)
        self._start = np.array([head.start for head in heads], np.int64)

    @classmethod
    def of(cls, space: Space[Any]) -> ActionPacking:
        """Return the packing of a space.

        Raise TypeError, naming the path, for a leaf that is not a Box, Discrete, MultiDiscrete or
        MultiBinary, and for integers without bounds or with more than MAX_CHOICES choices.
        """
        return cls(space)

    def unpack(self, heads: Array, axes: Array) -> Any:
        """Return one action of the space for choices (K,) and axes (X,).

        For (N, K) and (N, X), return N actions, batched as Gymnasium's vector envs take them.
        """
        lead = (heads if self.heads else axes).shape[:-1]
        return _nest(self.space, (self._value(leaf, lead, heads, axes) for leaf in self._leaves))

    def _value(
        self, leaf: tuple[Path, Space[Any], slice], lead: tuple[int, ...], heads: Array, axes: Array
    ) -> Any:
        _, space, where = leaf
        dtype: Any = space.dtype
        if isinstance(space, Discrete):
            start: int = space.start
            if not lead:
                return dtype.type(heads.item(where.start) + start)
            return heads[..., where.start].astype(dtype) + start
        if _continuous(space):
            return axes[..., where].astype(dtype).reshape(lead + _shape(space))
        chosen = heads[..., where] + self._start[where]
        return chosen.astype(dtype).reshape(lead + _shape(space))

    def pack(self, action: Any) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the choices (K,) and axes (X,) of one action of the space.

        Raise ValueError for an action that is not in the space.
        """
        if not self.space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.space}")
        heads, axes = np.zeros(len(self.heads), np.int32), np.zeros(len(self.axes), np.float32)
        for path, space, where in self._leaves:
            value = np.asarray(_at(action, path)).reshape(-1)
            if _continuous(space):
                axes[where] = value
            else:
                heads[where] = value.astype(np.int64) - self._start[where]
        return heads, axes


def leaves(space: Space[Any], what: str, advice: str) -> Iterator[tuple[Path, Space[Any]]]:
    """Yield every leaf of nested Dicts and Tuples with its path, in the space's order.

    Raise TypeError for a leaf of a kind that cannot be packed.
    """

    def walk(path: Path, space: Space[Any]) -> Iterator[tuple[Path, Space[Any]]]:
        if isinstance(space, Dict):
            for key, inner in space.spaces.items():
                yield from walk((*path, key), inner)
        elif isinstance(space, Tuple):
            for i, inner in enumerate(space.spaces):
                yield from walk((*path, i), inner)
        elif isinstance(space, (Box, Discrete, MultiDiscrete, MultiBinary)):
            yield path, space
        else:
            where = f" at {spell(path)!r}" if path else ""
            raise TypeError(
                f"{what} space{where} is {space}: a {type(space).__name__} has no fixed number of "
                "entries, or none that a network reads. Legal are Box, Discrete, MultiDiscrete, "
                f"MultiBinary, and Dict and Tuple of these: {advice}"
            )

    yield from walk((), space)


def spell(path: Path) -> str:
    """Return a path as a name, such as `inner/0`."""
    return "/".join(map(str, path))


def _nest(space: Space[Any], values: Iterator[Any]) -> Any:
    if isinstance(space, Dict):
        return {key: _nest(inner, values) for key, inner in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_nest(inner, values) for inner in space.spaces)
    return next(values)


def _at(nest: Any, path: Path) -> Any:
    for key in path:
        nest = nest[key]
    return nest


def _distinct(names: list[str], space: Space[Any]) -> None:
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{space} has two leaves that are named {twice!r}: rename a key")


def _shape(space: Space[Any]) -> tuple[int, ...]:
    return tuple(space.shape or ())


def _stored(path: Path, leaf: Space[Any]) -> tuple[np.dtype[Any], tuple[int, int] | None]:
    """Return the dtype that a leaf is stored as, and its legal integers if those are fewer."""
    if isinstance(leaf, MultiBinary):
        return np.dtype(np.int8), None
    if isinstance(leaf, (Discrete, MultiDiscrete)):
        start: Any = leaf.start
        most = start + (leaf.n if isinstance(leaf, Discrete) else leaf.nvec) - 1
        if np.size(start) and (np.min(start) < INT32.min or np.max(most) > INT32.max):
            where = f" at {spell(path)!r}" if path else ""
            raise TypeError(f"observation space{where} is {leaf}: it does not fit int32; {ADVICE}")
        return np.dtype(np.int32), (int(start), int(most)) if isinstance(leaf, Discrete) else None
    assert isinstance(leaf, Box)
    kind = np.dtype(leaf.dtype)
    if kind.kind == "f":
        return np.dtype(np.float32), None
    if kind in (np.bool_, np.uint8, np.int8):
        return np.dtype(np.int8 if kind == np.int8 else np.uint8), None
    fits = not leaf.low.size or (leaf.low.min() >= INT32.min and leaf.high.max() <= INT32.max)
    return np.dtype(np.int32), None if fits else (int(INT32.min), int(INT32.max))


def _names(path: Path, leaf: Space[Any]) -> list[str]:
    """Return a name for each entry of an action's leaf; a scalar has the leaf's name."""
    name, shape = spell(path) or "action", _shape(leaf)
    if not shape:
        return [name]
    return [f"{name}/{'/'.join(map(str, index))}" for index in np.ndindex(shape)]


def _continuous(leaf: Space[Any]) -> bool:
    return isinstance(leaf, Box) and np.dtype(leaf.dtype).kind == "f"


def _bounds(leaf: Any) -> tuple[list[float], list[float]]:
    """Return float32 bounds for each entry of a Box, rounded so that they lie within the Box."""
    with np.errstate(over="ignore"):
        low, high = leaf.low.astype(np.float32), leaf.high.astype(np.float32)
    low = np.where(low < leaf.low, np.nextafter(low, np.float32(np.inf)), low)
    high = np.where(high > leaf.high, np.nextafter(high, np.float32(-np.inf)), high)
    low = np.where(low <= -FLOAT32_MAX, -np.inf, np.minimum(low, high))
    high = np.where(high >= FLOAT32_MAX, np.inf, high)
    return low.reshape(-1).tolist(), high.reshape(-1).tolist()


def _choices(path: Path, leaf: Any) -> tuple[list[int], list[int]]:
    """Return the numbers of choices and the lowest values of the entries of a discrete leaf."""
    size = math.prod(_shape(leaf))
    if isinstance(leaf, MultiBinary):
        return [2] * size, [0] * size
    if isinstance(leaf, Discrete):
        return [int(leaf.n)], [int(leaf.start)]
    if isinstance(leaf, MultiDiscrete):
        return leaf.nvec.reshape(-1).tolist(), leaf.start.reshape(-1).tolist()
    low, high = leaf.low.reshape(-1).tolist(), leaf.high.reshape(-1).tolist()
    counts = [int(b) - int(a) + 1 for a, b in zip(low, high, strict=True)]
    if max(counts, default=1) > MAX_CHOICES:
        where = f" at {spell(path)!r}" if path else ""
        raise TypeError(
            f"action space{where} is {leaf}: {max(counts)} integers are more than {MAX_CHOICES} "
            f"choices of one head; {ACTION_ADVICE}"
        )
    return counts, [int(a) for a in low]
