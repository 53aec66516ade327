"""Graphs: a replay does what the recorded calls do when they are run eagerly."""

import ctypes
import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferlib.config.options import PolicyOptions
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.factory import make_fused
from pufferlib.kernels import _kernels
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.runtime import blas
from pufferlib.runtime.graph import EAGER, Graph, GraphInput

SPEC = PolicySpec((6,), torch.float32, (5, 2), (-2.0,), (2.0,))


@pytest.fixture
def native_products() -> None:
    if not blas.gemm_dtypes():
        pytest.skip("torch's library here does not export its sgemm: graphs multiply through torch")


def matrix(
    rows: int,
    columns: int,
    transposed: bool = False,
    apart: int = 0,
    dtype: torch.dtype = torch.float,
) -> torch.Tensor:
    """Return a random matrix with `apart` floats between its lines."""
    lines, width = (columns, rows) if transposed else (rows, columns)
    made = torch.randn(lines, width + apart).to(dtype)[:, :width]
    return made.t() if transposed else made


@settings(deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 9)] * 3),
    transposed=st.tuples(st.booleans(), st.booleans()),
    apart=st.tuples(*[st.integers(0, 3)] * 3),
    add=st.booleans(),
    bound=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_product_is_torchs_whatever_way_its_factors_lie(
    sizes, transposed, apart, add, bound, dtype
):
    n, f, d = sizes
    bound = bound and dtype == torch.float32
    left = matrix(n, f, transposed=transposed[0] and not bound, apart=apart[0], dtype=dtype)
    right = matrix(f, d, transposed=transposed[1], apart=apart[1], dtype=dtype)
    out = matrix(n, d, apart=apart[2])
    wanted, around = left.float() @ right.float() + (out if add else 0), out.clone()
    recorded, changing = Graph(), GraphInput(n, f, torch.float32)
    recorded.product(changing if bound else left, right, out, add=add)
    assert torch.equal(out, around)  # recorded, not run
    changing.bind(np.full((n, f), np.nan, np.float32))
    changing.bind(left.numpy() if bound else np.zeros((n, f), np.float32))
    recorded.replay()
    near = 1e-5 if dtype in blas.gemm_dtypes() else 0.03  # torch rounds sums to bfloat16
    torch.testing.assert_close(out, wanted, atol=near, rtol=near)


def overlapping():
    """Return a matrix (2, 2) whose second row begins inside the first."""
    return np.lib.stride_tricks.as_strided(np.zeros(3, np.float32), (2, 2), (4, 4))


def changing(dtype):
    """Return a function that creates a GraphInput (2, 3) or (3, 2), depending on its place."""
    return lambda shape: _kernels.GraphInput(*shape, dtype)


@pytest.mark.usefixtures("native_products")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"right": np.zeros((4, 2), np.float32)}, r"right: expected 3 rows, got shape \(4, 2\)"),
        ({"left": np.zeros((2, 3))}, r"left: expected float32 or bfloat16 .*, got float64"),
        ({"left": np.zeros((2, 3), np.uint16)}, r"right: expected bfloat16 .* two dim.*float32"),
        ({"right": np.zeros((3, 2), np.uint16)}, r"right: expected float32 of two dimensions"),
        ({"left": np.zeros((4, 6), np.float32)[::2, ::2]}, "left: neither its rows nor"),
        ({"left": np.broadcast_to(np.float32(1), (2, 3))}, "left: neither its rows nor"),
        ({"left": np.broadcast_to(np.ones(3, np.float32), (2, 3))}, "left: its lines overlap"),
        ({"left": memoryview(b"123456").cast("B", (2, 3))}, r"left: expected float32 or .*uint8"),
        ({"left": changing("float64")}, r"left: expected float32 or bfloat16 .*, got float64"),
        ({"right": changing("bfloat16")}, r"right: expected float32, got bfloat16"),
        (
            {"left": changing("bfloat16")},
            r"left: a GraphInput in a product is float32, not bfloat16",
        ),
        ({"out": overlapping()}, "out: its lines overlap"),
        ({"out": np.zeros((2, 3), np.float32)}, r"out: expected float32 of shape \(2, 2\)"),
        ({"out": np.zeros((2, 2), np.float32).T}, "out: its rows are not contiguous"),
    ],
)
def test_bad_factors_are_named(change, message):
    call = {"left": np.zeros((2, 3), np.float32), "right": np.zeros((3, 2), np.float32)}
    call["out"] = np.zeros((2, 2), np.float32)
    change = {k: v(call[k].shape) if callable(v) else v for k, v in change.items()}
    with pytest.raises(ValueError, match=message):
        _kernels.product(**{**call, **change}, graph=_kernels.Graph())


@pytest.mark.parametrize("through_torch", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_a_replay_reads_the_rows_that_are_bound_now(dtype, through_torch):
    pool = torch.arange(60 * 2).view(60, 2).to(dtype)
    whole, out = GraphInput(8, 2, dtype), torch.zeros(3, 2)
    part, recorded = whole.rows(1, 7).rows(2, 5), Graph(through_torch)  # rows 3, 4 and 5 of `whole`
    if dtype == torch.float32:
        recorded.product(part, torch.eye(2), out)
    else:
        recorded.call(_kernels.to_float, input=part, out=out.numpy())
    del part
    for first, step in [(0, 1), (4, 7), (52, 1), (11, 5)]:
        whole.bind(pool.numpy(), first, step)
        recorded.replay()
        assert out.tolist() == pool[[first + i * step for i in (3, 4, 5)]].tolist()


def test_what_was_bound_is_held_and_a_wrong_one_changes_nothing():
    given, out = GraphInput(3, 4, "float32"), np.zeros((3, 4), np.float32)
    given.bind(np.full((3, 4), 7, np.float32))
    for wrong, message in [
        ((np.ones((2, 4), np.float32),), r"expected float32 of shape \(3, 4\)"),
        ((np.ones((9, 4)), 1, 2), r"expected float32 of shape \(9, 4\)"),
        ((np.ones((9, 4), np.float32), 1, 4), "no 3 rows from 1 on, 4 apart, in 9 rows"),
        ((np.ones((9, 4), np.float32), -1, 1), "no 3 rows from -1 on"),
        ((np.ones((9, 4), np.float32), 1, -1), "no 3 rows from 1 on, -1 apart"),
        ((np.ones((9, 4), np.float32), 1, 2**62), "no 3 rows"),
        ((np.broadcast_to(np.ones(4, np.float32), (3, 4)),), "its lines overlap"),
    ]:
        with pytest.raises(ValueError, match=message):
            given.bind(*wrong)
    beside = [
        np.zeros((3, 4), np.float32) for _ in range(50)
    ]  # these would reuse its memory if it had been freed
    _kernels.to_float(input=given, out=out)
    assert (out == 7).all() and not np.any(beside)
    with pytest.raises(ValueError, match="bind that one"):
        given.rows(0, 2).bind(np.ones((2, 4), np.float32))
    for begin, end in [(-1, 2), (2, 2), (1, 4)]:
        with pytest.raises(ValueError, match=rf"rows \[{begin}, {end}\) are outside \[0, 3\)"):
            given.rows(begin, end)
    with pytest.raises(ValueError, match="has no rows to read"):
        GraphInput(0, 4, "float32")


@pytest.mark.usefixtures("native_products")
def test_what_was_never_bound_and_what_has_another_shape_is_refused():
    recorded, changing = Graph(), GraphInput(2, 3, torch.float32)
    recorded.product(changing, torch.zeros(3, 1), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"input \(2, 3\) of this graph was never bound"):
        recorded.replay()
    with pytest.raises(ValueError, match=r"expected float32 of shape \(2, 3\)"):
        changing.bind(np.zeros((3, 2), np.float32))


def run(name: str, bfloat16: bool = False) -> list[torch.Tensor]:
    """Return all outputs of a network and its gradients, from two runs on the same memory."""
    torch.manual_seed(2)
    policy = make_policy(PolicyOptions(name=name, hidden_size=17, num_layers=3), SPEC)
    grads = {n: torch.zeros_like(p) for n, p in policy.named_parameters()}
    rounded = {n: p.detach().bfloat16() for n, p in policy.named_parameters()} if bfloat16 else None
    network, found = EagerRunner(make_fused(policy, grads, rounded=rounded)), []
    for _ in range(2):
        obs, reset = torch.randn(5, 7, 6), torch.rand(5, 7) < 0.3
        state = torch.randn(5, policy.state_size) if policy.state_size else None
        acted, new = network.forward(obs[:, 0], state)
        found += [part.clone() for part in (*acted, new) if part is not None]
        found += [part.clone() for part in network.unroll(obs, state, reset) if part is not None]
        for part in network.gradient():
            if part is not None:
                part.copy_(torch.randn(part.shape))
        network.backward()
    return [*found, *grads.values()]


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", ["mlp", "lstm", "mingru"])
def test_without_the_blas_the_same_is_done_through_torch(name, bfloat16, monkeypatch):
    wanted, others = run(name, bfloat16), []
    for dtypes in ((), (torch.float32,)):
        monkeypatch.setattr(blas, "gemm_dtypes", lambda dtypes=dtypes: dtypes)
        others.append(run(name, bfloat16))
    for other in others:
        for want, got in zip(wanted, other, strict=True):
            if bfloat16:  # torch rounds sums to bfloat16
                assert (got - want).norm() < 0.03 * want.norm()
            else:
                torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("through_torch", [False, True])
def test_a_graph_counts_its_products(through_torch):
    x, weight, out = torch.ones(4, 3), torch.ones(5, 3), torch.zeros(4, 5)
    recorded = Graph(through_torch)
    recorded.product(x, weight.t(), out)
    recorded.product(GraphInput(4, 3, torch.float32), weight.t(), out, add=True)
    recorded.product(x.t(), out, torch.zeros(3, 5))
    recorded.call(_kernels.fill, out=out.numpy())
    assert len(recorded) == 4
    assert sorted(recorded.products.values()) == [1, 2]
    assert recorded.flops == 3 * 2 * 4 * 3 * 5
    (twice,) = (product for product, count in recorded.products.items() if count == 2)
    assert twice.left == ((4, 3), (3, 1), torch.float32)
    assert twice.right == ((3, 5), (1, 3), torch.float32)


def test_what_a_python_function_raises_on_a_graph_is_raised_by_the_replay():
    recorded, out = Graph(), np.zeros((1, 1), np.float32)
    recorded.record_python(lambda: [][1])
    recorded.call(_kernels.fill, out=out, value=1)
    with pytest.raises(IndexError, match="list index out of range"):
        recorded.replay()
    assert out == 0


def test_a_graph_keeps_no_exception_that_it_raised():
    def fail():
        big = np.zeros(1)
        seen.append(weakref.ref(big))
        raise ValueError("from a replay")

    recorded, seen = Graph(), []
    recorded.record_python(fail)
    for _ in range(2):
        with pytest.raises(ValueError, match="from a replay"):
            recorded.replay()
    gc.collect()
    assert [ref() for ref in seen] == [None, None]


def test_a_library_that_multiplies_otherwise_is_not_used(monkeypatch):
    monkeypatch.setattr(torch, "addmm", lambda *_: torch.zeros(3, 7))
    assert not blas.gemm_dtypes.__wrapped__()
    monkeypatch.setattr(torch, "__file__", "/nowhere/torch/__init__.py")
    assert not blas.gemm_dtypes.__wrapped__()


def test_a_library_without_products_of_bfloat16_has_those_of_float32(monkeypatch):
    wanted, load, asked = blas.gemm_dtypes(), ctypes.CDLL, []

    class Older:
        def __init__(self, *given):
            self.library = load(*given)

        def __getattr__(self, name):
            asked.append(name)
            if name == "gemm_bf16bf16f32_":
                raise AttributeError(name)
            return getattr(self.library, name)

    try:
        with monkeypatch.context() as patch:
            patch.setattr(ctypes, "CDLL", Older)
            assert blas.gemm_dtypes.__wrapped__() == wanted - {torch.bfloat16}
        assert not wanted or "gemm_bf16bf16f32_" in asked
        if wanted:
            factors = {name: np.zeros((2, 2), np.uint16) for name in ("left", "right")}
            with pytest.raises(RuntimeError, match="no BLAS for bfloat16"):
                given = {**factors, "out": np.zeros((2, 2), np.float32)}
                _kernels.product(**given, graph=_kernels.Graph())
    finally:
        assert blas.gemm_dtypes.__wrapped__() == wanted


def test_the_eager_executor_adds_or_replaces():
    out = torch.ones(2, 2)
    EAGER.product(torch.ones(2, 3), torch.ones(3, 2), out, add=True)
    assert out.tolist() == [[4, 4], [4, 4]]
    factors = torch.ones(2, 3).bfloat16(), torch.ones(3, 2).bfloat16()
    for add, want in ((True, 7), (False, 3)):
        EAGER.product(*factors, out, add=add)
        assert out.tolist() == [[want, want], [want, want]]
