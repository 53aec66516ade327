"""The metrics of all updates between two logs, combined into one set."""

from collections.abc import Mapping
from typing import Any


class MetricsAccumulator:
    """Collects the metrics of updates until `take` returns them combined.

    Seconds (`time/...`) and `env/episodes` are summed. Losses are averaged over updates, and what
    a game logs (`env/...`) over episodes. Any other metric keeps its last value; `sps` is computed
    from all steps and all seconds.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.filled = False  # whether `add` was called since the last `take`
        self._last: Mapping[str, float] = {}
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}  # total weight of each averaged metric
        self._seconds = self._steps = 0.0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add the metrics of one update."""
        self.filled = True
        self._last = metrics
        seconds = sum(value for key, value in metrics.items() if key.startswith("time/"))
        self._seconds += seconds
        self._steps += metrics["sps"] * seconds
        for key, value in metrics.items():
            group = key.partition("/")[0]
            if group not in ("time", "loss", "env"):
                continue
            weight = metrics["env/episodes"] if group == "env" else 1.0
            if key == "env/episodes" or group == "time":
                self._sums[key] = self._sums.get(key, 0.0) + value
            elif weight:
                self._sums[key] = self._sums.get(key, 0.0) + weight * value
                self._weights[key] = self._weights.get(key, 0.0) + weight

    def take(self) -> dict[str, Any]:
        """Return the combined metrics and start over."""
        means = {key: total / self._weights.get(key, 1.0) for key, total in self._sums.items()}
        # An update in which no episode ended has no meaningful env/... values.
        others = {key: v for key, v in self._last.items() if not key.startswith("env/")}
        taken: dict[str, Any] = {**others, **means}
        if self._seconds:
            taken["sps"] = self._steps / self._seconds
        self._clear()
        return taken
