"""Interrupts: the first Ctrl-C stops a run after the current update, the second immediately."""

import contextlib
import os
import signal
from types import FrameType


class SignalHandler:
    """Context manager in which a first SIGINT or SIGTERM only sets `stop_requested`.

    A second signal raises KeyboardInterrupt. The former handlers are restored on exit.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.stop_requested = False

    def __enter__(self) -> "SignalHandler":
        self._former = [signal.signal(number, self._handle) for number in self.SIGNALS]
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in zip(self.SIGNALS, self._former, strict=True):
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested = True
        # The signal may have interrupted a print, and print is not reentrant.
        with contextlib.suppress(OSError):
            os.write(1, b"stopping after this update; press Ctrl-C again to stop now\n")
