"""Networks without autograd, forward and back in memory that is there already: feed-forward ones,
and what manual_recurrent.py shares.

Autograd asks for memory in every operator, keeps sums beside what became of them, and for small
networks takes longer than the products. Here each layer is one product and one native pass, on so
few steps at a time that all they leave stays in a core's cache, and gradients are added up where
the optimizer reads them. One thread's work: each thread has one of its own. Where weights are given
in bfloat16, so are the empty_gemm of all products but the heads', each rounded once, by the pass that
makes it; sums, and all between products, stay float32.

Letters as in policy.py; N steps of a part.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from pufferlib.kernels import _kernels
from pufferlib.ops.linear import FoldedLinear, Linear, NormalizedLinear, ScaledLinear
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy
from pufferlib.policies.layers import Heads, InputLayer
from pufferlib.policies.mlp import MLP
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.policies.recurrent import LSTM, MinGRU, Recurrent
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, GraphInput
from pufferlib.runtime.tensors import as_array, as_bfloat16

FUSED_NAMES = ("auto", "mlp", "lstm", "mingru")  # policy.name of networks that mostly fit
TRAIN_CHUNK_STEPS = 1024  # steps at a time: 128 units of two layers and their gradients are 2 MB
AGENT_GRANULARITY = (
    128  # agents: as many act at once as are a whole number of it, so that few graphs are noted
)
LSTM_CHUNK_ROWS = 128  # of an LSTM, at a time: each of its products is of one step of them


class Workspace(Protocol):
    """One way forth and back through a network, on memory that stays where it is."""

    output: Output
    gradient: Output  # where to write it before going back

    def backward(self, graph: Graph) -> object:
        """Note the way back."""


def make_fused(
    policy: Policy,
    grads: Mapping[str, Tensor],
    steps: int = 0,
    rounded: Mapping[str, Tensor] | None = None,
) -> "FusedNetwork | None":
    """Return `policy` without autograd, if there is a way; hooks of its modules are not called.

    `grads`: of each parameter, by name, added to; `steps`: to go back through at once, if they are
    more than TRAIN_CHUNK_STEPS; `rounded`: the parameters in bfloat16, to use in products. There is one for our
    own layers in float32 on the CPU, all of them trained.
    """
    from pufferlib.fused.recurrent import FusedLSTM, FusedMinGRU

    if not can_fuse(policy):
        return None
    if isinstance(policy, MLP):
        return FusedMLP(policy, grads, max(TRAIN_CHUNK_STEPS, steps), rounded)
    kind = FusedLSTM if isinstance(policy, LSTM) else FusedMinGRU
    return kind(cast(Recurrent, policy), grads, rounded)


def record_forward(network: "FusedNetwork", obs: Tensor, state: Tensor | None) -> Graph:
    """Note how N agents act once, at most `chunk_size`, on what lies here when it is played: obs
    (N, F), state (N, S), which becomes the new one."""
    graph, seen = Graph(), GraphInput(len(obs), obs.shape[1], obs.dtype)
    seen.bind(as_array(obs))
    network.record_act(graph, seen, state)
    return graph


def can_fuse(policy: Policy) -> bool:
    """Return whether there is a way without autograd."""
    if type(policy) not in (MLP, LSTM, MinGRU) or not isinstance(policy.first, InputLayer):
        return False
    kinds = {(p.device.type, p.dtype, p.requires_grad) for p in policy.parameters()}
    return policy.activation in ("relu", "tanh") and kinds == {("cpu", torch.float32, True)}


def chunk_rows(policy: Policy, horizon: int, share: int) -> int:
    """Return how many rows to go through at once; `share`: those of a minibatch for one thread."""
    return (
        min(LSTM_CHUNK_ROWS, share)
        if isinstance(policy, LSTM)
        else max(1, TRAIN_CHUNK_STEPS // horizon)
    )


class FusedNetwork:
    """What networks without autograd have in common: dense layers, heads that say something, and
    memory to act and to unroll in."""

    def __init__(
        self,
        policy: Policy,
        heads: Heads,
        grads: Mapping[str, Tensor],
        chunk_size: int,
        rounded: Mapping[str, Tensor] | None,
    ) -> None:
        self.policy, self.heads, self._grads = policy, heads, grads
        self.num_outputs = sum(heads.sizes)
        self.chunk_size, self.outputs = chunk_size, allocator.zeros((chunk_size, self.num_outputs))
        self._acting = functools.lru_cache(maxsize=16)(functools.partial(StepGraph, self))
        self._lesson = functools.lru_cache(maxsize=2)(functools.partial(UnrollGraphs, self))
        self._last: UnrollGraphs | None = None  # what was unrolled
        self._folded: list[FoldedLinear] = []
        self.log_std: Tensor | None = None
        if policy.spec.low:
            self.log_std, self._log_reach = torch.empty(len(policy.spec.low)), heads.reach.log()
        self.rounded = rounded or {}
        self.dtype = torch.bfloat16 if rounded else torch.float32  # of empty_gemm, but the heads'
        self.norm = policy.norm if rounded else None  # while what is seen has all its digits
        # What is noted must be what the first layer takes, but normal.
        self.input_dtype = torch.float32 if self.norm is not None else self.dtype

    def empty_gemm(self, shape: Sequence[int]) -> Tensor:
        """Make room for what products take."""
        return allocator.zeros(shape, dtype=self.dtype)

    def hidden_layer(
        self, name: str, activation: str, norm: ObservationNorm | None = None
    ) -> Linear:
        """Make one of the policy's hidden layers; `norm` is folded in, if all is float32."""
        layer = self.layer(name)
        if self.rounded or norm is None:
            return Linear(*layer, activation, self.rounded.get(f"{name}.weight"))
        self._folded.append(NormalizedLinear(norm, *layer, activation))
        return self._folded[-1]

    def prepare_input(
        self, graph: Graph, seen: Tensor | GraphInput, room: Tensor
    ) -> Tensor | GraphInput:
        """Return what the first layer takes of what is seen (N, F); if that is not what it is, it
        is made on the graph, in `room` (N, F) or more."""
        if self.norm is not None:
            normal = {"mean": self.norm.mean.numpy(), "scale": self.norm.scale.numpy()}
            return self.to_gemm_dtype(graph, seen, room, **normal)
        return seen if seen.dtype == self.dtype else self.to_gemm_dtype(graph, seen, room)

    def to_gemm_dtype(
        self, graph: Graph, given: Tensor | GraphInput, room: Tensor, **normal: Any
    ) -> Tensor:
        """Make on the graph of any numbers (N, F) what products take, in `room` (N, F) or more."""
        made, source = room[: given.shape[0]], given
        if not isinstance(source, GraphInput):
            source = GraphInput(made.shape[0], made.shape[1], given.dtype)
            source.bind(cast(Tensor, given).numpy())
        graph.call(_kernels.to_float, rows=source.given, out=as_array(made), **normal)
        return made

    def last_layer(self) -> Linear:
        """Make the heads' layer: means come in the axes' own units."""
        given = (*self.layer("heads.out"), "identity")
        if self.log_std is None:
            return Linear(*given)
        reach, middle = torch.ones(self.num_outputs), torch.zeros(self.num_outputs)
        means = slice(self.heads.sizes[0], sum(self.heads.sizes[:2]))
        reach[means], middle[means] = self.heads.reach, self.heads.middle
        self._folded.append(ScaledLinear(reach, middle, *given))
        return self._folded[-1]

    def layer(self, name: str) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return a layer's weight and bias, and where their gradients are added up."""
        layer = cast(nn.Linear, self.policy.get_submodule(name))
        grads = self._grads[f"{name}.weight"], self._grads[f"{name}.bias"]
        return layer.weight.detach(), layer.bias.detach(), grads

    def output(self, out: Tensor) -> Output:
        """Tell split_heads the columns (N, C + X + 1) of what the heads say: views."""
        return self.split_heads(out, self.log_std)

    def gradients(self, out: Tensor) -> Output:
        """Tell split_heads the columns (N, C + X + 1) of its gradient; log_std's is added up."""
        return self.split_heads(out, self._grads.get("heads.log_std"))

    def split_heads(self, out: Tensor, log_std: Tensor | None) -> Output:
        """Tell columns split_heads."""
        logits, mean, value = torch.split(out, self.heads.sizes, dim=1)
        return Output(
            logits if self.heads.sizes[0] else None,
            mean if self.heads.sizes[1] else None,
            log_std,
            value.squeeze(1),
        )

    def sync_weights(self) -> None:
        """Take note of changed weights and statistics."""
        for layer in self._folded:
            layer.fold_weights()
        if self.log_std is not None:
            torch.add(self.heads.log_std.detach(), self._log_reach, out=self.log_std)

    def zero_folded_grads(self) -> None:
        """Before going back."""
        for layer in self._folded:
            layer.zero_folded_grads()

    def unfold_grads(self) -> None:
        """After it."""
        for layer in self._folded:
            layer.unfold_grads()

    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Note how N agents act once."""
        raise NotImplementedError

    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> "Workspace":
        """Note how to act H times."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, Tensor | None]:
        """Obs (N, *O), state (N, S) or None -> output of N and new state."""
        self.sync_weights()
        outputs = torch.empty((len(obs), self.num_outputs))
        new = None if state is None else torch.empty_like(state)
        for begin in range(0, len(obs), self.chunk_size):
            some = slice(begin, begin + self.chunk_size)
            _, after = self.evaluate(obs[some], None if state is None else state[some])
            outputs[some] = self.outputs[: len(obs[some])]
            if new is not None:
                new[some] = after
        return self.output(outputs), new

    @torch.no_grad()
    def evaluate(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Say what `forward` would of at most `chunk_size`, by the weights of the last `refresh`, in
        memory that is used again."""
        n = len(obs)
        own = self._acting(-(-n // AGENT_GRANULARITY) * AGENT_GRANULARITY, obs.dtype)
        own.obs[:n] = obs.reshape(n, -1)
        if state is not None:
            own.state[:n] = state
        own.graph.replay()
        return self.output(self.outputs[:n]), own.state[:n]

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S) or None, reset (B, H) bool -> output of B * H."""
        self._last = own = self._lesson(*reset.shape)
        own.obs.copy_(obs.view(own.obs.shape))
        own.reset.copy_(reset)
        if state is not None:
            own.state.copy_(state)
        self.sync_weights()
        own.graphs[0].replay()
        return own.lesson.output

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self._unrolled().lesson.gradient

    @torch.no_grad()
    def backward(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        self.zero_folded_grads()
        self._unrolled().graphs[1].replay()
        self.unfold_grads()

    def _unrolled(self) -> "UnrollGraphs":
        if self._last is None:
            raise RuntimeError("there is nothing to go back through: no unroll, or one of too much")
        return self._last


class StepGraph:
    """Memory of what N agents see, and of their states, and how they act once."""

    def __init__(self, network: FusedNetwork, agents: int, dtype: torch.dtype) -> None:
        spec, agents = network.policy.spec, min(agents, network.chunk_size)
        self.obs = torch.zeros((agents, spec.obs_size), dtype=dtype)
        self.state = torch.zeros((agents, network.policy.state_size))
        self.graph = record_forward(network, self.obs, self.state)


class UnrollGraphs:
    """Memory of what is seen in B rows of H steps, and the ways forth and back."""

    def __init__(self, network: FusedNetwork, rows: int, horizon: int) -> None:
        policy = network.policy
        self.obs = torch.zeros((rows, horizon, policy.spec.obs_size), dtype=network.input_dtype)
        self.state = torch.zeros((rows, policy.state_size))
        self.reset, self.graphs = torch.zeros((rows, horizon), dtype=torch.bool), (Graph(), Graph())
        self.lesson = network.record_unroll(self.graphs[0], self.obs, self.state, self.reset)
        self.lesson.backward(self.graphs[1])


class MLPWorkspace:
    """Views of the memory of N steps of an MLP, from what is `seen` (N, F) to the last layer."""

    def __init__(self, network: "FusedMLP", seen: Tensor | GraphInput) -> None:
        n = seen.shape[0]
        self.network, self.seen, self.grads = network, seen, [g[:n] for g in network.grads]
        self._made: list[Tensor] = [*(y[:n] for y in network.hidden), network.outputs[:n]]
        above = [layer.dtype for layer in network.layers[1:]]
        self._ys = [
            as_bfloat16(y) if dtype == torch.bfloat16 else y
            for y, dtype in zip(self._made, [*above, torch.float32], strict=True)
        ]
        self._taken: Tensor | GraphInput = seen
        self.output = network.output(self._ys[-1])
        self.gradient = network.gradients(self.grads[-1])

    def forward(self, graph: Graph) -> None:
        """Note the way from what is seen to what is outputs."""
        x = self._taken = self.network.prepare_input(graph, self.seen, self.network.x)
        for layer, y, made in zip(self.network.layers, self._ys, self._made, strict=True):
            layer.forward(graph, x, y, made)
            x = y

    def backward(self, graph: Graph) -> None:
        """Note the way from the last gradient to those of the parameters; forth goes before."""
        layers, ys, grads = self.network.layers, self._ys, self.grads
        for i in range(len(layers) - 1, 0, -1):
            layers[i].backward(graph, ys[i - 1], ys[i], grads[i], grads[i - 1])
        layers[0].backward(graph, self._taken, ys[0], grads[0], None)


class FusedMLP(FusedNetwork):
    """An MLP by the policy's own weights. `grads`: of each parameter, by name, added to; `rounded`:
    the parameters in bfloat16, if hidden layers are to use these."""

    def __init__(
        self,
        policy: MLP,
        grads: Mapping[str, Tensor],
        steps: int,
        rounded: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(policy, policy.heads, grads, steps, rounded)
        f, above = policy.activation, (f"hidden.{i}" for i in range(len(policy.hidden)))
        hidden = [
            self.hidden_layer("first", f, policy.norm),
            *(self.hidden_layer(name, f) for name in above),
        ]
        self.layers = [*hidden, self.last_layer()]
        self.x = self.empty_gemm((steps, policy.spec.obs_size))  # where that is not what is seen
        self.grads = [torch.empty((steps, len(layer.bias))) for layer in self.layers]
        self.hidden = [torch.empty_like(grad) for grad in self.grads[:-1]]
        self.sync_weights()

    def record_act(self, graph: Graph, obs: GraphInput, state: Tensor | None) -> Output:
        """Obs (N, F): one way forth."""
        part = MLPWorkspace(self, obs)
        part.forward(graph)
        return part.output

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O) -> output of B * H; more than `chunk_size` cannot be gone back through."""
        if reset.numel() > self.chunk_size:
            self._last = None
            return self.forward(obs.flatten(0, 1))[0]
        return super().unroll(obs, state, reset)

    def record_unroll(
        self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor
    ) -> MLPWorkspace:
        """Note the way forth of as many steps as are done at once."""
        part = MLPWorkspace(self, obs.view(reset.numel(), -1))
        part.forward(graph)
        return part
