"""FusedBackend: acting and learning on a CPU by recorded graphs that threads share.

Acting: each thread replays its stream of an ActGraph, for a share of the agents. Learning: the
sequences of a minibatch are divided among the threads. Each gathers its own and runs forward, loss
and backward, chunk by chunk in memory that stays in its core's cache, and sums its own gradients,
which the optimizer adds up in a fixed order. Results depend on the number of threads, never on
timing. Chunks use the count and the advantage normalization of the whole minibatch, so that their
gradients sum to the minibatch's.

Letters: A all agents, N of them act, Q sequences of a batch, m of a minibatch, F entries of an
observation *O, S entries of a recurrent state.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import chunk_sequences, make_fused
from pufferlib.fused.network import AGENT_GRANULARITY, FusedNetwork
from pufferlib.kernels._kernels import LossParams, SampleParams
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import AdvantageNormalization, LossStats, record_loss
from pufferlib.ops.sample import Sampler
from pufferlib.policies.base import Policy
from pufferlib.runtime.chunks import Agents, chunks, num_agents, select_agents
from pufferlib.runtime.graph import Executor, Graph, GraphInput
from pufferlib.runtime.tensors import Array, as_array
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool
from pufferlib.runtime.timer import Timer

MIN_AGENTS_PER_THREAD = 256  # agents for which waking another thread pays off
MAX_LIVE_COUNTS = 32  # number of different counts of live agents to record graphs for
MAX_LIVE_GRAPHS = 16  # number of these graphs to keep


class MinibatchSource(Protocol):
    """The source of minibatches: the part of ppo.batch.Batch that is used here."""

    sequences: npt.NDArray[np.int32]  # (Q,) the batch's sequences of the pool

    def buffer(self, size: int, obs_dtype: torch.dtype | None = None) -> Any:
        """Allocate a MinibatchBuffer for up to `size` sequences."""

    def gather(self, executor: Executor, buffer: Any, sequences: npt.NDArray[np.int32]) -> Any:
        """Gather these sequences (m,) of the pool into `buffer`, or record that on a graph."""


class ActMemory(NamedTuple):
    """The memory that graphs for acting read and write, at fixed addresses."""

    obs: Array  # (A, *O) gathered observations, of which N are in use
    state: Tensor | None  # (A, S) all agents' states
    gathered_state: Tensor | None  # (A, S) gathered states, of which N are in use


class Worker(NamedTuple):
    """One thread's network, and the memory it learns in."""

    network: FusedNetwork
    buffer: Any  # MinibatchBuffer of a chunk
    metrics: npt.NDArray[np.float64]  # (7,) LossStats summed over its chunks


class FusedBackend:
    """A PolicyBackend for policies that `can_fuse` accepts, with one network per thread.

    `grads`: for each thread, the gradients that it adds to, by parameter name. `rounded`: bfloat16
    copies of the parameters, by name, if products take these. `minibatch_shape`: the most
    sequences of a minibatch, and the steps of each.
    """

    def __init__(
        self,
        policy: Policy,
        grads: Sequence[Mapping[str, Tensor]],
        rounded: Mapping[str, Tensor] | None,
        train: TrainOptions,
        sampler: Sampler,
        memory: ActMemory,
        batch: MinibatchSource,
        minibatch_shape: tuple[int, int],
        thread_pool: ThreadPool,
        timer: Timer,
    ) -> None:
        self.policy, self._rounded, self._train = policy, rounded, train
        self._sampler, self._memory, self.batch = sampler, memory, batch
        self._thread_pool, self._timer = thread_pool, timer

        # Workers. The results of a chunk fit in a core's cache.
        most, steps = minibatch_shape
        share = -(-most // thread_pool.size)
        self.chunk_sequences = min(most, chunk_sequences(policy, steps, share))
        self._metrics = np.zeros((thread_pool.size, len(LossStats._fields)))
        self.workers: list[Worker] = []
        for own_grads, metrics in zip(grads, self._metrics, strict=True):
            network = make_fused(policy, own_grads, self.chunk_sequences * steps, rounded)
            assert network is not None, "only policies that can_fuse accepts have this backend"
            buffer = batch.buffer(self.chunk_sequences, network.input_dtype)
            self.workers.append(Worker(network, buffer, metrics))
        self.runner = EagerRunner(self.workers[0].network)  # evaluates and re-evaluates

        # Learning. The recorded graphs read the minibatch's sequences and loss parameters here.
        self._sequences = np.zeros(most, np.int32)  # sequences of the pool
        self._loss_params = LossParams()
        self._train_plan = functools.lru_cache(maxsize=2)(self._record_minibatch)

        # Acting. There are graphs of consecutive agents, and of the first N agents in `_live`. To
        # record few of the latter, N is rounded up; outputs past the live agents are discarded.
        agents = len(memory.obs)
        self._obs = memory.obs.reshape(agents, -1)  # (A, F)
        self._obs_dtype = torch.from_numpy(self._obs).dtype
        self._live = np.zeros(agents, np.int32)
        self._granularity = AGENT_GRANULARITY * -(-agents // (AGENT_GRANULARITY * MAX_LIVE_COUNTS))
        self._slice_graph = functools.cache(self._record_slice)
        self._live_graph = functools.lru_cache(maxsize=MAX_LIVE_GRAPHS)(self._record_live)

    def sync_weights(self) -> None:
        """Copy the current weights into what every network computes from them."""
        for worker in self.workers:
            worker.network.sync_weights()

    def act(self, obs: Array, agents: Agents, state: Tensor | None, version: int) -> None:
        """Act as PolicyBackend.act; each thread replays the stream of its share of the agents."""
        n = num_agents(agents)
        if isinstance(agents, slice):
            graph = self._slice_graph(agents.start, agents.stop)
            graph.obs.bind(obs.reshape(n, -1))
        else:  # the graph reads ActMemory, of which `obs` and `state` are the first N
            self._live[:n] = agents
            share, step = -(-n // self._num_threads(n)), self._granularity
            graph = self._live_graph(*(-(-count // step) * step for count in (share, n)))
        graph.set(version, n)
        self._timer.enter("forward")
        # Only meanwhile: threads that envs start would inherit the calling thread's core.
        with self._thread_pool.on_first_core():
            seconds = self._thread_pool.run(graph.plan)
        self._timer.reassign(seconds)

    @torch.no_grad()
    def evaluate(self, obs: Array, state: Tensor | None, out: Array, places: Array) -> None:
        """Write values as PolicyBackend.evaluate, on one thread."""
        for chunk in chunks(len(obs), self.runner.network.chunk_size):
            own = None if state is None else state[chunk]
            output, _ = self.runner.evaluate(torch.from_numpy(obs[chunk]), own)
            out[places[chunk]] = as_array(output.value)

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Return the output as PolicyBackend.unroll.

        In float32 the policy computes it; in bfloat16 the fused network, which rounds as in acting.
        """
        if self._rounded is None:
            return self.policy.unroll(obs, state, reset)
        return self.runner.unroll(obs, state, reset)

    def loss_and_grad(
        self, part: Tensor, normalization: AdvantageNormalization, train: TrainOptions
    ) -> LossStats:
        """Replay the minibatch's graphs, each thread for its share of the sequences."""
        count = len(part)
        self._sequences[:count] = self.batch.sequences[part.numpy()]
        normalization.set_params(self._loss_params, train)
        plan = self._train_plan(count)
        workers = self.workers[: len(plan)]
        self._metrics.fill(0)
        for worker in workers:
            worker.network.sync_weights()
            worker.network.zero_folded_grads()
        self._timer.enter("loss_backward")
        self._timer.reassign(self._thread_pool.run(plan))
        for worker in workers:
            worker.network.unfold_grads()
        return LossStats(*self._metrics.sum(0).tolist())

    def _num_threads(self, count: int) -> int:
        """Return how many threads act for `count` agents."""
        return max(1, min(len(self.workers), count // MIN_AGENTS_PER_THREAD))

    def _record_slice(self, begin: int, end: int) -> "ActGraph":
        """Record the graph of agents [begin, end); `obs` is bound before each replay."""
        n, state = end - begin, self._memory.state
        obs = GraphInput(n, self._obs.shape[1], self._obs_dtype)
        own = None if state is None else state[begin:end]
        networks, share = [worker.network for worker in self.workers], -(-n // self._num_threads(n))
        return ActGraph(networks, self._sampler, obs, own, slice(begin, end), share)

    def _record_live(self, share: int, count: int) -> "ActGraph":
        """Record the graph of the first `count` agents in `_live`, each thread for `share`."""
        count = min(count, len(self._obs))
        obs = GraphInput(count, self._obs.shape[1], self._obs_dtype)
        obs.bind(self._obs[:count])
        networks, state = [worker.network for worker in self.workers], self._memory.gathered_state
        return ActGraph(networks, self._sampler, obs, state, self._live, share)

    def _record_minibatch(self, count: int) -> LaunchPlan:
        """Record each thread's stream for a minibatch of `count` sequences."""
        threads = min(self._thread_pool.size, -(-count // self.chunk_sequences))
        shares = np.array_split(np.arange(count), threads)
        return LaunchPlan(
            [
                self._record_share(worker, share[0], share[-1] + 1)
                for worker, share in zip(self.workers, shares, strict=False)
            ]
        )

    def _record_share(self, worker: Worker, begin: int, end: int) -> list[tuple[str, Graph]]:
        """Record the stream of a worker for sequences [begin, end) of the minibatch."""
        learn = functools.cache(functools.partial(self._record_chunk, worker))  # one for each size
        stream: list[tuple[str, Graph]] = []
        for chunk in chunks(end - begin, self.chunk_sequences):
            copy = Graph()
            taken = self._sequences[begin + chunk.start : begin + chunk.stop]
            self.batch.gather(copy, worker.buffer, taken)
            stream += [("copy", copy), ("loss_backward", learn(len(taken)))]
        return stream

    def _record_chunk(self, worker: Worker, count: int) -> Graph:
        """Record forward, loss and backward of the first `count` sequences in a worker's buffer."""
        graph, (minibatch, _) = Graph(), worker.buffer.views(count)
        workspace = worker.network.record_unroll(
            graph, minibatch.obs, minibatch.state, minibatch.reset
        )
        record_loss(
            graph,
            workspace.output,
            workspace.gradient,
            minibatch.transitions,
            self._sampler.head_sizes,
            self._train,
            self._loss_params,
            worker.metrics,
        )
        workspace.backward(graph)
        return graph


class ActGraph:
    """The recorded graphs in which N agents act once: `share` agents a thread, chunk by chunk.

    A replay reads `obs` (N, F) and `state` (N, S) or more rows, and overwrites `state` with the new
    states. `agents` are N consecutive ones, or an array whose first N indices a replay reads.
    """

    def __init__(
        self,
        networks: Sequence[FusedNetwork],
        sampler: Sampler,
        obs: GraphInput,
        state: Tensor | None,
        agents: Agents,
        share: int,
    ) -> None:
        self.obs = obs
        shares = list(zip(networks, chunks(obs.shape[0], share), strict=False))
        places = [
            slice(part.start + chunk.start, part.start + chunk.stop)
            for network, part in shares
            for chunk in chunks(part.stop - part.start, network.chunk_size)
        ]
        self._params = [(place, SampleParams()) for place in places]
        streams: list[list[tuple[str, Graph]]] = [[] for _ in shares]
        for place, params in self._params:
            i = place.start // share
            forward, sample = Graph(), Graph()
            own = None if state is None else state[place]
            output = networks[i].record_act(forward, obs.rows(place.start, place.stop), own)
            sampler.record(sample, output, select_agents(agents, place), params=params)
            streams[i] += [("forward", forward), ("sample", sample)]
        self.plan = LaunchPlan(streams)

    def set(self, version: int, count: int) -> None:
        """Let the next replays act for the first `count` agents, with weights of this version."""
        for place, params in self._params:
            num_acting = min(max(count - place.start, 0), place.stop - place.start)
            params.set(version=version, num_acting=num_acting)
