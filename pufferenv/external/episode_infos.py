"""Carry the numbers in the infos of final steps from the envs into the log.

When lives or episodes end, a runner writes the numbers of their infos as JSON into the mailbox,
which may be shared with a worker process; the engine reads them when it receives the step. The
keys of nested dicts are joined by `/`: RecordEpisodeStatistics gives `episode/r`.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BYTES_PER_AGENT = 2048  # of JSON
Arrays = dict[str, npt.NDArray[Any]]


def numbers(info: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of an info by name, True as 1; skip arrays and everything else."""
    for key, value in info.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}{key}/")
        elif isinstance(value, (int, float, np.generic, np.ndarray)):
            array = np.asarray(value)
            if not array.ndim and array.dtype.kind in "biuf" and np.isfinite(array):
                yield f"{path}{key}", float(array)


def info_of_env(infos: Mapping[Any, Any], k: int, num_envs: int) -> dict[str, Any]:
    """Return the info of env k from the infos of a vector env, without entries that masks exclude.

    Only arrays with one entry per env are used.
    """
    own: dict[str, Any] = {}
    for key, value in infos.items():
        mask: Any = infos.get(f"_{key}")
        if str(key).startswith("_") or (np.shape(mask) == (num_envs,) and not mask[k]):
            continue
        if isinstance(value, Mapping):
            own[key] = info_of_env(value, k, num_envs)
        elif isinstance(value, np.ndarray) and value.shape[:1] == (num_envs,):
            own[key] = value[k]
    return own


def write_infos(arrays: Arrays, env: int, infos: Iterable[Mapping[Any, Any]]) -> None:
    """Write the numbers of one env's infos to the mailbox: `info` (E, bytes), `info_size` (E,)."""
    values: dict[str, list[float]] = {}
    for info in infos:
        for name, value in numbers(info):
            values.setdefault(name, []).append(value)
    if not values:
        return
    capacity = arrays["info"].shape[1]
    while len(text := json.dumps(values).encode()) > capacity:
        name, _ = values.popitem()
        warnings.warn(
            f"info[{name!r}] is not logged: the numbers of this info take over {capacity} bytes "
            "of JSON; return fewer, or shorter keys",
            stacklevel=2,
        )
    arrays["info"][env, : len(text)] = np.frombuffer(text, np.uint8)
    arrays["info_size"][env] = len(text)


class InfoStatistics:
    """Mean, standard deviation, minimum and maximum of each number since the last `log`."""

    def __init__(self) -> None:
        self._stats: dict[str, list[float]] = {}  # count, mean, sum of squared deviations, min, max

    def take(self, arrays: Arrays, begin: int, end: int, counted: npt.NDArray[np.bool_]) -> None:
        """Empty the mailbox of envs [begin, end); add the numbers of the envs of `counted` (E,)."""
        sizes = arrays["info_size"][begin:end]
        for k in np.flatnonzero((sizes > 0) & counted[begin:end]):
            text = arrays["info"][begin + k, : sizes[k]].tobytes()
            for name, values in json.loads(text).items():
                for value in values:
                    self._add(name, value)
        sizes[:] = 0

    def _add(self, name: str, value: float) -> None:
        """Add one value (Welford's update)."""
        stat = self._stats.setdefault(name, [0.0, 0.0, 0.0, math.inf, -math.inf])
        stat[0] += 1
        delta = value - stat[1]
        stat[1] += delta / stat[0]
        stat[2] += delta * (value - stat[1])
        stat[3], stat[4] = min(stat[3], value), max(stat[4], value)

    def log(self) -> dict[str, tuple[float, float, float, float]]:
        """Return (mean, std, min, max) by name, and start over."""
        stats, self._stats = self._stats, {}
        return {
            name: (mean, math.sqrt(squares / count), low, high)
            for name, (count, mean, squares, low, high) in stats.items()
        }
