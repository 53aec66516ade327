"""The sizes of one update, computed from the options, which are in steps.

A batch is whole rows. What a minibatch is drawn from is a sequence: a whole row, or a single step
with `train.shuffle=steps`.
"""

import dataclasses
import math
from typing import NamedTuple

from pufferlib.config.options import TrainOptions


class Sizes(NamedTuple):
    """The sizes of one update, each at least 1."""

    horizon: int  # steps of one row
    batch_rows: int
    sequence: int  # steps that stay together in a minibatch: the horizon, or 1
    minibatch_sequences: int

    @property
    def batch_size(self) -> int:
        """Return the steps of one batch."""
        return self.batch_rows * self.horizon

    @property
    def sequences_per_row(self) -> int:
        """Return the number of sequences of one row."""
        return self.horizon // self.sequence

    @property
    def batch_sequences(self) -> int:
        """Return the number of sequences of one batch."""
        return self.batch_rows * self.sequences_per_row

    @property
    def minibatch_size(self) -> int:
        """Return the steps of one minibatch."""
        return self.minibatch_sequences * self.sequence

    @property
    def minibatches(self) -> int:
        """Return the number of gradient steps of one epoch."""
        return self.batch_sequences // self.minibatch_sequences


def resolve_sizes(train: TrainOptions, num_agents: int, recurrent: bool = False) -> Sizes:
    """Convert batch and minibatch sizes from steps to rows and sequences, and 0 to the default.

    A `recurrent` policy learns from whole rows whatever `train.shuffle` is. Raise ValueError for an
    illegal size; the message names the nearest legal ones.
    """
    horizon = train.horizon
    batch_rows, rest = divmod(train.batch_size, horizon)
    if rest:
        near = sorted({max(1, batch_rows) * horizon, (batch_rows + 1) * horizon})
        raise ValueError(
            f"train.batch_size={train.batch_size} must be a multiple of horizon={horizon}; "
            f"nearest legal: {_either(near)} (0: one row for each of the {num_agents} agents)"
        )
    batch_rows = batch_rows or num_agents
    sequence = 1 if train.shuffle == "steps" and not recurrent else horizon
    whole = Sizes(horizon, batch_rows, sequence, 1)
    legal = _divisors(whole.batch_sequences)
    if not train.minibatch_size:
        quarter = whole.batch_sequences / 4
        return whole._replace(minibatch_sequences=min(legal, key=lambda n: abs(n - quarter)))
    count, rest = divmod(train.minibatch_size, sequence)
    if rest or count not in legal:
        below = [n * sequence for n in legal if n * sequence < train.minibatch_size][-1:]
        above = [n * sequence for n in legal if n * sequence > train.minibatch_size][:1]
        unit = f"be a multiple of horizon={horizon} that divides" if sequence > 1 else "divide"
        raise ValueError(
            f"train.minibatch_size={train.minibatch_size} must {unit} "
            f"batch_size={whole.batch_size}; nearest legal: {_either(below + above)}"
        )
    return whole._replace(minibatch_sequences=count)


def fit_minibatch(train: TrainOptions, num_agents: int, recurrent: bool = False) -> TrainOptions:
    """Return the options with `minibatch_size` lowered to the nearest legal size.

    It is raised if no smaller size is legal. Options of an illegal `batch_size` are not changed.
    """
    if not train.minibatch_size or train.batch_size % train.horizon:
        return train
    auto = dataclasses.replace(train, minibatch_size=0)
    sizes = resolve_sizes(auto, num_agents, recurrent)
    legal = [n * sizes.sequence for n in _divisors(sizes.batch_sequences)]
    fitting = max((n for n in legal if n <= train.minibatch_size), default=legal[0])
    return dataclasses.replace(train, minibatch_size=fitting)


def _divisors(number: int) -> list[int]:
    """Return the divisors of a number, in ascending order."""
    low = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    return low + [number // n for n in reversed(low) if n * n != number]


def _either(numbers: list[int]) -> str:
    return " or ".join(str(n) for n in numbers)
