"""Where the time goes: a clock always in exactly one section, so the parts are the whole."""

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
    """Seconds per section since the last `take`; starts in `other`.

    `synchronize`, where given, is called before the clock is read: on a GPU, a section lasts until
    the work that it started is done, not until it is queued.
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

    def book(self, seconds: Mapping[str, float]) -> None:
        """Say which sections so many seconds of the current one belonged to."""
        for section, passed in seconds.items():
            self._seconds[section] += passed
            self._seconds[self._section] -= passed

    def take(self) -> dict[str, float]:
        """Return the seconds of each section since the last call; the current one goes on."""
        self.enter(self._section)
        taken = dict(self._seconds)
        self._seconds = dict.fromkeys(taken, 0.0)
        return taken


def seconds_of(run: Callable[[], object], at_least: float) -> float:
    """Return the seconds of one call, after one to warm up, measured for `at_least` seconds."""
    run()
    calls, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < at_least:
        run()
        calls += 1
    return passed / calls
