"""The sizes of one update in rows, computed from the options, which are in steps."""

from typing import NamedTuple

from pufferlib.config.options import TrainOptions


class Sizes(NamedTuple):
    """The sizes of one update, each at least 1."""

    horizon: int  # steps of one row
    batch_rows: int
    minibatch_rows: int

    @property
    def batch_size(self) -> int:
        """Return the steps of one batch."""
        return self.batch_rows * self.horizon

    @property
    def minibatches(self) -> int:
        """Return the number of gradient steps of one epoch."""
        return self.batch_rows // self.minibatch_rows


def resolve_sizes(train: TrainOptions, num_agents: int) -> Sizes:
    """Convert batch and minibatch sizes from steps to rows, and 0 to the default size.

    Raise ValueError for an illegal size; the message names the nearest legal ones.
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
    legal = [n for n in range(1, batch_rows + 1) if batch_rows % n == 0]
    if not train.minibatch_size:
        return Sizes(horizon, batch_rows, min(legal, key=lambda n: abs(n - batch_rows / 4)))
    rows, rest = divmod(train.minibatch_size, horizon)
    if rest or rows not in legal:
        below = [n * horizon for n in legal if n * horizon < train.minibatch_size][-1:]
        above = [n * horizon for n in legal if n * horizon > train.minibatch_size][:1]
        raise ValueError(
            f"train.minibatch_size={train.minibatch_size} must be a multiple of horizon={horizon} "
            f"that divides batch_size={batch_rows * horizon}; "
            f"nearest legal: {_either(below + above)}"
        )
    return Sizes(horizon, batch_rows, rows)


def _either(numbers: list[int]) -> str:
    return " or ".join(str(n) for n in numbers)
