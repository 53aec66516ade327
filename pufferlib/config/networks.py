"""The networks that `policy.name` can name: one row each. No torch here, `puffer --help` reads it.

To add a network, write its module in pufferlib/policies and add a row here.
"""

from typing import NamedTuple


class Network(NamedTuple):
    """Where a network is defined, and what the defaults must know of it."""

    target: str  # MODULE:CLASS, imported when the network is made; a subclass of Policy
    recurrent: bool = False  # whether it has a state; rows are then longer by default


NETWORKS = {
    "mlp": Network("pufferlib.policies.mlp:MLP"),
    "cnn": Network("pufferlib.policies.cnn:CNN"),
    "lstm": Network("pufferlib.policies.lstm:LSTM", recurrent=True),
    "mingru": Network("pufferlib.policies.mingru:MinGRU", recurrent=True),
}
RECURRENT = tuple(name for name, row in NETWORKS.items() if row.recurrent)
