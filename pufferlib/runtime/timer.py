"""A clock that is always in exactly one section, so that all sections add up to the whole."""

import time
from collections.abc import Callable, Mapping

SECTIONS = (
    "env",
    "copy",
    "forward",
    "sample",
    "advantage",
    "loss_backward",
    "optimizer",
    "log",
    "other",
)


class Timer:
    """Seconds per section since the last `take`; the first section is `other`.

    `synchronize`, if given, is called before the clock is read, so that on a GPU a section lasts
    until its work is done, not only until it is queued.
    """

    def __init__(
        self,
        sections: tuple[str, ...] = SECTIONS,
        *,
        clock: Callable[[], float] = time.perf_counter,
        synchronize: Callable[[], None] | None = None,
    ) -> None:
        self._seconds = dict.fromkeys(sections, 0.0)
        self._clock, self._synchronize = clock, synchronize
        self._section = "other"
        self._since = clock()

    def enter(self, section: str) -> None:
        """End the current section and begin another. Raise KeyError for an unknown one."""
        if self._synchronize is not None:
            self._synchronize()
        now = self._clock()
        self._seconds[self._section] += now - self._since
        self._since = now
        if section not in self._seconds:
            raise KeyError(section)
        self._section = section

    def reassign(self, seconds: Mapping[str, float]) -> None:
        """Move these seconds from the current section to the named sections."""
        for section, passed in seconds.items():
            self._seconds[section] += passed
            self._seconds[self._section] -= passed

    def take(self) -> dict[str, float]:
        """Return the seconds of each section since the last call and start again from 0.

        The current section continues.
        """
        self.enter(self._section)
        taken = dict(self._seconds)
        self._seconds = dict.fromkeys(taken, 0.0)
        return taken


def seconds_of(
    run: Callable[[], object], min_seconds: float, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return the mean seconds of one call over `min_seconds` of calls, after one to warm up.

    clock: what the seconds are of; time.process_time leaves out those of other processes.
    """
    run()
    calls, passed, begin = 0, 0.0, clock()
    while calls == 0 or passed < min_seconds:
        run()
        calls += 1
        passed = clock() - begin
    return passed / calls
