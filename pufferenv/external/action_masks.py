"""Action masks of external envs: find where an env provides them, and read them.

A mask has one entry per choice, head after head; 0 forbids the choice. It is one array, or a tuple
of one array per head, with the key "action_mask" in a Dict observation (PettingZoo's convention) or
in the infos (as in Gymnasium's Taxi). Letters: N envs, C choices of all heads.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Dict

from pufferenv.spaces import ActionPacking, Packing

KEY = "action_mask"


class MaskReader:
    """Reads an env's masks, from its observations or (`in_observation` False) from its infos."""

    def __init__(self, actions: ActionPacking, in_observation: bool) -> None:
        self.heads, self.in_observation = actions.heads, in_observation
        self.num_choices = sum(head.n for head in actions.heads)
        ends = itertools.accumulate(head.n for head in actions.heads)
        self._begins = np.array([0, *ends][:-1])

    def read(self, obs: Any, info: Any, out: npt.NDArray[np.uint8]) -> None:
        """Write the mask of one env or agent to `out` (C,).

        Raise ValueError if there is no mask, if it has another size, or if it forbids every choice
        of a head.
        """
        self.read_batch(obs, info, out[None])

    def read_batch(self, obs: Any, infos: Any, out: npt.NDArray[np.uint8]) -> None:
        """Write the masks of N envs, batched as Gymnasium's vector envs do, to `out` (N, C).

        If the infos are of some envs only, as after a partial reset, the other envs' rows of `out`
        keep their values.
        """
        where, source = ("observation", obs) if self.in_observation else ("info", infos)
        if KEY not in source:
            raise ValueError(f"its {where} has no {KEY!r}, which its first {where} had")
        given = source[KEY]
        parts = given if isinstance(given, tuple) else (given,)
        arrays = [_as_rows(part, len(out)) for part in parts]
        size = sum(array.shape[1] for array in arrays)
        if size != self.num_choices:
            raise ValueError(
                f"{KEY!r} of its {where} has {size} entries; it must have {self.num_choices}, one "
                "per choice"
            )
        present = True if self.in_observation else source.get(f"_{KEY}", np.True_)
        np.not_equal(
            np.concatenate(arrays, axis=1),
            0,
            out=out.view(np.bool_),
            where=np.reshape(present, (-1, 1)),
        )
        allowed = np.logical_or.reduceat(out, self._begins, axis=1)
        if not allowed.all():
            row, head = (int(k) for k in np.argwhere(~allowed)[0])
            which = f", row {row}" if len(out) > 1 else ""
            raise ValueError(
                f"{KEY!r} of its {where}{which} forbids every choice of {self.heads[head].name!r}: "
                "at least one must be legal"
            )


def _as_rows(part: Any, count: int) -> npt.NDArray[Any]:
    """Return a mask, or one head's part of it, as (count, entries)."""
    array = np.asarray(part)
    if array.dtype == object:  # Gymnasium batches the tuples in infos as an array of objects
        array = np.array([np.concatenate(row) if isinstance(row, tuple) else row for row in array])
    return array.reshape(count, -1)


def find_masks(
    env: Any, by_agent: bool, observations: Packing, actions: ActionPacking
) -> MaskReader | None:
    """Find out where an env provides masks. Return None if it has no masks or no discrete head.

    `by_agent`: infos are dicts by agent (PettingZoo). The infos of a reset are inspected. Raise
    ValueError if the observation space has a mask of another size.
    """
    if not actions.heads:
        return None
    if isinstance(observations.space, Dict) and KEY in observations.space.spaces:
        masks = MaskReader(actions, in_observation=True)
        size = sum(int(np.prod(part.shape)) for part in observations.parts if part.path[0] == KEY)
        if size != masks.num_choices:
            raise ValueError(
                f"observation {KEY!r} has {size} entries, its action space {actions.space} has "
                f"{masks.num_choices} choices: it must have one entry per choice; if it is not an "
                "action mask, give it another name"
            )
        return masks
    try:
        _, info = env.reset()
    except Exception:  # the first reset by a runner raises it again and names the env
        return None
    if by_agent:
        info = next(iter(info.values()), {})
    return MaskReader(actions, in_observation=False) if KEY in info else None
