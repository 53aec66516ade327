"""The networks and activations that `policy.name` and `policy.activation` can name: one row each.

To add a network, write its module in pufferlib/policies and add a row here. This file does not
import torch, because `puffer --help` reads it.
"""

from typing import NamedTuple


class Network(NamedTuple):
    """The class of a network, and a property that the defaults depend on."""

    target: str  # MODULE:CLASS, imported when the network is made; a subclass of Policy
    recurrent: bool = False  # whether it has a state, so that rows are longer by default


NETWORKS = {
    "mlp": Network("pufferlib.policies.mlp:MLP"),
    "cnn": Network("pufferlib.policies.cnn:CNN"),
    "lstm": Network("pufferlib.policies.lstm:LSTM", recurrent=True),
    "mingru": Network("pufferlib.policies.mingru:MinGRU", recurrent=True),
}
RECURRENT = tuple(name for name, row in NETWORKS.items() if row.recurrent)

# Class in torch.nn of each activation.
ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU", "silu": "SiLU", "elu": "ELU"}
