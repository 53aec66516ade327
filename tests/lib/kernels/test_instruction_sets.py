"""The recurrent kernels for every instruction set, under ASan and UBSan, against torch.

tests/c/recurrent.c is compiled once per instruction set. A program for an instruction set that the
CPU lacks would end with SIGILL, so the tests first query the installed kernels for those that the
CPU has.
"""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from pufferenv.cores import usable_cores
from pufferlib.kernels import _kernels
from pufferlib.ops import reference_cells
from tests.env.toolchain.test_sanitizers import ROOT, build_with

SIZES = [(1, 1, 1), (3, 2, 5), (2, 4, 16), (4, 3, 23), (2, 2, 40)]  # rows, horizon, units
FLAGS = {
    "baseline": ["-DPUF_LANES=4"],
    "avx2": ["-DPUF_LANES=8", "-mavx2"],
    "avx512": ["-DPUF_LANES=16", *(f"-mavx512{part}" for part in ("f", "bw", "dq", "vl"))],
}


def calls(rows, horizon, size):
    """Yield each kernel, the shapes of its inputs and outputs, and the inputs that it changes."""
    one, four = (rows, size), (rows, 4 * size)
    all_, two = (rows, horizon, size), (rows, horizon, 2 * size)
    step = {"gates": four, "bias": (4 * size,), "keep": (rows,), "cell": one}
    yield "lstm", step, {"out": one, "next_cell": one, "next_hidden": one}, ["gates"]
    step = {"gates": four, "keep": (rows,), "cell": one, "grad_out": one, "grad_hidden": one}
    step |= {"grad_cell": one, "grad_bias": (4 * size,)}
    yield "lstm_backward", step, {"grad_gates": four}, ["grad_cell", "grad_gates", "grad_bias"]
    steps = {"gates": two, "bias": (2 * size,), "keep": (rows, horizon), "x": all_, "state": one}
    yield "mingru", steps, {"hidden": all_, "out": all_}, ["gates"]
    steps = {"gates": two, "keep": (rows, horizon), "state": one, "hidden": all_}
    steps |= {"grad_out": all_, "grad_state": one, "grad_bias": (2 * size,)}
    yield "mingru_backward", steps, {"grad_gates": two}, ["grad_state", "grad_gates", "grad_bias"]
    yield "mask_state", {"state": one, "keep": (rows,)}, {"out": one}, []


def mask_state(state, keep, out):
    """Compute the result of the kernel, rounded to bfloat16."""
    out[:] = (state * keep[:, None]).float().bfloat16()


def numbers(name, shapes, rng):
    """Return random inputs; backward kernels get gates after activation; keep is 0 or 1."""
    made = {n: rng.normal(0, 2, shape).astype(np.float32) for n, shape in shapes.items()}
    made["keep"] = (made["keep"] > -1).astype(np.float32)
    if name.endswith("backward"):
        made["gates"] = np.tanh(made["gates"])
    if name == "mingru_backward":
        made["grad_state"][:] = 0
    if name == "mask_state":  # every second number is a tie
        bits = made["state"].view(np.uint32)
        bits[:, ::2] = bits[:, ::2] & 0xFFFF0000 | 0x8000
    return made


@pytest.fixture(scope="module", params=SIZES, ids=str)
def case(request):
    """Return sizes, the bytes for the program, and torch's results in float64, in its order."""
    rng, inputs, wanted = np.random.default_rng(sum(request.param)), [], []
    for name, shapes, made, first in calls(*request.param):
        given = numbers(name, shapes, rng)
        inputs += [x.tobytes() for x in given.values()]
        wide = {n: torch.from_numpy(x).double() for n, x in given.items()}
        wide |= {n: torch.zeros(shape, dtype=torch.float64) for n, shape in made.items()}
        (mask_state if name == "mask_state" else getattr(reference_cells, name))(**wide)
        wanted += [(f"{name}: {n}", wide[n].numpy()) for n in dict.fromkeys([*first, *made])]
    return [str(n) for n in request.param], b"".join(inputs), wanted


@pytest.fixture(scope="module")
def every_instruction_set():
    """Replace the folder's fixture: each test here runs all programs and compares them."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """Build the program for each instruction set that the CPU has."""

    def build(isa):
        flags = [*FLAGS[isa], "-Wno-psabi", ROOT / "tests/c/recurrent.c"]
        return build_with("address,undefined", tmp_path_factory.mktemp(isa), *flags)

    isas = _kernels.instruction_sets()
    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(zip(isas, pool.map(build, isas), strict=True))


def test_every_width_gives_torchs_values_and_gradients_and_the_same_bits(case, programs):
    sizes, inputs, wanted = case
    outputs = {}
    for isa, program in programs.items():
        run = subprocess.run([program, *sizes], input=inputs, capture_output=True, timeout=60)
        assert run.returncode == 0, f"{isa}: {run.stderr.decode()}"
        outputs[isa] = run.stdout
        found = np.frombuffer(run.stdout, np.float32)
        assert len(found) == sum(x.size for _, x in wanted)
        parts = np.split(found, np.cumsum([x.size for _, x in wanted])[:-1])
        for part, (name, x) in zip(parts, wanted, strict=True):
            limits = {"rtol": 1e-5, "atol": 2e-5}
            assert_allclose(part.reshape(x.shape), x, **limits, err_msg=f"{isa}, {name}")
    assert len(set(outputs.values())) == 1, list(outputs)
