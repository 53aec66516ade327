"""The numbers that envs tell in the infos of last steps, on their way into the log.

A runner writes what the lives and episodes that end in a step tell as JSON into the mailbox, which
workers share; the engine's side takes it out when the step is received. Nested dicts are joined by
`/`: RecordEpisodeStatistics tells `episode/r`.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES = 2048  # of JSON, for each agent of an env
Arrays = dict[str, npt.NDArray[Any]]


def numbers(info: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of an info by name, true as 1; arrays and all else are left out."""
    for key, value in info.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}{key}/")
        elif isinstance(value, (int, float, np.generic, np.ndarray)):
            array = np.asarray(value)
            if not array.ndim and array.dtype.kind in "biuf" and np.isfinite(array):
                yield f"{path}{key}", float(array)


def numbers_of(infos: Mapping[Any, Any], k: int, count: int) -> dict[str, Any]:
    """Return the info of env k out of those of a vector env of `count`: what its masks leave in.

    What is no array of one entry per env is of no env.
    """
    mine: dict[str, Any] = {}
    for key, value in infos.items():
        mask: Any = infos.get(f"_{key}")
        if str(key).startswith("_") or (np.shape(mask) == (count,) and not mask[k]):
            continue
        if isinstance(value, Mapping):
            mine[key] = numbers_of(value, k, count)
        elif isinstance(value, np.ndarray) and value.shape[:1] == (count,):
            mine[key] = value[k]
    return mine


def tell(arrays: Arrays, env: int, infos: Iterable[Mapping[Any, Any]]) -> None:
    """Leave the numbers of one env's infos in the mailbox: `told` (E,), `infos` (E, bytes)."""
    values: dict[str, list[float]] = {}
    for info in infos:
        for name, value in numbers(info):
            values.setdefault(name, []).append(value)
    if not values:
        return
    room = arrays["infos"].shape[1]
    while len(text := json.dumps(values).encode()) > room:
        name, _ = values.popitem()
        warnings.warn(
            f"info[{name!r}] is not logged: all of them take over {room} bytes", stacklevel=2
        )
    arrays["infos"][env, : len(text)] = np.frombuffer(text, np.uint8)
    arrays["told"][env] = len(text)


class Tally:
    """Mean, spread, least and most of each name, over all that was told since it was last asked."""

    def __init__(self) -> None:
        self._stats: dict[str, list[float]] = {}  # count, mean, sum of squared deviations, min, max

    def take(self, arrays: Arrays, begin: int, end: int, counted: npt.NDArray[np.bool_]) -> None:
        """Take what envs [begin, end) told out of the mailbox, and keep what is `counted` (E,)."""
        told = arrays["told"][begin:end]
        for k in np.flatnonzero((told > 0) & counted[begin:end]):
            text = arrays["infos"][begin + k, : told[k]].tobytes()
            for name, values in json.loads(text).items():
                for value in values:
                    self._add(name, value)
        told[:] = 0

    def _add(self, name: str, value: float) -> None:
        """Welford's update."""
        stat = self._stats.setdefault(name, [0.0, 0.0, 0.0, math.inf, -math.inf])
        stat[0] += 1
        delta = value - stat[1]
        stat[1] += delta / stat[0]
        stat[2] += delta * (value - stat[1])
        stat[3], stat[4] = min(stat[3], value), max(stat[4], value)

    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return (mean, std, min, max) by name, and begin anew."""
        stats, self._stats = self._stats, {}
        return {
            n: (m, math.sqrt(d / c), least, most) for n, (c, m, d, least, most) in stats.items()
        }
