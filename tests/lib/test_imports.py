"""The documented import names, and the names that no module may take."""

import importlib
import importlib.util

import pytest

# Module -> names in it. If an optional extra is missing, only the module's existence is checked.
DOCUMENTED = {
    "pufferenv": (
        "make",
        "make_vec",
        "wrap",
        "RowEnv",
        "Game",
        "games",
        "PufferVectorEnv",
        "PufferEnv",
        "BuildError",
    ),
    "pufferenv.build": ("main",),
    "pufferenv.packing": ("ActionPacking", "Packing"),
    "pufferenv.pettingzoo": ("PufferParallelEnv", "env", "parallel_env"),
    "pufferenv.rllib": ("PufferMultiAgentEnv",),
    "pufferlib": ("wrap",),
    "pufferlib.kinds": ("defaults",),
    "pufferlib.options": ("PolicyOptions", "TrainOptions", "VecOptions"),
    "pufferlib.policy": ("Output", "Policy", "PolicySpec"),
    "pufferlib.sb3": ("PufferVecEnv", "make"),
    "pufferlib.torchrl": ("PufferTorchEnv", "make"),
    "pufferlib.trainer": ("Trainer",),
}
RESERVED = ("train", "show", "load", "check")  # functions to come


@pytest.mark.parametrize("module", list(DOCUMENTED))
def test_a_documented_name_can_be_imported(module):
    assert importlib.util.find_spec(module) is not None
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))
    for name in DOCUMENTED[module]:
        assert getattr(found, name) is not None


@pytest.mark.parametrize("name", RESERVED)
def test_no_module_takes_the_name_of_a_function_to_come(name):
    assert importlib.util.find_spec(f"pufferlib.{name}") is None
