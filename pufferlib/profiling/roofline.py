"""The roofline of a training: its speed if it did nothing but the policy's matrix products.

The products are those of acting once and of learning from one minibatch. Of a fused network they
are what its graphs recorded, of any other policy what torch runs. Each is counted, and timed by
itself at the same shapes, strides, type and number of threads. A multiply-add counts as two
operations, in products and convolutions; activations, the loss and bootstrap values do not count.
The roofline of Williams et al. 2009 has a bandwidth side too; here the products' own speed at their
shapes stands for both.
"""

import collections
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry

from pufferlib.fused.network import FusedNetwork, record_forward
from pufferlib.policies.base import Policy
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.graph import Product as GraphProduct

aten = torch.ops.aten
MULTIPLY = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}  # argument of the left factor
OPAQUE = ("rnn", "lstm", "gru", "attention", "mkldnn")  # in names of operators with products inside
MIN_SECONDS = 2e-4  # of one measurement: short products are repeated


@dataclass(frozen=True)
class Operand:
    """Shape, strides and type of a tensor, of which another can be made."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def make(self) -> Tensor:
        """Return a tensor like it: random numbers in floats, ones in other types."""
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        memory = torch.ones(last + 1, dtype=self.dtype, device=self.device)
        if self.dtype.is_floating_point:
            memory.normal_()
        return memory.as_strided(self.shape, self.stride)


class Product(NamedTuple):
    """An operator on operands of one shape and type: `calls` in a pass, `flops` each."""

    name: str
    run: Callable[[], object]
    flops: int
    calls: int


class Counts(NamedTuple):
    """The products of one pass, and the names of operators that hide further ones."""

    products: list[Product]
    opaque: set[str]


class Counter(TorchDispatchMode):
    """Counts the products that torch runs while it is entered.

    `opaque` has the names of operators that run products which torch does not count.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.opaque: set[str] = set()
        self._arguments: dict[tuple[Any, str], tuple[Any, int]] = {}  # and flops, by operator
        self._calls: dict[tuple[Any, str], int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operator, and count it if it is a product."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = getattr(func, "_overloadpacket", func)
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=out)
            operator: Any = packet
            if packet in MULTIPLY:
                operator, args = torch.matmul, args[MULTIPLY[packet] :][:2]
            described = tree_map(_describe, args)
            key = (operator, repr(described))
            self._arguments[key] = (described, flops)
            self._calls[key] = self._calls.get(key, 0) + 1
        elif any(part in str(packet) for part in OPAQUE):
            self.opaque.add(str(packet))
        return out

    def products(self) -> list[Product]:
        """Return the counted products, ready to run."""
        return [
            Product(_name(key[0], operands), _runner(key[0], operands), flops, self._calls[key])
            for key, (operands, flops) in self._arguments.items()
        ]


def _runner(operator: Any, described: Any) -> Callable[[], object]:
    """Return a call of the operator on operands made for it; products allocate nothing."""
    made = tree_map(lambda part: part.make() if isinstance(part, Operand) else part, described)
    if operator is not torch.matmul:
        return lambda: cast(object, operator(*made))
    out = torch.matmul(*made)
    return lambda: torch.matmul(*made, out=out)


def recorded_products(*graphs: Graph) -> list[Product]:
    """Return the products of graphs, ready to run."""
    calls = sum((graph.products for graph in graphs), collections.Counter[GraphProduct]())
    products = []
    for product, count in calls.items():
        operands = [Operand(*factor, torch.device("cpu")) for factor in product]
        run = _runner(torch.matmul, operands)
        if product.left.dtype == torch.bfloat16:  # torch has no such product with float32 sums
            graph, (left, right) = Graph(), [operand.make() for operand in operands]
            graph.product(left, right, torch.empty(left.shape[0], right.shape[1]))
            run = graph.replay
        products.append(Product(_name(torch.matmul, operands), run, product.flops, count))
    return products


def count_acting(policy: Policy, obs: Tensor, network: FusedNetwork | None = None) -> Counts:
    """Count one step of N agents that observe `obs` (N, *O), by `network` where there is one."""
    state = policy.initial_state(len(obs))
    if network:
        graphs = []
        for x in torch.split(obs.view(len(obs), -1), network.chunk_size):
            own = None if state is None else state[: len(x)]
            graphs.append(record_forward(network, x, own))
        return Counts(recorded_products(*graphs), set())
    with torch.no_grad(), Counter() as counter:
        policy(obs, state)
    return Counts(counter.products(), counter.opaque)


def count_learning(policy: Policy, obs: Tensor, network: FusedNetwork | None = None) -> Counts:
    """Count forward and backward of one minibatch, or of a chunk where `network` learns by these.

    `obs` (B, H, *O) are its observations. The parameters' gradients stay as they are.
    """
    reset = torch.zeros(obs.shape[:2], dtype=torch.bool, device=obs.device)
    if network:
        graph = Graph()
        network.record_unroll(graph, obs, policy.initial_state(len(obs)), reset).backward(graph)
        return Counts(recorded_products(graph), set())
    before = [(parameter, parameter.grad) for parameter in policy.parameters()]
    policy.zero_grad(set_to_none=True)
    with torch.enable_grad(), Counter() as counter:
        output = policy.unroll(obs, policy.initial_state(len(obs)), reset)
        parts = [part for part in output if part is not None and part.requires_grad]
        torch.autograd.backward(parts, [torch.ones_like(part) for part in parts])
    for parameter, grad in before:
        parameter.grad = grad
    return Counts(counter.products(), counter.opaque)


class Roofline:
    """The time of products per agent step: `act` once, `learn` in each of `epochs` epochs.

    `act` counts the products of `agents` agents that act once, `learn` those of `steps` steps.
    `measure` is to be called between any two updates, so that products and loop are timed under the
    same load of the machine. `synchronize` waits for a GPU. One thread is measured; `threads` that
    take chunks each are assumed to run at as many times its speed.
    """

    def __init__(
        self,
        act: Counts,
        agents: int,
        learn: Counts,
        steps: int,
        epochs: int,
        synchronize: Callable[[], None] | None = None,
        threads: int = 1,
    ) -> None:
        self.passes = {"act": act.products, "learn": learn.products}
        self.opaque = sorted(act.opaque | learn.opaque)
        self._per_step = {"act": 1 / agents, "learn": epochs / steps}  # passes
        self.threads = threads
        self.epochs = epochs
        self._synchronize = synchronize or (lambda: None)
        self._seconds: dict[Product, list[float]] = {
            product: [] for products in self.passes.values() for product in products
        }

    @property
    def known(self) -> bool:
        """Whether all products were counted."""
        return bool(self.passes["act"] and self.passes["learn"]) and not self.opaque

    @torch.no_grad()
    def measure(self) -> None:
        """Time each product by itself, once."""
        for product, taken in self._seconds.items():
            taken.append(self._time(product.run))

    def _time(self, run: Callable[[], object]) -> float:
        """Return the seconds of one call, repeated until MIN_SECONDS have passed."""
        run()
        self._synchronize()
        calls, passed = 1, 0.0
        while passed < MIN_SECONDS:
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            self._synchronize()
            passed = time.perf_counter() - begin
            if passed < MIN_SECONDS:
                calls *= 2
        return passed / calls

    def flops(self, name: str) -> float:
        """Return the operations per agent step of a pass: `act` once, `learn` in all epochs."""
        return self._per_step[name] * sum(p.flops * p.calls for p in self.passes[name])

    def seconds(self, name: str) -> float:
        """Return the seconds that a pass's products take per agent step, from medians."""
        alone = sum(p.calls * statistics.median(self._seconds[p]) for p in self.passes[name])
        return self._per_step[name] * alone / self.threads

    def speeds(self) -> dict[str, float]:
        """Return GFLOP/s by pass and shape."""
        flops: dict[str, float] = {}
        seconds: dict[str, float] = {}
        for name, products in self.passes.items():
            for p in products:
                key = f"{name} {p.name}"
                flops[key] = flops.get(key, 0.0) + p.calls * p.flops
                taken = p.calls * statistics.median(self._seconds[p])
                seconds[key] = seconds.get(key, 0.0) + taken
        return {key: flops[key] / seconds[key] / 1e9 for key in flops}

    def report(self, steps_per_second: float) -> dict[str, Any]:
        """Return counts, speeds, the roofline in steps per second, and the share of it reached.

        Where products could not be counted, `roofline` names their operators instead.
        """
        if not self.known:
            what = f"torch does not count {', '.join(self.opaque)}" if self.opaque else "no product"
            return {"roofline": f"unknown: {what}"}
        act, learn = self.flops("act"), self.flops("learn")
        flops, seconds = act + learn, self.seconds("act") + self.seconds("learn")
        return {
            "flops_per_step": {
                "act": act,
                "update_epoch": learn / self.epochs,
                "update_epochs": self.epochs,
                "all": flops,
            },
            "gemm_gflops": {**self.speeds(), "all": flops / seconds / 1e9},
            "roofline": 1 / seconds,
            "reached": steps_per_second * seconds,
        }


def _describe(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return Operand(tuple(argument.shape), argument.stride(), argument.dtype, argument.device)


def _name(operator: Any, described: Any) -> str:
    """Write operator, factors' shapes and type; a matrix stored by columns has a ' behind it."""
    shapes = []
    for operand in [part for part in described if isinstance(part, Operand)][:2]:
        by_columns = len(operand.shape) > 1 and operand.shape[-1] > 1 and operand.stride[-1] != 1
        shapes.append("x".join(map(str, operand.shape)) + "'" * by_columns)
        kind = str(operand.dtype).removeprefix("torch.")
    sign = "@" if operator is torch.matmul else str(operator).rpartition(".")[2]
    return f"{f' {sign} '.join(shapes)} {kind}"
