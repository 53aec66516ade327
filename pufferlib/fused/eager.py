"""EagerRunner: a fused network called like a policy, for evaluation, re-evaluation and tests.

Inputs are copied into memory that recorded graphs read; one graph is recorded for each size.
Letters as in network.py.
"""

import functools

import torch
from torch import Tensor

from pufferlib.fused.network import AGENT_GRANULARITY, FusedNetwork, record_forward
from pufferlib.ops.output import Output
from pufferlib.runtime.graph import Graph


class EagerRunner:
    """Calls a fused network on given tensors, with `Policy`'s arguments and results."""

    def __init__(self, network: FusedNetwork) -> None:
        self.network = network
        self._act_buffers = functools.lru_cache(maxsize=16)(functools.partial(ActBuffers, network))
        self._unroll_buffers = functools.lru_cache(maxsize=2)(
            functools.partial(UnrollBuffers, network)
        )
        self._last: UnrollBuffers | None = None  # of the last unroll, for `backward`

    @torch.no_grad()
    def forward(self, obs: Tensor, state: Tensor | None = None) -> tuple[Output, Tensor | None]:
        """Act once: obs (N, *O), state (N, S) or None -> output of N, new state (N, S)."""
        network, chunk = self.network, self.network.chunk_size
        network.sync_weights()
        outputs = torch.empty((len(obs), network.num_outputs))
        new = None if state is None else torch.empty_like(state)
        for begin in range(0, len(obs), chunk):
            part = slice(begin, begin + chunk)
            _, after = self.evaluate(obs[part], None if state is None else state[part])
            outputs[part] = network.outputs[: len(obs[part])]
            if new is not None:
                new[part] = after
        return network.split_heads(outputs), new

    @torch.no_grad()
    def evaluate(self, obs: Tensor, state: Tensor | None) -> tuple[Output, Tensor]:
        """Return what `forward` returns, for at most `chunk_size` observations.

        Folded weights are those of the last `sync_weights`. The next call overwrites the results.
        """
        n = len(obs)
        buffers = self._act_buffers(-(-n // AGENT_GRANULARITY) * AGENT_GRANULARITY, obs.dtype)
        buffers.obs[:n] = obs.reshape(n, -1)
        if state is not None:
            buffers.state[:n] = state
        buffers.graph.replay()
        return self.network.split_heads(self.network.outputs[:n]), buffers.state[:n]

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Act H times: obs (B, H, *O), state (B, S) or None, reset (B, H) bool -> output of B * H.

        The next call overwrites the result. `gradient` and `backward` refer to the last call; it
        has no backward pass if it has more than `network.max_unroll` steps.
        """
        limit = self.network.max_unroll
        if limit is not None and reset.numel() > limit:  # feed-forward: steps are independent
            self._last = None
            return self.forward(obs.flatten(0, 1))[0]
        self._last = buffers = self._unroll_buffers(*reset.shape)
        buffers.obs.copy_(obs.view(buffers.obs.shape))
        buffers.reset.copy_(reset)
        if state is not None:
            buffers.state.copy_(state)
        self.network.sync_weights()
        buffers.forward.replay()
        return buffers.workspace.output

    def gradient(self) -> Output:
        """Return the memory for dL/d(output) of the last `unroll`; log_std's accumulates."""
        return self._unrolled().workspace.gradient

    @torch.no_grad()
    def backward(self) -> None:
        """Accumulate the gradients of all parameters from dL/d(output) in `gradient()`."""
        self.network.zero_folded_grads()
        self._unrolled().backward.replay()
        self.network.unfold_grads()

    def _unrolled(self) -> "UnrollBuffers":
        if self._last is None:
            raise RuntimeError(
                "there is no forward pass to differentiate: call unroll() first, with no more "
                f"than {self.network.max_unroll} steps"
            )
        return self._last


class ActBuffers:
    """Observations and states of N agents, and the graph of one forward pass."""

    def __init__(self, network: FusedNetwork, agents: int, dtype: torch.dtype) -> None:
        agents = min(agents, network.chunk_size)
        self.obs = torch.zeros((agents, network.policy.spec.obs_size), dtype=dtype)
        self.state = torch.zeros((agents, network.policy.state_size))
        self.graph = record_forward(network, self.obs, self.state)


class UnrollBuffers:
    """B rows of H steps, and the graphs of their forward and backward passes."""

    def __init__(self, network: FusedNetwork, rows: int, horizon: int) -> None:
        policy, self.forward, self.backward = network.policy, Graph(), Graph()
        self.obs = torch.zeros((rows, horizon, policy.spec.obs_size), dtype=network.input_dtype)
        self.state = torch.zeros((rows, policy.state_size))
        self.reset = torch.zeros((rows, horizon), dtype=torch.bool)
        self.workspace = network.record_unroll(self.forward, self.obs, self.state, self.reset)
        self.workspace.backward(self.backward)
