"""The choice of a policy's backend, the only place in ppo that knows the backends.

Our own networks on a CPU are fused; every other policy runs by autograd. Threads, chunk size and
precision follow from that choice, so they are chosen here too.
"""

import torch

from pufferlib.config.options import PolicyOptions, TrainOptions
from pufferlib.fused import precision
from pufferlib.fused.backend import ActMemory, FusedBackend
from pufferlib.fused.factory import FUSED_NAMES, TRAIN_CHUNK_STEPS, can_fuse
from pufferlib.ops.sample import Sampler
from pufferlib.policies.autocast import Autocast
from pufferlib.policies.base import Policy
from pufferlib.ppo.autograd_backend import AutogradBackend
from pufferlib.ppo.backend import PolicyBackend
from pufferlib.ppo.batch import Batch
from pufferlib.ppo.observations import Observations
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.ppo.recurrent_state import RecurrentState
from pufferlib.runtime.choice import Choice
from pufferlib.runtime.thread_pool import ThreadPool
from pufferlib.runtime.timer import Timer


def train_chunk_steps(options: PolicyOptions, device: torch.device) -> int:
    """Return the steps of a chunk that a thread learns from at a time, 0 for whole minibatches.

    This is needed to choose the number of threads, before there is a policy.
    """
    fused = device.type == "cpu" and options.name in FUSED_NAMES and not options.path
    return TRAIN_CHUNK_STEPS if fused else 0


def make_thread_pool(policy: Policy, threads: int) -> ThreadPool:
    """Start `threads` threads that share chunks of work, or one for a policy run by autograd.

    With several, each operator of torch uses one thread; autograd keeps torch's number of threads.
    """
    pool = ThreadPool(threads if can_fuse(policy) else 1)
    if pool.size > 1:
        torch.set_num_threads(1)
    return pool


def choose_precision(
    given: str, policy: Policy, device: torch.device, steps: int, width: int
) -> Choice[str]:
    """Choose the dtype of products, as fused.precision.choose does."""
    return precision.choose(given, policy, device, steps, width)


def make_backend(
    policy: Policy,
    train: TrainOptions,
    sampler: Sampler,
    observations: Observations,
    states: RecurrentState | None,
    batch: Batch,
    optimizer: Optimizer,
    thread_pool: ThreadPool,
    timer: Timer,
    device: torch.device,
) -> PolicyBackend:
    """Return the backend for `policy`, in the precision `train.precision`."""
    in_bfloat16 = train.precision == "bfloat16"
    if not can_fuse(policy):
        by_autograd = Autocast(policy) if in_bfloat16 else policy
        return AutogradBackend(by_autograd, sampler, batch, timer, device)
    return FusedBackend(
        policy,
        optimizer.thread_grads(),
        optimizer.copy(torch.bfloat16) if in_bfloat16 else None,
        train,
        sampler,
        ActMemory(
            observations.staged,
            None if states is None else states.state,
            None if states is None else states.gathered,
        ),
        batch,
        (batch.sizes.minibatch_sequences, batch.sizes.sequence),
        thread_pool,
        timer,
    )
