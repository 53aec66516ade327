"""The roofline: counted operations match the layers' formulas and determine the roofline."""

import pytest
import torch

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.factory import make_fused
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.custom import AdaptedModule
from pufferlib.policies.factory import make_policy
from pufferlib.profiling import bench
from pufferlib.profiling.roofline import (
    Counter,
    Operand,
    Roofline,
    count_acting,
    count_learning,
    recorded_products,
)
from pufferlib.runtime.graph import Graph
from pufferlib.runtime.timer import SECTIONS
from tests.lib.runtime.test_timer import Clock
from tests.support.trainers import make

BREAKOUT = PolicySpec((118,), torch.float32, (3,), (), ())
ROWS, HORIZON, AGENTS = 3, 4, 5


def counted(policy, obs_shape=(118,)):
    """Return the operations of acting for one step and of learning from one step."""
    act = count_acting(policy, torch.randn(AGENTS, *obs_shape))
    learn = count_learning(policy, torch.randn(ROWS, HORIZON, *obs_shape))
    roof = Roofline(act, AGENTS, learn, ROWS * HORIZON, 1)
    return roof.flops("act"), roof.flops("learn")


# Operations of a layer (inputs, outputs): one product forward, two for the gradients.
FORWARD = {
    "mlp": [(118, 128), (128, 128), (128, 4)],
    "lstm": [(118, 128), (128, 512), (128, 512), (128, 4)],
    "mingru": [(118, 128), (128, 256), (128, 4)],
}


@pytest.mark.parametrize("name", FORWARD)
def test_operations_are_those_of_the_layers(name):
    made = make_policy(PolicyOptions(name=name, hidden_size=128, num_layers=2), BREAKOUT)
    forward = 2 * sum(i * o for i, o in FORWARD[name])
    first = 2 * 118 * 128  # there is no gradient of the observations
    assert counted(made) == (forward, 3 * forward - first)


def test_breakouts_mlp_costs_what_the_documents_say():
    assert counted(make_policy(PolicyOptions(hidden_size=128, num_layers=2), BREAKOUT)) == (
        64_000,
        161_792,
    )


class Picture(torch.nn.Module):
    """A user's module with a convolution of 3 x 3 from 2 to 4 channels: 6 x 6 becomes 4 x 4."""

    def __init__(self):
        super().__init__()
        self.look = torch.nn.Conv2d(2, 4, 3)
        self.logits, self.value = torch.nn.Linear(64, 3), torch.nn.Linear(64, 1)

    def forward(self, obs):
        hidden = self.look(obs).relu().flatten(1)
        return self.logits(hidden), self.value(hidden)


def test_an_mlp_without_autograd_needs_the_same_operations():
    policy = make_policy(PolicyOptions(hidden_size=128, num_layers=2), BREAKOUT)
    network = make_fused(policy, {n: torch.zeros_like(p) for n, p in policy.named_parameters()})
    act = count_acting(policy, torch.randn(AGENTS, 118), network)
    learn = count_learning(policy, torch.randn(ROWS, HORIZON, 118), network)
    roof = Roofline(act, AGENTS, learn, ROWS * HORIZON, 1)
    assert (roof.flops("act"), roof.flops("learn")) == (64_000, 161_792)


def test_a_module_of_ones_own_is_counted_too():
    policy = AdaptedModule(BREAKOUT, Picture())
    look, heads = 2 * 16 * 4 * 2 * 9, 2 * 64 * 4
    assert counted(policy, (2, 6, 6)) == (look + heads, 2 * look + 3 * heads)


class Remembering(torch.nn.Module):
    """A user's module whose products torch runs inside one operator that it cannot count."""

    def __init__(self):
        super().__init__()
        self.look = torch.nn.Linear(118, 8)
        self.heads = torch.nn.Linear(8, 4)

    def forward(self, obs):
        x = self.look(obs)[None, None]
        x = torch.nn.functional.scaled_dot_product_attention(x, x, x)[0, 0]
        return self.heads(x)[:, :3], self.heads(x)[:, 3]


def test_operators_that_cannot_be_counted_are_named():
    policy = AdaptedModule(BREAKOUT, Remembering())
    act = count_acting(policy, torch.randn(AGENTS, 118))
    learn = count_learning(policy, torch.randn(ROWS, HORIZON, 118))
    roof = Roofline(act, AGENTS, learn, ROWS * HORIZON, 1)
    report = roof.report(1000.0)
    assert list(report) == ["roofline"]
    assert "unknown" in report["roofline"] and "attention" in report["roofline"]


def test_counting_leaves_gradients_as_they_were():
    policy = make_policy(PolicyOptions(), BREAKOUT)
    policy.first.bias.grad = torch.full_like(policy.first.bias, 7)
    count_learning(policy, torch.randn(ROWS, HORIZON, 118))
    assert policy.first.bias.grad.eq(7).all()
    assert policy.first.weight.grad is None


def test_the_roofline_follows_from_operations_and_speed(monkeypatch):
    policy = make_policy(PolicyOptions(hidden_size=128, num_layers=2), BREAKOUT)
    act = count_acting(policy, torch.randn(AGENTS, 118))
    learn = count_learning(policy, torch.randn(ROWS, HORIZON, 118))
    roof = Roofline(act, AGENTS, learn, ROWS * HORIZON, epochs=3)
    flops = {product.run: product.flops for part in roof.passes.values() for product in part}
    for slowness in (1, 4, 2):  # the median counts: 2, so half a GFLOP/s
        monkeypatch.setattr(roof, "_time", lambda run, s=slowness: s * flops[run] / 1e9)
        roof.measure()
    report = roof.report(steps_per_second=500.0)
    needed = 64_000 + 3 * 161_792
    assert report["flops_per_step"]["all"] == pytest.approx(needed)
    assert list(report["gemm_gflops"].values()) == pytest.approx([0.5] * len(report["gemm_gflops"]))
    assert report["roofline"] == pytest.approx(0.5e9 / needed)
    assert report["reached"] == pytest.approx(500 / report["roofline"])
    roof.threads = 2  # each takes chunks of the work
    assert roof.report(500.0)["roofline"] == pytest.approx(2 * report["roofline"])


@pytest.mark.parametrize("shape, stride", [((3, 4), (4, 1)), ((4, 3), (1, 4)), ((2, 5), (640, 1))])
def test_operands_are_made_as_they_lay(shape, stride):
    made = Operand(shape, stride, torch.float32, torch.device("cpu")).make()
    assert (tuple(made.shape), made.stride()) == (shape, stride)
    assert len(made.unique()) == made.numel()


# For each section of the loop: the function that runs it, and the seconds of each call on the
# test's clock; for sections that graphs run, the seconds of each graph.
SECTION_CALLS = {
    "env": ("env.step", 3.0),
    "forward": ("runner.forward", 2.0),
    "sample": ("", 0.5),
    "copy": ("", 0.25),
    "advantage": ("batch._reevaluate", 5.0),
    "loss_backward": ("", 7.0),
    "optimizer": ("optimizer.step", 1.5),
    "other": ("env.log", 0.125),
}


def test_parts_of_known_length_are_found_again_in_the_loop(monkeypatch):
    trainer = make("squared", policy={"name": "lstm"}, num_envs=4, horizon=8)
    clock = Clock()
    trainer.timer.__init__(clock=clock)  # the one that all parts of the trainer share
    calls = dict.fromkeys(SECTION_CALLS, 0)

    def take(part, real, seconds):
        def run(*args, **kwargs):
            calls[part] += 1
            clock.now += seconds
            return real(*args, **kwargs)

        return run

    def run_plan(plan):
        real(plan)
        timed = [part for part in plan.names if part != "optimizer"]  # which times itself
        for part in timed:
            calls[part] += 1
            clock.now += SECTION_CALLS[part][1]
        return {part: SECTION_CALLS[part][1] * timed.count(part) for part in timed}

    runner, real = trainer.backend.runner, trainer.thread_pool.run
    monkeypatch.setattr(trainer.thread_pool, "run", run_plan)
    for part, (path, seconds) in SECTION_CALLS.items():
        if not path:
            continue
        owner, name = path.split(".")
        owner = runner if owner == "runner" else getattr(trainer, owner)
        monkeypatch.setattr(owner, name, take(part, getattr(owner, name), seconds))
    trainer.update()
    roof = bench.roofline(trainer)
    rounds, products = [], sum(map(len, roof.passes.values()))
    calls.update(dict.fromkeys(SECTION_CALLS, 0))

    def time_product(run):
        rounds.append(1 / products)
        clock.now += 1000  # not a part of the loop
        return 0.25

    monkeypatch.setattr(roof, "_time", time_product)
    begin = clock.now
    report = bench.measure(trainer, roof, seconds=500, clock=clock)
    trainer.close()

    seconds = report["seconds"]
    for part in set(SECTIONS) - {"log"}:
        assert seconds[part] == calls[part] * SECTION_CALLS[part][1] > 0, part
    assert calls["optimizer"] == round(sum(rounds)) * 2 * 4  # updates, epochs, minibatches
    assert seconds["sum"] == seconds["clock"] == clock.now - begin - 1000 * len(rounds)


def test_products_of_bfloat16_that_are_torchs_are_measured_as_torchs():
    left, right = torch.randn(2, 4, 8, 8).bfloat16()
    with Counter() as counter:
        torch.bmm(left, right)
        torch.mm(left[0], right[0])
    for product in counter.products():
        assert product.run().dtype == torch.bfloat16
    graph = Graph()
    graph.product(left[0], right[0], torch.empty(8, 8))
    (product,) = recorded_products(graph)
    assert product.run() is None  # it replays a graph
    assert product.flops == 2 * 8**3
