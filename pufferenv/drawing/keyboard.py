"""Keyboard: which keys are down, and which were pressed since the last action.

A window reports presses and releases as they happen, and a game acts at its own pace. A press
between two actions counts even if the key was released before the action. Presses of keys that act
once (`tap`) are kept for the following actions, one of each head or axis for each action.
"""

from __future__ import annotations

from pufferenv.drawing.keys import Choices, KeyMap, Mouse, Values

MOST_TAPS = 8  # presses that wait; the rest are dropped


class Keyboard:
    """The keys of one person who plays a game with the keys of `keys`."""

    held: list[str]  # keys that are down, the one pressed last at the end

    def __init__(self, keys: KeyMap) -> None:
        self.keys = keys
        self.clear()

    def clear(self) -> None:
        """Release all keys and forget all presses, as when a window loses the focus."""
        self.held = []
        self._pressed: list[str] = []

    def press(self, key: str) -> None:
        """Note that a key went down; the repetition of a key that is down has no effect."""
        if key not in self.held:
            self.held.append(key)
            if len(self._pressed) < MOST_TAPS:
                self._pressed.append(key)

    def release(self, key: str) -> None:
        """Note that a key went up."""
        if key in self.held:
            self.held.remove(key)

    def action(self, mouse: Mouse | None = None) -> tuple[Choices, Values]:
        """Return choices (K,) and values (X,) of the next action; uses up the presses it is of."""
        now: list[str] = []
        later: list[str] = []
        used: frozenset[int] = frozenset()
        for key in self._pressed:
            taps = self.keys.taps(key)
            if taps & used:
                later.append(key)
            else:
                now.append(key)
                used |= taps
        self._pressed = later
        # A tap key that waits for a later action must not count in this one.
        held = [key for key in self.held if key not in later or key in now]
        return self.keys.action(held, now, mouse)
