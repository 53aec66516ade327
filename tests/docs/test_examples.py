"""Short runs of the examples: each learns a little, or shares memory as it claims."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest

import pufferenv
from tests.support.paths import ROOT

NEEDS = {  # an extra package that an example needs, and the extra that installs it
    "jax_dlpack.py": ("jax", "jax"),
    "sb3_ppo.py": ("stable_baselines3", "sb3"),
    "single_file_ppo.py": None,
    "torchrl_ppo.py": ("torchrl", "torchrl"),
}
SHORT = ["--total-timesteps", "20480", "--num-envs", "64"]


def need(name: str) -> None:
    if needed := NEEDS[name]:
        package, extra = needed
        pytest.importorskip(package, reason=f"needs pip install 'pufferenv[{extra}]'")


def test_there_is_a_test_for_every_example():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(NEEDS)


@pytest.mark.parametrize("name", NEEDS)
def test_an_example_runs_and_its_pole_stands_longer_than_by_chance(name, tmp_path):
    need(name)
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), *SHORT],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    mean = re.search(r"mean return ([\d.]+)", done.stdout)
    assert mean, done.stdout
    assert 40 < float(mean[1]) <= 500  # 22 by chance
    assert not list(tmp_path.iterdir())


def test_jax_sees_the_engines_memory_and_a_copy_stays_as_it_was():
    need("jax_dlpack.py")
    import jax

    for game, dtype in (("cartpole", np.float32), ("squared", np.uint8), ("snake", np.int8)):
        env = pufferenv.make(game, 16, seed=1)
        observations, _ = env.reset()
        before = observations.copy()
        alias = jax.dlpack.from_dlpack(observations, copy=False)
        kept = jax.numpy.asarray(observations.copy())
        assert alias.unsafe_buffer_pointer() == observations.ctypes.data
        assert kept.unsafe_buffer_pointer() != observations.ctypes.data
        assert alias.dtype == dtype
        for _ in range(3):
            env.step(np.ones(env.num_envs, np.int32))
        np.testing.assert_array_equal(kept, before)
        assert not np.array_equal(observations, before)
        after = jax.dlpack.from_dlpack(observations, copy=False)
        np.testing.assert_array_equal(after, observations)
