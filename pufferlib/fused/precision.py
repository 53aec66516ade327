"""The precision of matrix products: float32, or bfloat16 if the CPU has it and it is faster.

Only the factors of products are affected. The optimizer's weights, sums of products and gradients,
everything between products, the heads' outputs, losses and advantages are float32 in either case.
Fused networks implement bfloat16 products themselves (fused/network.py); for other networks,
torch's autocast chooses the dtypes (policies/autocast.py).
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pufferlib.fused.factory import LSTM_CHUNK_ROWS, TRAIN_CHUNK_STEPS, can_fuse
from pufferlib.ops.linear import Linear
from pufferlib.policies.autocast import Autocast
from pufferlib.policies.base import Policy
from pufferlib.policies.cnn import CNN
from pufferlib.policies.lstm import LSTM
from pufferlib.policies.mingru import MinGRU
from pufferlib.policies.mlp import MLP
from pufferlib.policies.recurrent import Recurrent
from pufferlib.runtime.choice import Choice
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.tensors import as_bfloat16
from pufferlib.runtime.timer import seconds_of

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # Linux's names, on x86 and arm64
ROUNDS = 5  # measurements of each precision
MEASURE_SECONDS = 2e-3  # minimum duration of one measurement
MIN_SPEEDUP = 1.3  # minimum speedup for which bfloat16 is chosen
IMAGES = 64  # observations that a CNN is measured on, at most


def choose(given: str, policy: Policy, device: torch.device, steps: int, width: int) -> Choice[str]:
    """Choose the precision of a run: `given`, unless that is auto.

    On a CPU with bfloat16, auto measures both precisions on the layer that `product_shape`
    describes, or on the whole network if that is a CNN, which takes up to a second. `steps` is the
    size of a minibatch, `width` the number of units of a hidden layer. Raise ValueError for
    bfloat16 in a network that cannot use it.
    """
    fused = can_fuse(policy)
    if given == "bfloat16" and isinstance(policy, Recurrent) and not fused:
        raise ValueError(
            f"train.precision='bfloat16' with {type(policy).__name__}: recurrent layers support it "
            "only on a CPU, with one flat observation and relu or tanh; take auto or float32"
        )
    if given != "auto":
        emulated = given == "bfloat16" and device.type == "cpu" and not supported()
        return Choice(given, "emulated: this CPU has none" if emulated else "as given")
    if device.type != "cpu":
        return Choice("float32", "the default on a GPU")
    if isinstance(policy, Recurrent) and not fused:
        return Choice("float32", "the only one for this kind of network")
    if not fused and not isinstance(policy, MLP):  # a user's network may need the precision
        return Choice("float32", "the default for a network of your own")
    if not supported():
        return Choice("float32", "this CPU has no bfloat16")
    if isinstance(policy, CNN):
        speedup = measure_network(policy, min(IMAGES, steps))
    else:  # torch computes the products of networks that are not fused
        speedup = measure(*product_shape(policy, steps, width), not fused)
    if speedup >= MIN_SPEEDUP:
        return Choice("bfloat16", f"{speedup:.1f} times as fast")
    return Choice("float32", f"bfloat16 would be {speedup:.1f} times as fast")


def product_shape(policy: Policy, steps: int, width: int) -> tuple[int, int, int]:
    """Return rows, inputs and outputs of the product that takes most of a policy's time."""
    if isinstance(policy, LSTM):
        return min(LSTM_CHUNK_ROWS, steps), 2 * width, 4 * width
    return min(TRAIN_CHUNK_STEPS, steps), width, 2 * width if isinstance(policy, MinGRU) else width


def supported(cpuinfo: Path = CPUINFO) -> bool:
    """Return whether the CPU multiplies bfloat16; False if the OS does not report it."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    names = (line.partition(":") for line in lines)
    return any(
        BFLOAT16_FLAGS.intersection(value.split())
        for name, _, value in names
        if name.strip() in ("flags", "Features")
    )


@torch.no_grad()
def measure(rows: int, inputs: int, outputs: int, torch_products: bool = False) -> float:
    """Return how many times as fast a layer is in bfloat16 as in float32.

    Forward and backward passes over N = `rows` are timed, including rounding, in rounds that
    alternate between both; the result is the ratio of the medians. With `torch_products`, torch
    computes the products even if its BLAS was found.
    """
    weight, bias = torch.full((outputs, inputs), 1 / inputs), torch.zeros(outputs)
    grads, graphs = (torch.zeros_like(weight), torch.zeros_like(bias)), []
    for rounded in (None, weight.bfloat16()):
        layer = Linear(weight, bias, grads, "relu", rounded)
        graph, x = Graph(torch_products), torch.ones((rows, inputs), dtype=layer.dtype)
        product, grad_y = torch.ones((2, rows, outputs))
        y = product if layer.dtype == product.dtype else as_bfloat16(product)
        layer.forward(graph, x, y, product)
        layer.backward(graph, x, y, grad_y, torch.ones((rows, inputs)))
        graphs.append(graph)
    return _ratio(graphs[0].replay, graphs[1].replay)


def measure_network(policy: Policy, n: int) -> float:
    """Return how many times as fast autograd runs a policy under autocast, on n observations.

    Forward and backward passes are timed as in `measure`. The policy has no gradients afterwards.
    """
    obs = torch.zeros((n, *policy.spec.obs_shape), dtype=policy.spec.obs_dtype)

    def passes(network: Policy) -> None:
        output = network(obs, None)[0]
        sum(part.sum() for part in output if part is not None).backward()

    ratio = _ratio(lambda: passes(policy), lambda: passes(Autocast(policy)))
    policy.zero_grad(set_to_none=True)
    return ratio


def _ratio(float32: Callable[[], None], bfloat16: Callable[[], None]) -> float:
    """Return the ratio of the medians of the seconds that two functions take, in turns.

    Processor time is measured, because one interruption by another process takes longer than all
    that is measured.
    """
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for function, measured in zip((float32, bfloat16), seconds, strict=True):
            measured.append(seconds_of(function, MEASURE_SECONDS, time.process_time))
    return statistics.median(seconds[0]) / statistics.median(seconds[1])
