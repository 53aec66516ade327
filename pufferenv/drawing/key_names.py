"""The keys that games are played with: their names, and SDL's number of each.

Names are lower-case, as written in a game's PUF_KEYS, and are the same with and without Shift.
Windows report SDL's numbers (https://wiki.libsdl.org/SDL2/SDL_Keycode), which pygame and
`gymnasium.utils.play` use too.
"""

from __future__ import annotations

import difflib

_SCANCODE = 1 << 30  # set in the numbers of keys that make no character

CODES: dict[str, int] = {
    **{
        chr(code): code for code in (*range(ord("a"), ord("z") + 1), *range(ord("0"), ord("9") + 1))
    },
    "right": _SCANCODE | 79,
    "left": _SCANCODE | 80,
    "down": _SCANCODE | 81,
    "up": _SCANCODE | 82,
    "space": 32,
    "enter": 13,
    "backspace": 8,
    "comma": ord(","),
    "period": ord("."),
    "slash": ord("/"),
    "semicolon": ord(";"),
    "quote": ord("'"),
    "insert": _SCANCODE | 73,
    "home": _SCANCODE | 74,
    "pageup": _SCANCODE | 75,
    "delete": 127,
    "end": _SCANCODE | 77,
    "pagedown": _SCANCODE | 78,
}
VIEWER_CODES: dict[str, tuple[int, ...]] = {  # keys of the viewer; no game has them
    "shift": (_SCANCODE | 225, _SCANCODE | 229),
    "tab": (9,),
    "escape": (27,),
    "minus": (ord("-"), _SCANCODE | 86),
    "plus": (ord("+"), ord("="), _SCANCODE | 87),
    **{f"f{n}": (_SCANCODE | 57 + n,) for n in range(1, 13)},
}
RESERVED = {
    "shift": "it is held to take over from a policy",
    "tab": "it takes over from a policy, and gives back",
    "escape": "it ends the game",
    "minus": "it makes the game slower",
    "plus": "it makes the game faster",
    **{f"f{n}": "function keys belong to the viewer" for n in range(1, 13)},
}
_NAMES = {code: name for name, code in CODES.items()} | {
    code: name for name, codes in VIEWER_CODES.items() for code in codes
}
# Numbers of SDL 1, which old envs still have in their get_keys_to_action().
_OLD_NAMES = {273: "up", 274: "down", 275: "right", 276: "left"}


def name_of(code: int) -> str | None:
    """Return the name of SDL's key `code`; None for a key that nothing is bound to.

    Capital letters, which SDL does not report but old tables have, are their keys.
    """
    if ord("A") <= code <= ord("Z"):
        code += ord("a") - ord("A")
    return _NAMES.get(code) or _OLD_NAMES.get(code)


def nearest(name: str, known: list[str]) -> str:
    """Return the most similar of `known`, for an error message."""
    return max(known, key=lambda other: difflib.SequenceMatcher(None, name.lower(), other).ratio())
