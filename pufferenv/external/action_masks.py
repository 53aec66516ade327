"""Action masks of external envs: where an env tells them, and how they come to the mailbox.

A mask has one entry per choice, head after head, of which 0 forbids: one array, or a tuple of one
per head. It is `action_mask` in a Dict observation (PettingZoo's convention) or in the infos
(Gymnasium's Taxi). Letters: N envs, C the choices of all heads.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Dict

from pufferenv.spaces import ActionPacking, Packing

KEY = "action_mask"


class Legal:
    """Which choices of an action are legal, by an env's own word. `seen`: in its observations."""

    def __init__(self, actions: ActionPacking, seen: bool) -> None:
        self.heads, self.seen = actions.heads, seen
        self.size = sum(head.n for head in actions.heads)
        ends = itertools.accumulate(head.n for head in actions.heads)
        self._begins = np.array([0, *ends][:-1])

    def write(self, out: npt.NDArray[np.uint8], obs: Any, info: Any) -> None:
        """Write the mask of one env or agent, out (C,), by what it tells now.

        Raise ValueError where there is none, for another size, and where no choice is legal.
        """
        self.write_batch(out[None], obs, info)

    def write_batch(self, out: npt.NDArray[np.uint8], obs: Any, info: Any) -> None:
        """Write the masks of N envs, out (N, C), told as Gymnasium's vector envs do.

        An info of but some of the envs, as of a reset of these, leaves the others as they were.
        """
        where, told = ("observation", obs) if self.seen else ("info", info)
        if KEY not in told:
            raise ValueError(f"its {where} has no {KEY!r}, which the first one had")
        given = told[KEY]
        parts = given if isinstance(given, tuple) else (given,)
        arrays = [_rows(part, len(out)) for part in parts]
        size = sum(array.shape[1] for array in arrays)
        if size != self.size:
            raise ValueError(
                f"{KEY!r} of its {where} has {size} entries, not {self.size}, one per choice"
            )
        who = True if self.seen else told.get(f"_{KEY}", np.True_)
        np.not_equal(
            np.concatenate(arrays, axis=1),
            0,
            out=out.view(np.bool_),
            where=np.reshape(who, (-1, 1)),
        )
        some = np.logical_or.reduceat(out, self._begins, axis=1)
        if not some.all():
            row, head = (int(k) for k in np.argwhere(~some)[0])
            which = f", row {row}" if len(out) > 1 else ""
            raise ValueError(
                f"{KEY!r} of its {where}{which} forbids every choice of {self.heads[head].name!r}"
            )


def _rows(part: Any, count: int) -> npt.NDArray[Any]:
    """Return a mask, or one head's, as (count, entries)."""
    array = np.asarray(part)
    if array.dtype == object:  # of Gymnasium's batched infos, where envs have tuples
        array = np.array([np.concatenate(row) if isinstance(row, tuple) else row for row in array])
    return array.reshape(count, -1)


def find(env: Any, kind: str, observations: Packing, actions: ActionPacking) -> Legal | None:
    """Look where an env tells masks; None: nowhere, or it has nothing to choose from.

    Infos are looked at in a first reset. Raise ValueError for an observation's of another size.
    """
    if not actions.heads:
        return None
    if isinstance(observations.space, Dict) and KEY in observations.space.spaces:
        legal = Legal(actions, seen=True)
        size = sum(int(np.prod(part.shape)) for part in observations.parts if part.path[0] == KEY)
        if size != legal.size:
            raise ValueError(
                f"observation {KEY!r} has {size} entries, its action space {actions.space} has "
                f"{legal.size} choices: it must have one per choice, or another name"
            )
        return legal
    try:
        _, info = env.reset()
    except Exception:  # comes again in the first reset that counts, and is told there
        return None
    if kind == "parallel":
        info = next(iter(info.values()), {})
    return Legal(actions, seen=False) if KEY in info else None
