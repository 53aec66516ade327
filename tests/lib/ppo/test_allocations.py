"""A rollout in its steady state allocates no memory that grows with the number of agents."""

import tracemalloc

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.support.trainers import make

SLACK = 2000  # bytes of Python's own objects: less than one more per agent of 2,048 than of 32


class Allocations(TorchDispatchMode):
    """Sums the bytes of all memory that operators allocate inside this context."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        known = {memory(x) for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor) and memory(tensor) not in known:
                self.bytes += tensor.untyped_storage().nbytes()
        return out


def memory(tensor):
    return tensor.untyped_storage().data_ptr()


def peak_of(act):
    """Return the peak that numpy and Python allocate in a call, beyond what the last one left."""
    tracemalloc.start()
    act()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    act()
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    return peak


def of_a_step(game, num_envs, **policy):
    """Return the bytes that torch allocates in one step of a rollout, and numpy's peak."""
    trainer = make(game, num_envs=num_envs, horizon=64, policy=policy)
    for _ in range(3):
        trainer.collector.step(1)
    with Allocations() as asked:
        trainer.collector.step(1)
    peak = peak_of(lambda: trainer.collector.step(1))
    trainer.close()
    return asked.bytes, peak


@pytest.mark.parametrize("name", ["mlp", "lstm", "mingru"])
@pytest.mark.parametrize("game", ["cartpole", "breakout", "probe"])
def test_a_rollout_allocates_no_memory_that_grows_with_the_agents(game, name):
    sizes = (32, 512, 2048)  # the last acts in two chunks
    few, many, most = (of_a_step(game, n, name=name) for n in sizes)
    assert few[0] == many[0]
    assert most[0] == few[0]
    assert many[1] < few[1] + SLACK
    assert most[1] < few[1] + SLACK


def of_an_update(game, num_envs):
    """Return the peak that numpy and Python allocate in an update, beyond what they hold before."""
    trainer = make(game, num_envs=num_envs, horizon=16, minibatch_size=2048)
    for _ in range(3):
        trainer.update()
    peak = peak_of(trainer.update)
    trainer.close()
    return peak


@pytest.mark.parametrize("game", ["breakout", "squared"])
def test_an_update_allocates_little_that_grows_with_the_agents(game):
    few, many = (of_an_update(game, n) for n in (1024, 3072))
    assert many < few + 2048 * 32  # bytes; a column of the batch alone would be 64 per agent


def test_memory_that_grows_is_found():
    with Allocations() as asked:
        x = torch.zeros(1000)
        x.view(10, 100).t().add_(1)
        torch.mm(torch.ones(3, 3), torch.ones(3, 3), out=torch.empty(3, 3))
    assert asked.bytes == 4 * (1000 + 3 * 9)
