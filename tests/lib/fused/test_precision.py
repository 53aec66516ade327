"""Products in bfloat16: outputs and gradients near float32's, chosen only if it is faster."""

from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

from pufferlib.cli.main import main
from pufferlib.config import toml_file
from pufferlib.config.options import PolicyOptions
from pufferlib.fused import precision
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import make_fused
from pufferlib.fused.mlp import MLPWorkspace
from pufferlib.ops.output import Output
from pufferlib.ops.ppo_loss import ppo_loss
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.custom import AdaptedModule
from pufferlib.policies.factory import make_policy
from pufferlib.runtime.choice import Choice
from tests.lib.policies.test_autocast import OUTPUT_ERROR, Recording, error
from tests.support.command import SHORT, stop_after
from tests.support.learning import play, train
from tests.support.specs import CONTINUOUS, DISCRETE
from tests.support.trainers import MORTAL, collect, make

pytestmark = pytest.mark.filterwarnings("ignore:batch_rows")

# --- networks ----------------------------------------------------------------------------------

# Relative error of gradients. A relu near 0 may be active in only one of the precisions.
GRADIENT_ERROR = {"tanh": 0.03, "relu": 0.15}
NAMES = ["mlp", "lstm", "mingru"]


def networks(spec: PolicySpec, norm: bool, **options: Any) -> Any:
    """Return a policy, and its fused networks in float32 and bfloat16 with their gradients."""
    chosen = PolicyOptions(hidden_size=48, num_layers=3, **options)
    policy = make_policy(chosen, spec, norm_obs=norm)
    for name, parameter in policy.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0, 0.1)
    rounded = {name: p.detach().bfloat16() for name, p in policy.named_parameters()}
    made = []
    for copies in (None, rounded):
        grads = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
        made.append((EagerRunner(make_fused(policy, grads, 64, copies)), grads))
    return policy, made


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("spec", [DISCRETE, CONTINUOUS])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_is_near_the_one_in_float32(
    name: str, spec: PolicySpec, activation: str, norm: bool
) -> None:
    torch.manual_seed(1)
    policy, made = networks(spec, norm, name=name, activation=activation)
    obs = torch.randint(0, 9, (4, 16, *spec.obs_shape)).to(spec.obs_dtype)
    if policy.norm is not None:  # bfloat16 cannot represent these entries exactly
        obs = obs + (100 if spec.obs_dtype == torch.uint8 else 100_000)
        policy.norm.update(policy.parts.numbers(obs.flatten(0, 1)))
        policy.norm.publish()
    reset, state = torch.rand(4, 16) < 0.1, None
    if policy.state_size:
        state = torch.randn(4, policy.state_size)
    outputs = [network.unroll(obs, state, reset) for network, _ in made]
    for part in Output._fields:
        want, got = (getattr(output, part) for output in outputs)
        if want is None:
            continue
        assert want.dtype == got.dtype == torch.float32
        assert error(got, want) < OUTPUT_ERROR, part
        given = torch.randn(want.shape)
        for network, _ in made:
            getattr(network.gradient(), part).copy_(given)
    before = torch.randn(48, policy.spec.obs_size)
    for network, grads in made:
        grads["first.weight"] += before  # backward passes add to it
        network.backward()
        grads["first.weight"] -= before
    for part in made[0][1]:
        want, got = (grads[part] for _, grads in made)
        assert got.dtype == torch.float32
        assert want.norm() > 0
        assert error(got, want) < GRADIENT_ERROR[activation], part


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_unrolling_gives_what_acting_step_by_step_gives(name: str, norm: bool) -> None:
    torch.manual_seed(1)
    policy, made = networks(CONTINUOUS, norm, name=name)
    if policy.norm is not None:
        policy.norm.update(torch.randn(50, 6) + 3)
        policy.norm.publish()
    network, obs, reset = made[1][0], torch.randn(5, 9, 6), torch.rand(5, 9) < 0.2
    now = torch.randn(5, policy.state_size)
    unrolled = network.unroll(obs, now, reset).value.view(5, 9).clone()
    for t in range(9):
        output, now = network.forward(obs[:, t], torch.where(reset[:, t, None], 0.0, now))
        assert_allclose(unrolled[:, t], output.value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_changed_statistics_take_effect(name: str) -> None:
    torch.manual_seed(1)
    policy, made = networks(CONTINUOUS, True, name=name)
    obs, reset = 100 + torch.randn(4, 16, 6), torch.zeros(4, 16, dtype=torch.bool)
    state = torch.randn(4, policy.state_size) if policy.state_size else None
    for _ in range(2):
        policy.norm.update(obs[0] + 4 * torch.rand(6))
        policy.norm.publish()
        both = [network.forward(obs[:, 0], state)[0].value for network, _ in made]
        both += [network.unroll(obs, state, reset).value.clone() for network, _ in made]
        assert error(both[1], both[0]) < OUTPUT_ERROR and error(both[3], both[2]) < OUTPUT_ERROR


def test_only_the_heads_outputs_have_more_digits_than_bfloat16() -> None:
    _, made = networks(CONTINUOUS, False)
    runner = made[1][0]
    network = runner.network
    assert [layer.dtype for layer in network.layers] == [torch.bfloat16] * 3 + [torch.float32]
    runner.forward(torch.randn(9, 6))
    ys = MLPWorkspace(network, torch.randn(9, 6)).ys
    assert [y.dtype for y in ys] == [torch.bfloat16] * 2 + [torch.float32] * 2
    assert all(grad.dtype == torch.float32 for grad in network.grads)
    for y in (network.hidden[-1][:9], network.outputs[:9]):
        assert (y.bfloat16().float() != y).any()


# --- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("env", [{}, MORTAL])
@pytest.mark.parametrize("name", NAMES)
def test_re_evaluating_with_the_same_weights_gives_what_acting_gave(
    name: str, env: dict[str, Any]
) -> None:
    trainer = make("probe", env=env, precision="bfloat16", policy={"name": name})
    batch = collect(trainer)
    rows = torch.from_numpy(trainer.env.engine.batch()).long()
    obs = torch.from_numpy(trainer.env.arrays["pool_observation"])[rows]
    states = trainer.states
    state = None if states is None else states.row_state[rows]
    reset = torch.from_numpy(trainer.batch._reset(rows.numpy()))
    value = trainer.backend.unroll(obs, state, reset).value
    assert_allclose(value.view(reset.shape), batch["pool_value"], rtol=1e-5, atol=1e-6)
    trainer.close()


def test_weights_stay_float32_and_their_rounded_copies_follow() -> None:
    for name in ("lstm", "mingru"):
        trainer = make("squared", precision="bfloat16", num_envs=8, policy={"name": name})
        before = trainer.policy.input[0].weight.clone()
        trainer.update()
        network, weight = trainer.backend.workers[0].network, trainer.policy.input[0].weight
        assert (weight != before).any()
        assert torch.equal(network.weights[0][0], weight.bfloat16())
        trainer.close()
    trainer = make("squared", precision="bfloat16", num_envs=8)
    assert trainer.train.precision == "bfloat16"
    for _ in range(2):
        trainer.update()
    for name, parameter in trainer.policy.named_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32, name
    layer, copy = trainer.policy.hidden[0], trainer.backend.workers[0].network.layers[1]
    assert torch.equal(copy.effective[0], layer.weight.bfloat16())
    assert (layer.weight != copy.effective[0].float()).any()  # bfloat16 has fewer digits
    tensors, meta = trainer.state()
    assert all(t.dtype != torch.bfloat16 for t in tensors.values())
    changed = {k: t + 0.01 if k == "policy.hidden.0.weight" else t for k, t in tensors.items()}
    trainer.load_state(changed, meta)
    assert torch.equal(copy.effective[0], changed["policy.hidden.0.weight"].bfloat16())
    trainer.close()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_of_a_minibatch_is_near_the_one_in_float32(name: str, threads: int) -> None:
    policy = {"name": name}
    trainer = make("probe", precision="bfloat16", threads=threads, vf_coef=0.01, policy=policy)
    collect(trainer)
    trainer.batch.load(trainer.backend, trainer.version, 1e-4)
    rows = torch.arange(4)
    trainer.learner.minibatch(rows)
    trainer.optimizer.clip()  # adds up the threads' gradients
    got = trainer.optimizer.grads.clone()
    trainer.optimizer.zero_grad()
    minibatch = trainer.batch.minibatch(rows)
    output = trainer.policy.unroll(minibatch.obs, minibatch.state, minibatch.reset)
    loss, _ = ppo_loss(output, minibatch.transitions, trainer.sampler.head_sizes, trainer.train)
    loss.backward()
    want = trainer.optimizer.grads
    assert want.norm() > 0
    assert error(got, want) < GRADIENT_ERROR["relu"]
    trainer.close()


def test_cartpole_is_learned_in_bfloat16() -> None:
    fresh, trained = train("cartpole", 120_000, {"train": {"precision": "bfloat16"}})
    assert play(fresh, "cartpole", 20)["score"].mean < 60
    assert play(trained, "cartpole", 20)["score"].mean > 400


# --- choice of the precision ---------------------------------------------------------------------

CPU = torch.device("cpu")


def chosen(given: str, name: str = "mlp", device: torch.device = CPU) -> Choice[str]:
    policy = make_policy(PolicyOptions(name=name, hidden_size=8), DISCRETE)
    return precision.choose(given, policy, device, 512, 64)


def test_what_is_measured_is_the_product_that_takes_longest() -> None:
    for name, wanted in {
        "mlp": (512, 64, 64),
        "lstm": (128, 128, 256),
        "mingru": (512, 64, 128),
    }.items():
        policy = make_policy(PolicyOptions(name=name, hidden_size=64), DISCRETE)
        assert precision.product_shape(policy, 512, 64) == wanted


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        ("flags\t\t: fpu avx512f avx512_bf16 avx512vl", True),
        ("processor\t: 0\nflags\t\t: fpu amx_tile amx_bf16", True),
        ("Features\t: fp asimd i8mm bf16 bti", True),
        ("flags\t\t: fpu avx512f avx512vl avx512_vnni", False),
        ("model name\t: bf16 avx512_bf16", False),
        ("", False),
    ],
)
def test_the_cpus_flags_say_whether_it_has_bfloat16(tmp_path: Path, flags: str, want: bool) -> None:
    (tmp_path / "cpuinfo").write_text(flags + "\nbugs\t\t: none\n")
    assert precision.supported(tmp_path / "cpuinfo") is want
    assert not precision.supported(tmp_path / "missing")


@pytest.mark.parametrize(("times", "want"), [(2.34, "bfloat16"), (1.2, "float32")])
def test_auto_takes_bfloat16_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, times: float, want: str
) -> None:
    asked = []
    monkeypatch.setattr(precision, "supported", lambda: True)
    monkeypatch.setattr(precision, "measure", lambda *sizes: asked.append(sizes) or times)
    choice = chosen("auto")
    assert (choice.value, asked) == (want, [(512, 64, 64, False)])
    assert f"{times:.1f} times" in choice.reason
    assert chosen("auto", "lstm").value == want
    assert chosen("auto", device=torch.device("cuda")).value == "float32"
    assert chosen("bfloat16", device=torch.device("cuda")) == Choice("bfloat16", "as given")
    assert chosen("float32") == Choice("float32", "as given")
    own = AdaptedModule(DISCRETE, Recording())
    assert precision.choose("auto", own, CPU, 512, 64).value == "float32"
    assert precision.choose("bfloat16", own, CPU, 512, 64) == Choice("bfloat16", "as given")
    assert len(asked) == 2


def test_nothing_is_measured_on_a_cpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "supported", lambda: False)
    monkeypatch.setattr(precision, "measure", None)
    assert chosen("auto") == Choice("float32", "this CPU has no bfloat16")
    assert chosen("bfloat16") == Choice("bfloat16", "emulated: this CPU has none")


def test_bfloat16_is_refused_where_there_is_none() -> None:
    for name in ("lstm", "mingru"):
        policy = make_policy(PolicyOptions(name=name, activation="gelu"), DISCRETE)
        with pytest.raises(ValueError, match=r"train.precision='bfloat16' with .*: recurrent"):
            precision.choose("bfloat16", policy, CPU, 512, 64)
        assert chosen("bfloat16", name).value == "bfloat16"
        policy = make_policy(PolicyOptions(name=name), DISCRETE)
        policy.heads.out.bias.requires_grad_(False)  # so that the policy cannot be fused
        with pytest.raises(ValueError, match=r"train.precision='bfloat16' with .*: recurrent"):
            precision.choose("bfloat16", policy, CPU, 512, 64)


def test_measuring_gives_a_ratio_of_forward_and_backward_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 0 < precision.measure(32, 16, 8) < 1000

    def seconds(replay: Any, min_seconds: float, clock: Any) -> float:
        graph = replay.__self__
        assert len(graph) == 5  # a product and a kernel, a kernel and two products
        return 3.0 if next(iter(graph.products)).left.dtype == torch.float32 else 2.0

    monkeypatch.setattr(precision, "seconds_of", seconds)
    assert precision.measure(32, 16, 8) == 1.5


def test_a_network_that_autocast_runs_is_measured_as_torch_multiplies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    monkeypatch.setattr(precision, "supported", lambda: True)
    monkeypatch.setattr(precision, "measure", lambda *given: seen.append(given[3]) or 2.0)
    gelu = {"activation": "gelu"}
    for options in ({}, gelu):
        policy = make_policy(PolicyOptions(**options), DISCRETE)
        assert precision.choose("auto", policy, CPU, 512, 64).value == "bfloat16"
    assert seen == [False, True]
    policy = make_policy(PolicyOptions(name="lstm", **gelu), DISCRETE)
    assert precision.choose("auto", policy, CPU, 512, 64).value == "float32"


def test_a_cnn_is_measured_as_a_whole_and_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = PolicySpec((12, 12, 3), torch.uint8, (3,), (-1.0,), (1.0,))
    policy = make_policy(PolicyOptions(name="cnn", hidden_size=8), picture)
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    ran: list[bool] = []
    forward = policy.first.forward

    def recorded(*given: Any) -> torch.Tensor:
        ran.append(torch.is_autocast_enabled("cpu"))
        return forward(*given)

    def seconds(passes: Any, min_seconds: float, clock: Any) -> float:
        passes()
        return 2.0 if ran[-1] else 5.0

    monkeypatch.setattr(policy.first, "forward", recorded)
    monkeypatch.setattr(precision, "supported", lambda: True)
    monkeypatch.setattr(precision, "seconds_of", seconds)
    choice = precision.choose("auto", policy, CPU, 512, 64)
    assert choice == Choice("bfloat16", "2.5 times as fast")
    assert ran == [False, True] * precision.ROUNDS
    assert all(parameter.grad is None for parameter in policy.parameters())
    torch.testing.assert_close(dict(policy.state_dict()), before)


def test_a_run_goes_on_as_it_began(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = Choice("bfloat16", "9.0 times as fast")
    words = [word for word in SHORT if not word.startswith("--train.precision")]
    with monkeypatch.context() as patch:
        patch.setattr(precision, "choose", lambda *given: begun)
        stop_after(patch, 2)
        assert main(["train", "squared", "--name", "x", *words]) == 130
    assert "bfloat16 (9.0 times as fast)" in capsys.readouterr().out
    assert toml_file.read("runs/squared/x/config.toml")["train"]["precision"] == "bfloat16"
    monkeypatch.setattr(precision, "supported", lambda: False)
    assert main(["train", "--resume", "runs/squared/x"]) == 0
    assert "bfloat16 (emulated: this CPU has none)" in capsys.readouterr().out
    again = ["--config", "runs/squared/x/config.toml", "--name", "y"]
    assert main(["train", *again]) == 0
    assert toml_file.read("runs/squared/y/config.toml")["train"]["precision"] == "bfloat16"
