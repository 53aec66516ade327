"""Which floats matrix products take: float32, or bfloat16 where the CPU has it and it pays.

Either way the optimizer's weights and sums of gradients, all arithmetic between products, what the
heads say, losses and advantages are float32. What can do without autograd has its products in
manual.py; of anything else torch's autocast chooses what takes bfloat16.
"""

import statistics
from pathlib import Path

import torch
from torch import Tensor

from pufferlib.fused.factory import LSTM_CHUNK_ROWS, TRAIN_CHUNK_STEPS, can_fuse
from pufferlib.ops.linear import Linear
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy
from pufferlib.policies.lstm import LSTM
from pufferlib.policies.mingru import MinGRU
from pufferlib.policies.mlp import MLP
from pufferlib.policies.recurrent import Recurrent
from pufferlib.runtime.choice import Choice
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.tensors import as_bfloat16
from pufferlib.runtime.timer import seconds_of

CPUINFO = Path("/proc/cpuinfo")
FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux names them on x86 and arm64
ROUNDS = 5
AT_LEAST = 2e-3  # seconds of one measurement
WORTH = 1.3  # times the speed that bfloat16 has to bring


def choose(given: str, policy: Policy, device: torch.device, steps: int, width: int) -> Choice[str]:
    """Return what products shall take: `given`, or where that is auto what is best.

    On a CPU with bfloat16 that is measured, on the layer that `shape` says; takes some hundredths
    of a second. Raise ValueError for bfloat16 in a network that has none.
    """
    if given == "bfloat16" and isinstance(policy, Recurrent) and not can_fuse(policy):
        raise ValueError(
            f"train.precision='bfloat16' with {type(policy).__name__}: recurrent layers have it on "
            "a CPU, with one flat observation and relu or tanh; take auto or float32"
        )
    if given != "auto":
        emulated = given == "bfloat16" and device.type == "cpu" and not supported()
        return Choice(given, "emulated: this CPU has none" if emulated else "as given")
    if device.type != "cpu":
        return Choice("float32", "on a GPU unless told otherwise")
    fused = can_fuse(policy)
    if isinstance(policy, Recurrent) and not fused:
        return Choice("float32", "all that this kind of network has")
    if not fused and not isinstance(policy, MLP):  # it may not bear it
        return Choice("float32", "in a network of your own unless told otherwise")
    if not supported():
        return Choice("float32", "this CPU has no bfloat16")
    # Autocast's products are torch's.
    times = measure(*shape(policy, steps, width), not fused)
    if times >= WORTH:
        return Choice("bfloat16", f"{times:.1f} times as fast")
    return Choice("float32", f"bfloat16 would be {times:.1f} times as fast")


def shape(policy: Policy, steps: int, width: int) -> tuple[int, int, int]:
    """Return rows, inputs and outputs of the product that takes the most of the time, in a network
    `width` units wide that is shown up to `steps` steps."""
    if isinstance(policy, LSTM):
        return min(LSTM_CHUNK_ROWS, steps), 2 * width, 4 * width
    return min(TRAIN_CHUNK_STEPS, steps), width, 2 * width if isinstance(policy, MinGRU) else width


def supported(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the CPU multiplies bfloat16; False where the OS does not say."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    names = (line.partition(":") for line in lines)
    return any(
        FLAGS.intersection(value.split())
        for name, _, value in names
        if name.strip() in ("flags", "Features")
    )


@torch.no_grad()
def measure(rows: int, inputs: int, outputs: int, torch_products: bool = False) -> float:
    """Return how many times as fast as in float32 a layer is in bfloat16, its rounding included.

    Forward and backward, on this many rows; medians of rounds in turn. `torch_products`: by torch
    although its BLAS was found.
    """
    weight, bias = torch.full((outputs, inputs), 1 / inputs), torch.zeros(outputs)
    sums, graphs = (torch.zeros_like(weight), torch.zeros_like(bias)), []
    for rounded in (None, weight.bfloat16()):
        layer = Linear(weight, bias, sums, "relu", rounded)
        graph, x = Graph(torch_products), torch.ones((rows, inputs), dtype=layer.dtype)
        made, grad = torch.ones((2, rows, outputs))
        y = made if layer.dtype == made.dtype else as_bfloat16(made)
        layer.forward(graph, x, y, made)
        layer.backward(graph, x, y, grad, torch.ones((rows, inputs)))
        graphs.append(graph)
    taken: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for graph, found in zip(graphs, taken, strict=True):
            found.append(seconds_of(graph.replay, AT_LEAST))
    return statistics.median(taken[0]) / statistics.median(taken[1])


class Autocast(Policy):
    """A policy whose products take bfloat16 where torch's autocast says so; it speaks float32."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy.spec)
        self.policy, self.norm, self.state_size = policy, policy.norm, policy.state_size

    def initial_state(self, n: int) -> Tensor | None:
        """State (n, S) at the start of a life."""
        return self.policy.initial_state(n)

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor | None]:
        """Act once, as Policy.forward."""
        with torch.autocast(obs.device.type, torch.bfloat16):
            output, new = self.policy(obs, state)
        return _float32(output), None if new is None else new.float()

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times, as Policy.unroll."""
        with torch.autocast(obs.device.type, torch.bfloat16):
            output = self.policy.unroll(obs, state, reset)
        return _float32(output)


def _float32(output: Output) -> Output:
    return Output._make(part if part is None else part.float() for part in output)
