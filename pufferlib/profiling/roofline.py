"""What a policy's matrix products cost: how many operations, and how long they take by themselves.

The products are those of acting once and of learning from one minibatch: of a fused network what
its graphs recorded, of any other policy what torch runs. Each is then run by itself, at the same
shapes, strides, type and number of threads. A loop that did nothing else would run at the
roofline. Counted are multiply-adds, times 2, of products and convolutions; not activations, the
loss, or values at the ends of rows.
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
MULTIPLY = {aten.mm: 0, aten.bmm: 0, aten.addmm: 1, aten.baddbmm: 1}  # where the factors begin
OPAQUE = ("rnn", "lstm", "gru", "attention", "mkldnn")  # names of operators with products inside
AT_LEAST = 2e-4  # seconds of one measurement: short products are repeated


@dataclass(frozen=True)
class Operand:
    """What a tensor was like."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    def make(self) -> Tensor:
        """Return a tensor like it, of random numbers where it is of floats."""
        last = sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        memory = torch.ones(last + 1, dtype=self.dtype, device=self.device)
        if self.dtype.is_floating_point:
            memory.normal_()
        return memory.as_strided(self.shape, self.stride)


class Product(NamedTuple):
    """One operator on operands of one kind: `calls` times in a pass, `flops` each time."""

    name: str
    run: Callable[[], object]
    flops: int
    calls: int


class Counts(NamedTuple):
    """The products of one pass, and the names of operators that hide further ones."""

    products: list[Product]
    opaque: set[str]


class Counter(TorchDispatchMode):
    """While entered, counts the products that torch runs; `opaque` names what hides some."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.opaque: set[str] = set()
        self._seen: dict[tuple[Any, str], tuple[Any, int]] = {}  # arguments, flops
        self._calls: dict[tuple[Any, str], int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operator, and note it if it is a product."""
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
            self._seen[key] = (described, flops)
            self._calls[key] = self._calls.get(key, 0) + 1
        elif any(part in str(packet) for part in OPAQUE):
            self.opaque.add(str(packet))
        return out

    def products(self) -> list[Product]:
        """Return what was noted, ready to run again."""
        return [
            Product(_name(key[0], operands), _runner(key[0], operands), flops, self._calls[key])
            for key, (operands, flops) in self._seen.items()
        ]


def _runner(operator: Any, described: Any) -> Callable[[], object]:
    """Make a call of the operator on operands of its own, into memory that is there already."""
    made = tree_map(lambda part: part.make() if isinstance(part, Operand) else part, described)
    if operator is not torch.matmul:
        return lambda: cast(object, operator(*made))
    out = torch.matmul(*made)
    return lambda: torch.matmul(*made, out=out)


def recorded(*graphs: Graph) -> list[Product]:
    """Return the products of graphs, ready to run again."""
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


def acting(policy: Policy, obs: Tensor, network: FusedNetwork | None = None) -> Counts:
    """Count one step of N agents that see `obs` (N, *O), by `network` if it acts for the policy."""
    state = policy.initial_state(len(obs))
    if network:
        graphs = []
        for x in torch.split(obs.view(len(obs), -1), network.chunk_size):
            own = None if state is None else state[: len(x)]
            graphs.append(record_forward(network, x, own))
        return Counts(recorded(*graphs), set())
    with torch.no_grad(), Counter() as counter:
        policy(obs, state)
    return Counts(counter.products(), counter.opaque)


def learning(policy: Policy, obs: Tensor, network: FusedNetwork | None = None) -> Counts:
    """Count one minibatch, forward and backward: obs (B, H, *O), or the part that `network` learns.

    Gradients by autograd are as they were.
    """
    reset = torch.zeros(obs.shape[:2], dtype=torch.bool, device=obs.device)
    if network:
        graph = Graph()
        network.record_unroll(graph, obs, policy.initial_state(len(obs)), reset).backward(graph)
        return Counts(recorded(graph), set())
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
    """The products of acting by `agents` at once, and of `epochs` on minibatches of `steps`.

    `measure` once between any two updates: then the products meet the same moods of the machine as
    the loop. `synchronize` waits for a GPU. `threads` that each take parts of the work would run at
    so many times the speed of one, which is what is measured.
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
        self.share = {"act": 1 / agents, "learn": epochs / steps}  # of a pass, per agent step
        self.threads = threads
        self.epochs = epochs
        self._synchronize = synchronize or (lambda: None)
        self._seconds: dict[Product, list[float]] = {
            product: [] for products in self.passes.values() for product in products
        }

    @property
    def known(self) -> bool:
        """Whether everything was counted."""
        return bool(self.passes["act"] and self.passes["learn"]) and not self.opaque

    @torch.no_grad()
    def measure(self) -> None:
        """Run each product by itself."""
        for product, taken in self._seconds.items():
            taken.append(self._time(product.run))

    def _time(self, run: Callable[[], object]) -> float:
        """Return the seconds of one call."""
        run()
        self._synchronize()
        calls, passed = 1, 0.0
        while passed < AT_LEAST:
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            self._synchronize()
            passed = time.perf_counter() - begin
            if passed < AT_LEAST:
                calls *= 2
        return passed / calls

    def flops(self, name: str) -> float:
        """Return the operations per agent step of a pass: `act` once, `learn` in all epochs."""
        return self.share[name] * sum(p.flops * p.calls for p in self.passes[name])

    def seconds(self, name: str) -> float:
        """Return how long the products of a pass take per agent step, by the measured medians."""
        alone = sum(p.calls * statistics.median(self._seconds[p]) for p in self.passes[name])
        return self.share[name] * alone / self.threads

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
        """Return counts, speeds, the roofline and the share of it that this speed is.

        Where something could not be counted, `roofline` says what instead.
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
    """Write the factors' shapes, with ' behind a matrix that lies in memory the other way round."""
    shapes = []
    for operand in [part for part in described if isinstance(part, Operand)][:2]:
        turned = len(operand.shape) > 1 and operand.shape[-1] > 1 and operand.stride[-1] != 1
        shapes.append("x".join(map(str, operand.shape)) + "'" * turned)
        kind = str(operand.dtype).removeprefix("torch.")
    sign = "@" if operator is torch.matmul else str(operator).rpartition(".")[2]
    return f"{f' {sign} '.join(shapes)} {kind}"
