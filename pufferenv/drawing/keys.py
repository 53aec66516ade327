"""KeyMap: the keys of a game, from the rows of its PUF_KEYS, and the action that they mean.

pufferenv/draw.h documents the rows. A row binds a choice of a head, or a value of an axis, to one
or more chords: sets of keys that are down together, most of one key.
Letters in shapes: K discrete heads, X continuous axes.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import KeyBinding
from pufferenv.drawing.key_names import CODES, RESERVED, name_of, nearest
from pufferenv.engine._engine import Axis, Game, Head

MICE = {"mouse-x": 0, "mouse-y": 1}
MOST_COMBINATIONS = 5000  # that keys_to_action lists
Choices = npt.NDArray[np.int32]
Values = npt.NDArray[np.float32]
Mouse = tuple[float, float]  # across and down the picture, each 0 to 1


class KeyBindingError(ValueError):
    """A row of PUF_KEYS is wrong; the message names the game, the row and what is legal."""


class Binding(NamedTuple):
    """One row of PUF_KEYS after its checks."""

    target: int  # index of the head or axis
    value: float  # choice of the head, or value of the axis
    chords: tuple[frozenset[str], ...]
    tap: bool  # one press is one action
    mouse: int  # 0: mouse-x, 1: mouse-y, -1: no mouse
    keys: str
    label: str

    def size(self, held: Collection[str], fresh: Collection[str]) -> int:
        """Return the number of keys of the row's largest chord that is down; 0: none is.

        fresh: the keys that were pressed since the last action.
        """
        down = [
            c for c in self.chords if c.issubset(held) and not (self.tap and c.isdisjoint(fresh))
        ]
        return max(map(len, down), default=0)


class KeyMap:
    """What a person's keys mean in one game.

    bindings: rows of PUF_KEYS. heads, axes: the game's, under its config. game: a name, for errors.
    widest: a loaded game whose other configs may have more choices or wider axes: rows that are
        legal under one of those, but not under these heads, are left out here.

    Raises KeyBindingError for a row that is wrong.
    """

    name: str
    heads: tuple[Head, ...]
    axes: tuple[Axis, ...]

    def __init__(
        self,
        bindings: Iterable[KeyBinding],
        heads: Sequence[Head],
        axes: Sequence[Axis],
        *,
        game: str = "",
        widest: Game | None = None,
    ) -> None:
        self.name, self.heads, self.axes = game, tuple(heads), tuple(axes)
        self._heads: list[Binding] = []
        self._axes: list[Binding] = []
        limits = _Limits(self.heads, self.axes, widest)
        for number, row in enumerate(bindings, 1):
            try:
                binding, is_head = _parsed(row, limits)
                _refuse_clashes(binding, self._heads if is_head else self._axes)
            except KeyBindingError as error:
                shown = f'X({row.action}, {row.choice:g}, "{row.keys}", "{row.label}")'
                raise KeyBindingError(
                    f"{game}: row {number} of PUF_KEYS, {shown}: {error}"
                ) from None
            (self._heads if is_head else self._axes).append(binding)
        # Rows of choices that this config does not have.
        self._heads = [row for row in self._heads if row.value < self.heads[row.target].n]

    def __bool__(self) -> bool:
        """Return whether the game has any keys."""
        return bool(self._heads or self._axes)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all keys that mean something, in the order of their rows."""
        rows = [*self._heads, *self._axes]
        return tuple(dict.fromkeys(key for row in rows for c in row.chords for key in sorted(c)))

    @property
    def uses_mouse(self) -> bool:
        """Whether an axis follows the mouse."""
        return any(row.mouse >= 0 for row in self._axes)

    def taps(self, key: str) -> frozenset[int]:
        """Return what a press of `key` acts on once: heads K, and K + x for axis x."""
        rows = [(row.target, row) for row in self._heads]
        rows += [(len(self.heads) + row.target, row) for row in self._axes]
        return frozenset(i for i, row in rows if row.tap and any(key in c for c in row.chords))

    def action(
        self, held: Sequence[str], tapped: Sequence[str] = (), mouse: Mouse | None = None
    ) -> tuple[Choices, Values]:
        """Return choices (K,) and values (X,) for the keys that are down.

        held: names of keys, the one pressed last at the end. tapped: those pressed since the last
        action, released or not. mouse: its place in the picture, if it is there.

        For a head, the largest chord counts, and of equal ones that with the key pressed last; with
        no key it is 0. For an axis, the values of its largest chords are added, so that opposite
        keys cancel, and clipped; with no key it follows the mouse, or is 0 clipped to its range.
        """
        order = list(dict.fromkeys([*held, *tapped]))
        down, fresh = frozenset(order), frozenset(tapped)
        choices = np.zeros(len(self.heads), np.int32)
        for k in range(len(self.heads)):
            rows = _largest([row for row in self._heads if row.target == k], down, fresh)
            if rows:
                choices[k] = max(rows, key=lambda row: _latest(row, order)).value
        values = np.zeros(len(self.axes), np.float32)
        for x, axis in enumerate(self.axes):
            own = [row for row in self._axes if row.target == x]
            rows = _largest(own, down, fresh)
            aims = [row for row in own if row.mouse >= 0]
            if rows:
                values[x] = sum(row.value for row in rows)
            elif aims and mouse is not None:
                values[x] = _aimed(aims[0], axis, mouse)
            values[x] = np.clip(values[x], np.float32(axis.low), np.float32(axis.high))
        return choices, values

    def help(self, *, chords: bool = True) -> list[str]:
        """Return one line per row: its keys, then what they do.

        chords: False leaves out rows of chords whose keys have rows of their own.
        """
        rows = [*self._heads, *self._axes]
        alone = {key for row in rows for chord in row.chords if len(chord) == 1 for key in chord}
        if not chords:
            rows = [
                r
                for r in rows
                if not r.chords or any(len(c - alone) or len(c) == 1 for c in r.chords)
            ]
        keys = [", ".join(row.keys.split()[: -1 if row.tap else None]) for row in rows]
        width = max(map(len, keys), default=0)
        return [f"{k:<{width}}  {row.label}" for k, row in zip(keys, rows, strict=True)]

    def keys_to_action(self) -> dict[tuple[int, ...], Any]:
        """Return actions by the numbers of the keys held, as `gymnasium.utils.play` looks them up.

        Actions are those of the game's action space for one agent: an int for one head, int64 (K,)
        for several, float32 (X,) for axes, or a dict of both. Every set of up to four keys is
        listed, or of fewer where those are more than MOST_COMBINATIONS. The numbers of a set are
        sorted; the mouse is left out.
        """
        table: dict[tuple[int, ...], Any] = {}
        for held in _held_together(self.keys):
            codes = tuple(sorted(CODES[key] for key in held))
            table[codes] = self.as_action(*self.action(held))
        return table

    def as_action(self, choices: Choices, values: Values) -> Any:
        """Return an action of the space of one agent: choices (K,) and values (X,) put together."""
        discrete: Any = int(choices[0]) if len(choices) == 1 else choices.astype(np.int64)
        if not self.axes:
            return discrete
        return {"discrete": discrete, "continuous": values} if self.heads else values


class KeyTable(KeyMap):
    """The keys of an env written in Python, from its get_keys_to_action().

    actions: choices (K,) and values (X,) by the keys that must be held, each a number of SDL, one
        character or a name; the entry () holds with no key.
    Entries with a key that has no name here are left out.
    """

    def __init__(
        self,
        actions: Mapping[Any, tuple[Choices, Values]],
        heads: Sequence[Head],
        axes: Sequence[Axis],
        *,
        game: str = "",
    ) -> None:
        super().__init__((), heads, axes, game=game)
        self._actions: dict[frozenset[str], tuple[Choices, Values]] = {}
        for given, action in actions.items():
            keys = given if isinstance(given, tuple) else (given,)
            names = {_python_name(key) for key in keys}
            if None not in names and not names & RESERVED.keys():
                self._actions[frozenset(name for name in names if name)] = action

    def __bool__(self) -> bool:
        """Return whether the env has any keys."""
        return any(self._actions)

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of all keys that mean something."""
        return tuple(dict.fromkeys(key for chord in self._actions for key in sorted(chord)))

    def action(
        self, held: Sequence[str], tapped: Sequence[str] = (), mouse: Mouse | None = None
    ) -> tuple[Choices, Values]:
        """Return choices (K,) and values (X,) of the largest entry whose keys are all down."""
        order = list(dict.fromkeys([*held, *tapped]))
        down = [keys for keys in self._actions if keys.issubset(order)]
        if not down:
            return super().action((), (), None)
        best = max(down, key=lambda keys: (len(keys), [order.index(key) for key in sorted(keys)]))
        choices, values = self._actions[best]
        return choices.copy(), values.copy()

    def help(self, *, chords: bool = True) -> list[str]:
        """Return one line per entry: its keys, then the action."""
        lines = []
        for keys, (choices, values) in self._actions.items():
            numbers = ", ".join([*map(str, choices.tolist()), *(f"{v:g}" for v in values.tolist())])
            lines.append(f"{'+'.join(sorted(keys)) or 'no key'}  action {numbers}")
        return lines


def _python_name(key: Any) -> str | None:
    """Return the name of a key of a Python env's table; None for one without a name here."""
    if isinstance(key, str) and len(key) != 1:
        return key.lower() if key.lower() in CODES else None
    return name_of(ord(key) if isinstance(key, str) else int(key))


class _Limits:
    """Heads and axes by name, with the most choices and the widest ranges of any config."""

    def __init__(
        self, heads: Sequence[Head], axes: Sequence[Axis], widest: Game | None = None
    ) -> None:
        self.heads = {head.name: (i, head.n) for i, head in enumerate(heads)}
        self.axes = {axis.name: (i, axis.low, axis.high) for i, axis in enumerate(axes)}
        for end in ("min", "default", "max") if widest else ():
            assert widest
            config = {field.name: getattr(field, end) for field in widest.config_fields}
            shapes = widest.shapes(widest.pack(config))
            for head in shapes.heads:
                i, n = self.heads[head.name]
                self.heads[head.name] = (i, max(n, head.n))
            for axis in shapes.axes:
                i, low, high = self.axes[axis.name]
                self.axes[axis.name] = (i, min(low, axis.low), max(high, axis.high))


def _parsed(row: KeyBinding, limits: _Limits) -> tuple[Binding, bool]:
    """Return a row after its checks, and whether it is one of a head."""
    words = row.keys.split()
    tap = bool(words) and words[-1] == "tap"
    words = words[:-1] if tap else words
    if not words:
        raise KeyBindingError('it has no key; write for example "left a", or "left tap"')
    chords = tuple(_chord(word) for word in words if word not in MICE)
    mice = [MICE[word] for word in words if word in MICE]
    if row.action in limits.heads:
        index, n = limits.heads[row.action]
        if mice:
            raise KeyBindingError(
                f"{row.action} is a head with {n} choices, and the mouse moves axes only"
            )
        if not (0 <= row.choice < n and row.choice == int(row.choice)):
            raise KeyBindingError(
                f"choice {row.choice:g} of {row.action} must be a whole number in [0, {n - 1}]"
            )
    elif row.action in limits.axes:
        index, low, high = limits.axes[row.action]
        if not mice and not low <= row.choice <= high:
            raise KeyBindingError(
                f"value {row.choice:g} of {row.action} is outside its range [{low:g}, {high:g}]"
            )
        if mice:
            _check_mouse(row, words, tap, low, high)
    else:
        known = [*limits.heads, *limits.axes]
        raise KeyBindingError(
            f"{row.action!r} is no head and no axis; did you mean {nearest(row.action, known)!r}? "
            f"Heads: {', '.join(limits.heads) or 'none'}; axes: {', '.join(limits.axes) or 'none'}"
        )
    label = row.label or f"{row.action} {row.choice:g}"
    mouse = mice[0] if mice else -1
    binding = Binding(index, row.choice, chords, tap, mouse, row.keys, label)
    return binding, row.action in limits.heads


def _check_mouse(row: KeyBinding, words: list[str], tap: bool, low: float, high: float) -> None:
    """Raise KeyBindingError for a row with the mouse that means nothing."""
    if len(words) > 1 or tap:
        raise KeyBindingError(f"{words[0]!r} stands alone in its row; give keys rows of their own")
    if not (math.isfinite(high - low) and high - low < np.finfo(np.float32).max):
        raise KeyBindingError(
            f"the mouse needs an axis with a range, and {row.action} has [{low:g}, {high:g}]"
        )


def _chord(word: str) -> frozenset[str]:
    """Return the keys of one word of a row, such as `up+right`."""
    keys = word.split("+")
    for key in keys:
        if key in RESERVED:
            raise KeyBindingError(f"the key {key!r} is reserved: {RESERVED[key]}")
        if key in MICE:
            raise KeyBindingError(f"{word!r}: the mouse is in no chord")
        if key == "tap":
            raise KeyBindingError("'tap' stands at the end of a row, after its keys")
        if key not in CODES:
            raise KeyBindingError(
                f"there is no key {key!r}; did you mean {nearest(key, list(CODES))!r}? "
                "Keys: a to z, 0 to 9, " + ", ".join(name for name in CODES if len(name) > 1)
            )
    if len(set(keys)) < len(keys):
        raise KeyBindingError(f"{word!r} has a key twice")
    return frozenset(keys)


def _refuse_clashes(new: Binding, rows: list[Binding]) -> None:
    """Raise KeyBindingError if a chord is twice in a row, or in another row of its head or axis."""
    if len(set(new.chords)) < len(new.chords):
        raise KeyBindingError("it has the same keys twice")
    for row in rows:
        if row.target != new.target:
            continue
        if row.mouse >= 0 and new.mouse >= 0:
            raise KeyBindingError("the mouse moves this axis already")
        for chord in set(row.chords) & set(new.chords):
            spelled = "+".join(sorted(chord))
            if row.value == new.value:
                raise KeyBindingError(f"{spelled!r} is bound to {new.value:g} already")
            raise KeyBindingError(
                f"{spelled!r} is bound to {row.value:g} already ({row.label}); one key means one "
                "choice of a head, or one value of an axis"
            )


def _largest(rows: list[Binding], down: frozenset[str], fresh: frozenset[str]) -> list[Binding]:
    """Return the rows whose chords are down and have the most keys."""
    sizes = [row.size(down, fresh) for row in rows]
    most = max(sizes, default=0)
    return [row for row, size in zip(rows, sizes, strict=True) if size == most > 0]


def _latest(row: Binding, order: list[str]) -> int:
    """Return the place in `order` of the key of the row that was pressed last."""
    return max(order.index(key) for chord in row.chords if chord.issubset(order) for key in chord)


def _aimed(row: Binding, axis: Axis, mouse: Mouse) -> float:
    """Return the value of an axis for a place of the mouse; a row below 0 turns it round."""
    part = min(max(mouse[row.mouse], 0.0), 1.0)
    part = 1 - part if row.value < 0 else part
    return axis.low + (axis.high - axis.low) * part


def _held_together(keys: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the sets of up to four keys, small ones first, while they are not too many."""
    listed = 0
    for size in range(1, min(4, len(keys)) + 1):
        listed += math.comb(len(keys), size)
        if listed > MOST_COMBINATIONS and size > 1:
            return
        yield from combinations(keys, size)
