"""AutogradBackend: any policy, on a CPU or a GPU, by torch operators and autograd."""

import torch
from torch import Tensor

from pufferlib.config.options import TrainOptions
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import AdvantageNormalization, LossStats, ppo_loss
from pufferlib.ops.sample import Sampler
from pufferlib.policies.base import Policy
from pufferlib.ppo.batch import Batch
from pufferlib.runtime.chunks import Agents, chunks, select_agents
from pufferlib.runtime.graph import EAGER
from pufferlib.runtime.tensors import Array, as_array
from pufferlib.runtime.timer import Timer

AUTOGRAD_CHUNK = 8192  # agents that a CPU acts for at a time; a GPU acts for all


class AutogradBackend:
    """A PolicyBackend that calls the policy directly. Minibatches come from `batch`."""

    def __init__(
        self, policy: Policy, sampler: Sampler, batch: Batch, timer: Timer, device: torch.device
    ) -> None:
        self.policy = policy
        self._sampler, self._batch, self._timer = sampler, batch, timer
        self._device, self._on_cpu = device, device.type == "cpu"
        size = batch.sizes.minibatch_sequences
        self._buffer = batch.buffer(size) if self._on_cpu else None  # reused by every minibatch

    def sync_weights(self) -> None:
        """Do nothing: the policy itself acts."""

    @torch.no_grad()
    def act(self, obs: Array, agents: Agents, state: Tensor | None, version: int) -> None:
        """Act as PolicyBackend.act, chunk by chunk."""
        count, on_device = len(obs), self._to_device(obs)
        for chunk in chunks(count, AUTOGRAD_CHUNK if self._on_cpu else count):
            self._timer.enter("forward")
            output, new = self.policy(on_device[chunk], None if state is None else state[chunk])
            self._timer.enter("sample")
            self._sampler.record(EAGER, output, select_agents(agents, chunk), version=version)
            if state is not None and new is not None:
                state[chunk] = new

    @torch.no_grad()
    def evaluate(self, obs: Array, state: Tensor | None, out: Array, places: Array) -> None:
        """Write values as PolicyBackend.evaluate."""
        out[places] = as_array(self.policy(self._to_device(obs), state)[0].value.cpu())

    @torch.no_grad()
    def unroll(self, obs: Tensor, state: Tensor | None, reset: Tensor) -> Output:
        """Return the output as PolicyBackend.unroll."""
        return self.policy.unroll(obs, state, reset)

    def loss_and_grad(
        self, part: Tensor, normalization: AdvantageNormalization, train: TrainOptions
    ) -> LossStats:
        """Gather the minibatch, unroll the policy, and run autograd's backward pass."""
        minibatch = self._batch.minibatch(part, self._buffer)
        self._timer.enter("loss_backward")
        output = self.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
        loss, stats = ppo_loss(
            output, minibatch.transitions, self._sampler.head_sizes, train, normalization
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return stats

    def _to_device(self, obs: Array) -> Tensor:
        """Return observations on the policy's device: the same memory on a CPU, a copy on a GPU."""
        return torch.from_numpy(obs).to(self._device, non_blocking=True)
