"""The mean score over the last episodes of training, and when it first reached a bar."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any, NamedTuple


class RecentScore:
    """Mean score of the last updates that hold at least `episodes` episodes between them."""

    def __init__(self, episodes: int) -> None:
        self.episodes = episodes
        self._updates: collections.deque[tuple[float, float]] = collections.deque()
        self._ended = 0.0  # episodes of these updates

    def add(self, count: float, mean: float) -> float | None:
        """Add the episodes that ended in an update; return the mean, None while they are too few.

        `mean` is their mean score; it is ignored if `count` is 0.
        """
        if count:
            self._updates.append((count, mean))
            self._ended += count
        while self._updates and self._ended - self._updates[0][0] >= self.episodes:
            self._ended -= self._updates.popleft()[0]
        if self._ended < self.episodes:
            return None
        return sum(count * mean for count, mean in self._updates) / self._ended


class Reached(NamedTuple):
    """Where the bar was first reached: agent steps, and seconds of the clock of the lines."""

    steps: int
    seconds: float


def first_reached(lines: Iterable[dict[str, Any]], bar: float, episodes: int) -> Reached | None:
    """Return the first line of a run's metrics at which the recent score is at least `bar`.

    None if there is no such line. A line holds the episodes that ended since the line before it.
    """
    recent = RecentScore(episodes)
    for line in lines:
        score = line.get("env/score")
        mean = recent.add(line.get("env/episodes", 0) if score is not None else 0, score or 0.0)
        if mean is not None and mean >= bar:
            return Reached(line["agent_steps"], line["uptime"])
    return None
