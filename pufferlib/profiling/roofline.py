"""The roofline of training: the speed of a loop that computes only the policy's matrix products.

The products of acting once and of learning from one minibatch are counted: for a fused network
those that its graphs recorded, for any other policy those that torch runs. Each is timed by itself,
with the same shapes, strides, dtype and number of threads. A multiply-add counts as two operations,
in products and convolutions; activations, the loss and bootstrap values do not count. The roofline
of Williams et al. 2009 also has a bandwidth limit; here the measured speed of the products at these
shapes includes both limits.
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
MULTIPLY = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}  # index of the left factor
OPAQUE = ("rnn", "lstm", "gru", "attention", "mkldnn")  # operators that hide products, by name
MIN_SECONDS = 2e-4  # minimum duration of a measurement; shorter products are repeated


@dataclass(frozen=True)
class Operand:
    """Shape, strides, dtype and device of a tensor, from which `make` allocates another one."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def make(self) -> Tensor:
        """Return a tensor with this layout: random numbers for float dtypes, ones for others."""
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        memory = torch.ones(last + 1, dtype=self.dtype, device=self.device)
        if self.dtype.is_floating_point:
            memory.normal_()
        return memory.as_strided(self.shape, self.stride)


class Product(NamedTuple):
    """An operator on operands of given shapes: its `calls` in a pass, and the `flops` of each."""

    name: str
    run: Callable[[], object]
    flops: int
    calls: int


class Counts(NamedTuple):
    """The products of one pass, and the names of operators whose products could not be counted."""

    products: list[Product]
    opaque: set[str]


class Counter(TorchDispatchMode):
    """Counts the products that torch runs inside this context.

    `opaque` holds the names of operators whose products torch does not count.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.opaque: set[str] = set()
        self._arguments: dict[tuple[Any, str], tuple[Any, int]] = {}  # and flops
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
    """Return a function that calls the operator on new operands; matmul has a fixed output."""
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
        if product.left.dtype == torch.bfloat16:  # torch cannot keep the sums in float32
            graph, (left, right) = Graph(), [operand.make() for operand in operands]
            graph.product(left, right, torch.empty(left.shape[0], right.shape[1]))
            run = graph.replay
        products.append(Product(_name(torch.matmul, operands), run, product.flops, count))
    return products


def count_acting(policy: Policy, obs: Tensor, network: FusedNetwork | None = None) -> Counts:
    """Count one step of N agents that observe `obs` (N, *O); `network` acts if it is given."""
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
    """Count the forward and backward pass of one minibatch, or of one chunk for `network`.

    `obs` (B, H, *O) are its observations. The gradients of the policy's parameters are kept.
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
    """The time that products take per agent step: `act` once, `learn` once per epoch.

    `act` holds the products of one step of `agents` agents, `learn` those of learning from `steps`
    steps. Call `measure` between updates, so that products and loop are timed under the same load
    of the machine. `synchronize` waits for a GPU. Products are measured on one thread; `threads`
    threads are assumed to be `threads` times as fast.
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
        """Return a pass's operations per agent step; `learn` is summed over all epochs."""
        return self._per_step[name] * sum(p.flops * p.calls for p in self.passes[name])

    def seconds(self, name: str) -> float:
        """Return the seconds that a pass's products take per agent step, by their median times."""
        alone = sum(p.calls * statistics.median(self._seconds[p]) for p in self.passes[name])
        return self._per_step[name] * alone / self.threads

    def speeds(self) -> dict[str, float]:
        """Return the GFLOP/s of each pass and shape."""
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

        If some products could not be counted, `roofline` names their operators instead.
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
    """Format operator, shapes of the factors and dtype; ' marks a matrix stored by columns."""
    shapes = []
    for operand in [part for part in described if isinstance(part, Operand)][:2]:
        by_columns = len(operand.shape) > 1 and operand.shape[-1] > 1 and operand.stride[-1] != 1
        shapes.append("x".join(map(str, operand.shape)) + "'" * by_columns)
        kind = str(operand.dtype).removeprefix("torch.")
    sign = "@" if operator is torch.matmul else str(operator).rpartition(".")[2]
    return f"{f' {sign} '.join(shapes)} {kind}"
