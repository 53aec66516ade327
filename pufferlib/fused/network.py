"""Networks without autograd, forward and back in memory that is there already: feed-forward ones,
and what manual_recurrent.py shares.

Autograd asks for memory in every operator, keeps sums beside what became of them, and for small
networks takes longer than the products. Here each layer is one product and one native pass, on so
few steps at a time that all they leave stays in a core's cache, and gradients are added up where
the optimizer reads them. One thread's work: each thread has one of its own. Where weights are given
in bfloat16, so are the factors of all products but the heads', each rounded once, by the pass that
makes it; sums, and all between products, stay float32.

Letters as in policy.py; N steps of a part.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from pufferlib.kernels import _kernels
from pufferlib.ops.linear import Dense, Folded, Normalized, Stretched, narrowed
from pufferlib.policies.base import MLP, Heads, InputLayer, Output, Policy
from pufferlib.policies.normalization import ObservationNorm
from pufferlib.policies.recurrent import LSTM, MinGRU, Recurrent
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import Graph, Input, shown

BY_PARTS = ("auto", "mlp", "lstm", "mingru")  # policy.name of networks that mostly fit
PART = 1024  # steps at a time: 128 units of two layers and their gradients are 2 MB
GRAIN = 128  # agents: as many act at once as are a whole number of it, so that few graphs are noted
ROWS = 128  # of an LSTM, at a time: each of its products is of one step of them


class Manual(Protocol):
    """A network that goes back by itself. Whoever plays its graphs calls `refresh` when weights or
    statistics have changed, and `begin_back` and `end_back` around all ways back since then."""

    at_once: int  # agents that it acts for at a time, at most

    def act(self, graph: Graph, obs: Input, state: Tensor | None) -> Output:
        """Note how N agents act once: obs (N, F), state (N, S), which becomes the new one. Return
        where it is then said, until anything else is."""

    def note(self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor) -> "Lesson":
        """Note how to act H times, as Policy.unroll, on what lies in this memory when it is played:
        obs (B, H, *O), to be as `sees` says, state (B, S), reset (B, H) bool."""

    @property
    def sees(self) -> torch.dtype:
        """What observations that are noted must be."""

    def refresh(self) -> None:
        """Take note of changed weights and statistics."""

    def begin_back(self) -> None:
        """Before going back."""

    def end_back(self) -> None:
        """After it: the gradients of all parameters are added to those that were given."""

    def forward(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor | None]:
        """Act once, as Policy.forward."""

    def look(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Say what `forward` would of at most `at_once`, by the weights of the last `refresh`, in
        memory that is used again."""

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times, as Policy.unroll, so many as can be gone back through at once. Valid until
        the next call."""

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last, all of it; that of log_std
        is added to."""

    def back(self) -> None:
        """Go back from there."""


class Lesson(Protocol):
    """One way forth and back through a network, on memory that stays where it is."""

    output: Output
    gradient: Output  # where to write it before going back

    def back(self, graph: Graph) -> object:
        """Note the way back."""


def manual(
    policy: Policy,
    grads: Mapping[str, Tensor],
    steps: int = 0,
    rounded: Mapping[str, Tensor] | None = None,
) -> Manual | None:
    """Return `policy` without autograd, if there is a way; hooks of its modules are not called.

    `grads`: of each parameter, by name, added to; `steps`: to go back through at once, if they are
    more than PART; `rounded`: the parameters in bfloat16, to use in products. There is one for our
    own layers in float32 on the CPU, all of them trained.
    """
    from pufferlib.fused.recurrent import ManualLSTM, ManualMinGRU

    if not fits(policy):
        return None
    if isinstance(policy, MLP):
        return ManualMLP(policy, grads, max(PART, steps), rounded)
    kind = ManualLSTM if isinstance(policy, LSTM) else ManualMinGRU
    return kind(cast(Recurrent, policy), grads, rounded)


def note_acting(network: Manual, obs: Tensor, state: Tensor | None) -> Graph:
    """Note how N agents act once, at most `at_once`, on what lies here when it is played: obs
    (N, F), state (N, S), which becomes the new one."""
    graph, seen = Graph(), Input(len(obs), obs.shape[1], obs.dtype)
    seen.put(shown(obs))
    network.act(graph, seen, state)
    return graph


def fits(policy: Policy) -> bool:
    """Return whether there is a way without autograd."""
    if type(policy) not in (MLP, LSTM, MinGRU) or not isinstance(policy.first, InputLayer):
        return False
    kinds = {(p.device.type, p.dtype, p.requires_grad) for p in policy.parameters()}
    return policy.activation in ("relu", "tanh") and kinds == {("cpu", torch.float32, True)}


def rows_at_once(policy: Policy, horizon: int, share: int) -> int:
    """Return how many rows to go through at once; `share`: those of a minibatch for one thread."""
    return min(ROWS, share) if isinstance(policy, LSTM) else max(1, PART // horizon)


class ByHand:
    """What networks without autograd have in common: dense layers, heads that say something, and
    memory to act and to unroll in."""

    def __init__(
        self,
        policy: Policy,
        heads: Heads,
        grads: Mapping[str, Tensor],
        at_once: int,
        rounded: Mapping[str, Tensor] | None,
    ) -> None:
        self.policy, self.heads, self._grads = policy, heads, grads
        self.outputs = sum(heads.sizes)
        self.at_once, self.said = at_once, allocator.floats((at_once, self.outputs))
        self._acting = functools.lru_cache(maxsize=16)(functools.partial(OwnActing, self))
        self._lesson = functools.lru_cache(maxsize=2)(functools.partial(OwnLesson, self))
        self._last: OwnLesson | None = None  # what was unrolled
        self._folded: list[Folded] = []
        self.log_std: Tensor | None = None
        if policy.spec.low:
            self.log_std, self._log_reach = torch.empty(len(policy.spec.low)), heads.reach.log()
        self.rounded = rounded or {}
        self.dtype = torch.bfloat16 if rounded else torch.float32  # of factors, but the heads'
        self.norm = policy.norm if rounded else None  # while what is seen has all its digits
        # What is noted must be what the first layer takes, but normal.
        self.sees = torch.float32 if self.norm is not None else self.dtype

    def factors(self, shape: Sequence[int]) -> Tensor:
        """Make room for what products take."""
        return allocator.floats(shape, dtype=self.dtype)

    def dense(self, name: str, activation: str, norm: ObservationNorm | None = None) -> Dense:
        """Make one of the policy's hidden layers; `norm` is folded in, if all is float32."""
        layer = self.layer(name)
        if self.rounded or norm is None:
            return Dense(*layer, activation, self.rounded.get(f"{name}.weight"))
        self._folded.append(Normalized(norm, *layer, activation))
        return self._folded[-1]

    def taken(self, graph: Graph, seen: Tensor | Input, room: Tensor) -> Tensor | Input:
        """Return what the first layer takes of what is seen (N, F); if that is not what it is, it
        is made on the graph, in `room` (N, F) or more."""
        if self.norm is not None:
            normal = {"mean": self.norm.mean.numpy(), "scale": self.norm.scale.numpy()}
            return self.converted(graph, seen, room, **normal)
        return seen if seen.dtype == self.dtype else self.converted(graph, seen, room)

    def converted(self, graph: Graph, given: Tensor | Input, room: Tensor, **normal: Any) -> Tensor:
        """Make on the graph of any numbers (N, F) what products take, in `room` (N, F) or more."""
        made, source = room[: given.shape[0]], given
        if not isinstance(source, Input):
            source = Input(made.shape[0], made.shape[1], given.dtype)
            source.put(cast(Tensor, given).numpy())
        graph.run(_kernels.to_float, rows=source.given, out=shown(made), **normal)
        return made

    def last_layer(self) -> Dense:
        """Make the heads' layer: means come in the axes' own units."""
        given = (*self.layer("heads.out"), "identity")
        if self.log_std is None:
            return Dense(*given)
        reach, middle = torch.ones(self.outputs), torch.zeros(self.outputs)
        means = slice(self.heads.sizes[0], sum(self.heads.sizes[:2]))
        reach[means], middle[means] = self.heads.reach, self.heads.middle
        self._folded.append(Stretched(reach, middle, *given))
        return self._folded[-1]

    def layer(self, name: str) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Return a layer's weight and bias, and where their gradients are added up."""
        layer = cast(nn.Linear, self.policy.get_submodule(name))
        grads = self._grads[f"{name}.weight"], self._grads[f"{name}.bias"]
        return layer.weight.detach(), layer.bias.detach(), grads

    def output(self, out: Tensor) -> Output:
        """Tell apart the columns (N, C + X + 1) of what the heads say: views."""
        return self.apart(out, self.log_std)

    def gradients(self, out: Tensor) -> Output:
        """Tell apart the columns (N, C + X + 1) of its gradient; log_std's is added up."""
        return self.apart(out, self._grads.get("heads.log_std"))

    def apart(self, out: Tensor, log_std: Tensor | None) -> Output:
        """Tell columns apart."""
        logits, mean, value = torch.split(out, self.heads.sizes, dim=1)
        return Output(
            logits if self.heads.sizes[0] else None,
            mean if self.heads.sizes[1] else None,
            log_std,
            value.squeeze(1),
        )

    def refresh(self) -> None:
        """Take note of changed weights and statistics."""
        for layer in self._folded:
            layer.refresh()
        if self.log_std is not None:
            torch.add(self.heads.log_std.detach(), self._log_reach, out=self.log_std)

    def begin_back(self) -> None:
        """Before going back."""
        for layer in self._folded:
            layer.begin_back()

    def end_back(self) -> None:
        """After it."""
        for layer in self._folded:
            layer.end_back()

    def act(self, graph: Graph, obs: Input, state: Tensor | None) -> Output:
        """Note how N agents act once."""
        raise NotImplementedError

    def note(self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor) -> "Lesson":
        """Note how to act H times."""
        raise NotImplementedError

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, Tensor | None]:
        """Obs (N, *O), state (N, S) or None -> output of N and new state."""
        self.refresh()
        said = torch.empty((len(obs), self.outputs))
        new = None if state is None else torch.empty_like(state)
        for begin in range(0, len(obs), self.at_once):
            some = slice(begin, begin + self.at_once)
            _, after = self.look(obs[some], None if state is None else state[some])
            said[some] = self.said[: len(obs[some])]
            if new is not None:
                new[some] = after
        return self.output(said), new

    @torch.no_grad()
    def look(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Say what `forward` would of at most `at_once`, by the weights of the last `refresh`, in
        memory that is used again."""
        n = len(obs)
        own = self._acting(-(-n // GRAIN) * GRAIN, obs.dtype)
        own.obs[:n] = obs.reshape(n, -1)
        if state is not None:
            own.state[:n] = state
        own.graph.play()
        return self.output(self.said[:n]), own.state[:n]

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O), state (B, S) or None, reset (B, H) bool -> output of B * H."""
        self._last = own = self._lesson(*reset.shape)
        own.obs.copy_(obs.view(own.obs.shape))
        own.reset.copy_(reset)
        if state is not None:
            own.state.copy_(state)
        self.refresh()
        own.graphs[0].play()
        return own.lesson.output

    def gradient(self) -> Output:
        """Return where to write the gradient of what was unrolled last."""
        return self._unrolled().lesson.gradient

    @torch.no_grad()
    def back(self) -> None:
        """Go back from there: add the gradients of all parameters to those that were given."""
        self.begin_back()
        self._unrolled().graphs[1].play()
        self.end_back()

    def _unrolled(self) -> "OwnLesson":
        if self._last is None:
            raise RuntimeError("there is nothing to go back through: no unroll, or one of too much")
        return self._last


class OwnActing:
    """Memory of what N agents see, and of their states, and how they act once."""

    def __init__(self, network: ByHand, agents: int, dtype: torch.dtype) -> None:
        spec, agents = network.policy.spec, min(agents, network.at_once)
        self.obs = torch.zeros((agents, spec.obs_size), dtype=dtype)
        self.state = torch.zeros((agents, network.policy.state_size))
        self.graph = note_acting(network, self.obs, self.state)


class OwnLesson:
    """Memory of what is seen in B rows of H steps, and the ways forth and back."""

    def __init__(self, network: ByHand, rows: int, horizon: int) -> None:
        policy = network.policy
        self.obs = torch.zeros((rows, horizon, policy.spec.obs_size), dtype=network.sees)
        self.state = torch.zeros((rows, policy.state_size))
        self.reset, self.graphs = torch.zeros((rows, horizon), dtype=torch.bool), (Graph(), Graph())
        self.lesson = network.note(self.graphs[0], self.obs, self.state, self.reset)
        self.lesson.back(self.graphs[1])


class Part:
    """Views of the memory of N steps of an MLP, from what is `seen` (N, F) to the last layer."""

    def __init__(self, network: "ManualMLP", seen: Tensor | Input) -> None:
        n = seen.shape[0]
        self.network, self.seen, self.grads = network, seen, [g[:n] for g in network.grads]
        self._made: list[Tensor] = [*(y[:n] for y in network.hidden), network.said[:n]]
        above = [layer.dtype for layer in network.layers[1:]]
        self._ys = [
            narrowed(y) if dtype == torch.bfloat16 else y
            for y, dtype in zip(self._made, [*above, torch.float32], strict=True)
        ]
        self._taken: Tensor | Input = seen
        self.output = network.output(self._ys[-1])
        self.gradient = network.gradients(self.grads[-1])

    def forth(self, graph: Graph) -> None:
        """Note the way from what is seen to what is said."""
        x = self._taken = self.network.taken(graph, self.seen, self.network.x)
        for layer, y, made in zip(self.network.layers, self._ys, self._made, strict=True):
            layer.forward(graph, x, y, made)
            x = y

    def back(self, graph: Graph) -> None:
        """Note the way from the last gradient to those of the parameters; forth goes before."""
        layers, ys, grads = self.network.layers, self._ys, self.grads
        for i in range(len(layers) - 1, 0, -1):
            layers[i].back(graph, ys[i - 1], ys[i], grads[i], grads[i - 1])
        layers[0].back(graph, self._taken, ys[0], grads[0], None)


class ManualMLP(ByHand):
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
        hidden = [self.dense("first", f, policy.norm), *(self.dense(name, f) for name in above)]
        self.layers = [*hidden, self.last_layer()]
        self.x = self.factors((steps, policy.spec.obs_size))  # where that is not what is seen
        self.grads = [torch.empty((steps, len(layer.bias))) for layer in self.layers]
        self.hidden = [torch.empty_like(grad) for grad in self.grads[:-1]]
        self.refresh()

    def act(self, graph: Graph, obs: Input, state: Tensor | None) -> Output:
        """Obs (N, F): one way forth."""
        part = Part(self, obs)
        part.forth(graph)
        return part.output

    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Obs (B, H, *O) -> output of B * H; more than `at_once` cannot be gone back through."""
        if reset.numel() > self.at_once:
            self._last = None
            return self.forward(obs.flatten(0, 1))[0]
        return super().unroll(obs, state, reset)

    def note(self, graph: Graph, obs: Tensor, state: Tensor | None, reset: Tensor) -> Part:
        """Note the way forth of as many steps as are done at once."""
        part = Part(self, obs.view(reset.numel(), -1))
        part.forth(graph)
        return part
