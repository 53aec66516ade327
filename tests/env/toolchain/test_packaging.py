"""The installed packages: what an import loads, errors that name a command, a wheel's files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pufferenv
from pufferenv.games import tomllib
from pufferenv.toolchain import targets

# An editable install's finder would supply modules that a copy of the packages lacks.
ONLY = """
import sys
sys.path.insert(0, {folder!r})
sys.meta_path = [f for f in sys.meta_path if "Editable" not in getattr(f, "__name__", "")]
{code}
"""


def python(code: str, folder: Path = targets.ROOT) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter with the packages of `folder`."""
    command = [sys.executable, "-c", ONLY.format(folder=str(folder), code=code)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_importing_pufferenv_loads_no_torch_gymnasium_or_numpy() -> None:
    done = python("import pufferenv; print({'torch', 'gymnasium', 'numpy'} & {*sys.modules})")
    assert done.stdout == "set()\n", done.stderr


@pytest.mark.parametrize(
    ("module", "extra", "package"),
    [
        ("pufferenv.pettingzoo", "pettingzoo", "pettingzoo"),
        ("pufferenv.rllib", "rllib", "pettingzoo"),
        ("pufferenv.rllib", "rllib", "ray"),
        ("pufferlib.sb3", "sb3", "stable_baselines3"),
        ("pufferlib.torchrl", "torchrl", "torchrl"),
    ],
)
def test_a_framework_that_is_missing_is_named_with_its_extra(module, extra, package) -> None:
    """For Python, None in sys.modules is a module that does not exist."""
    done = python(f"sys.modules[{package!r}] = None\nimport {module}")
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: ")
    assert f"is not installed: run `pip install 'pufferenv[{extra}]'`" in message


def test_using_pufferenv_loads_neither_torch_nor_pufferlib() -> None:
    done = python(
        "import pufferenv; pufferenv.make('squared', num_envs=1).reset(); pufferenv.RowEnv\n"
        "print({'torch', 'pufferlib'} & {*sys.modules})"
    )
    assert done.stdout == "set()\n", done.stderr


def test_every_public_name_is_there() -> None:
    for name in pufferenv.__all__:
        assert getattr(pufferenv, name) is not None
        assert name in dir(pufferenv)
    with pytest.raises(AttributeError, match="has no attribute 'mkae'"):
        _ = pufferenv.mkae


@pytest.mark.parametrize(
    "used",
    [
        "pufferenv.make",
        "pufferenv.Game",
        "pufferenv.games.load('squared')",
        "import gymnasium; gymnasium.make('puffer/squared-v0')",
        "import gymnasium; gymnasium.make_vec('puffer/squared-v0')",
    ],
)
def test_without_a_built_engine_the_error_names_the_command(tmp_path: Path, used: str) -> None:
    for package in ("pufferenv", "ocean"):
        kept = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(targets.ROOT / package, tmp_path / package, ignore=kept)
    done = python(f"import pufferenv\nassert pufferenv.__version__\n{used}", tmp_path)
    last = done.stderr.splitlines()[-1]
    assert re.match(r"ImportError: .*not built.*`python build\.py`", last)


@pytest.mark.parametrize(
    ("variables", "folder", "command"),
    [
        ({"PUFFER_BUILD": "debug"}, "debug", "python build.py --debug"),
        ({"PUFFER_ISA": "baseline"}, "release-baseline", "PUFFER_ISA=baseline python build.py"),
    ],
)
def test_the_environment_chooses_where_the_extension_modules_come_from(
    tmp_path: Path, variables: dict[str, str], folder: str, command: str
) -> None:
    for package in ("pufferenv", "pufferlib"):
        kept = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(targets.ROOT / package, tmp_path / package, ignore=kept)
    setting = f"import os; os.environ.update({variables!r})\n"
    missing = python(f"{setting}import pufferenv.engine", tmp_path).stderr.splitlines()[-1]
    assert "pufferenv.engine._engine is not built for this Python" in missing
    assert f"`{command}`" in missing
    folders = []
    for name in targets.MODULES:
        module = targets.module_path(name, into=tmp_path / "build" / folder)
        module.parent.mkdir(parents=True)
        module.touch()
        folders.append(str(module.parent))
    code = """
import pufferenv.drawing, pufferenv.engine, pufferenv.external, pufferlib.kernels
packages = (pufferenv.engine, pufferenv.drawing, pufferenv.external, pufferlib.kernels)
for package in packages:
    print(package.__path__[0])
"""
    assert python(setting + code, tmp_path).stdout.splitlines() == folders


def test_pypis_pufferlib_beside_ours_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pufferenv.conflict() is None
    (tmp_path / "pufferlib-3.0.0.dist-info").mkdir()
    (tmp_path / "pufferlib-3.0.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: pufferlib\nVersion: 3.0.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    message = pufferenv.conflict()
    assert message is not None
    assert "pufferlib 3.0.0" in message
    assert "pip uninstall pufferlib" in message


def test_all_that_a_game_includes_and_the_font_are_in_the_wheel() -> None:
    data = setuptools_table()["package-data"]
    packed = {
        file.relative_to(targets.ROOT).as_posix()
        for package, patterns in data.items()
        for pattern in patterns
        for file in targets.ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    sources = {"pufferenv/contract/game.c", "pufferenv/env.h", "pufferenv/contract/debug_checks.h"}
    for source in sources:
        text = (targets.ROOT / source).read_text()
        sources = sources | set(re.findall(r'^#include "(pufferenv/.*)"', text, re.MULTILINE))
    assert sources <= packed
    assert {"pufferenv/drawing/font.bin", "pufferenv/drawing/FONT_LICENSE.txt"} <= packed
    assert "pufferenv/contract/spec.h" in sources


def setuptools_table() -> dict[str, Any]:
    table = tomllib.loads((targets.ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert isinstance(table, dict)
    return table


def test_every_package_is_listed_and_typed() -> None:
    typed = sorted(path.parent.name for path in targets.ROOT.glob("*/py.typed"))
    assert typed == ["ocean", "pufferenv", "pufferlib"]
    folders = {
        file.parent.relative_to(targets.ROOT).as_posix().replace("/", ".")
        for package in typed
        for pattern in ("*.py", "*.c", "*.h")
        for file in (targets.ROOT / package).rglob(pattern)
    }
    assert sorted(folders) == setuptools_table()["packages"]
