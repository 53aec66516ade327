"""make_fused: create the fused network of a policy, and choose the sizes of its chunks."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pufferlib.config.networks import NETWORKS
from pufferlib.fused.lstm import FusedLSTM
from pufferlib.fused.mingru import FusedMinGRU
from pufferlib.fused.mlp import FusedMLP
from pufferlib.fused.network import FusedNetwork
from pufferlib.policies.base import Policy
from pufferlib.policies.factory import network_class
from pufferlib.policies.layers import InputLayer
from pufferlib.policies.lstm import LSTM
from pufferlib.policies.mingru import MinGRU
from pufferlib.policies.mlp import MLP

FUSED: dict[type[Policy], Callable[..., FusedNetwork]] = {
    MLP: FusedMLP,
    LSTM: FusedLSTM,
    MinGRU: FusedMinGRU,
}
# Values of `policy.name` whose networks can be fused for most games.
FUSED_NAMES = ("auto", *(name for name in NETWORKS if network_class(name) in FUSED))

# Steps of a chunk. Outputs and gradients of two layers of 128 units then take 2 MB: a core's cache.
TRAIN_CHUNK_STEPS = 1024
# Rows of an LSTM's chunk. Each product of an LSTM covers one step of all rows of the chunk.
LSTM_CHUNK_ROWS = 128


def make_fused(
    policy: Policy,
    grads: Mapping[str, Tensor],
    steps: int = 0,
    rounded: Mapping[str, Tensor] | None = None,
) -> FusedNetwork | None:
    """Return a network that shares the weights of `policy`, or None if `can_fuse` is False.

    `grads` maps parameter names to the gradients that backward passes add to. `steps` is the size
    of the largest chunk to learn from, if that is above TRAIN_CHUNK_STEPS. `rounded` maps names to
    bfloat16 copies for products, which the optimizer keeps up to date. Hooks of the policy's
    modules are not called.
    """
    if not can_fuse(policy):
        return None
    args: tuple[Any, ...] = (policy, grads)
    if isinstance(policy, MLP):
        args = (*args, max(TRAIN_CHUNK_STEPS, steps))
    return FUSED[type(policy)](*args, rounded)


def can_fuse(policy: Policy) -> bool:
    """Return whether `policy` has a fused network.

    It has one if it is one of our own networks, on the CPU, in float32, with one flat observation,
    relu or tanh as activation, and all parameters trained.
    """
    if type(policy) not in FUSED or not isinstance(policy.first, InputLayer):
        return False
    kinds = {(p.device.type, p.dtype, p.requires_grad) for p in policy.parameters()}
    return policy.activation in ("relu", "tanh") and kinds == {("cpu", torch.float32, True)}


def chunk_sequences(policy: Policy, steps: int, share: int) -> int:
    """Return how many sequences of `steps` steps a chunk has; `share` is one thread's number."""
    if isinstance(policy, LSTM):
        return min(LSTM_CHUNK_ROWS, share)
    return max(1, TRAIN_CHUNK_STEPS // steps)
