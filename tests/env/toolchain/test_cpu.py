"""Nothing that was compiled for a CPU's features runs on a CPU that lacks them; PUFFER_ISA."""

from __future__ import annotations

import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from pufferenv import Game, _installation
from pufferenv.toolchain import targets
from pufferenv.toolchain.incremental import compiler
from tests.env.toolchain.test_packaging import python

X86 = platform.machine() == "x86_64"
NEEDS = " sse3 fma4 gfni "  # the CPUs that had fma4 came to an end years before gfni

x86_only = pytest.mark.skipif(not X86, reason="the features in this test are those of x86-64")


def compile_object(output: Path, *args: str | Path) -> Path:
    """Compile a shared object for any CPU."""
    command = [*compiler(), *targets.STANDARD, f"-I{targets.ROOT}", "-shared", "-o", output]
    subprocess.run([*command, *args], check=True)
    return output


@x86_only
def test_a_module_for_another_cpu_is_an_import_error_that_names_the_command(tmp_path: Path) -> None:
    """Its own code, here abort, does not run."""
    source = tmp_path / "forged.c"
    source.write_text(
        f'#include <stdlib.h>\nconst char puf_module_needs[] = "{NEEDS}";\n'
        "void *puf_cython_init(void) { abort(); }\n"
    )
    include = f"-I{sysconfig.get_paths()['include']}"
    names = ["-DPUF_INIT=PyInit_forged", '-DPUF_MODULE="forged"']
    output = tmp_path / f"forged{sysconfig.get_config_var('EXT_SUFFIX')}"
    compile_object(output, include, *names, targets.MODULE_INIT_C, source)
    done = subprocess.run(
        [sys.executable, "-c", "import forged"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert "ImportError: forged was built for a CPU with " in message
    assert "which this CPU lacks: run `python build.py` here" in message


@x86_only
def test_a_game_for_another_cpu_is_an_import_error_that_names_the_command(tmp_path: Path) -> None:
    forged = tmp_path / "forged.h"
    forged.write_text(f'#undef PUF_CPU_NEEDS\n#define PUF_CPU_NEEDS "{NEEDS}"\n')
    squared = targets.OCEAN / "squared.h"
    header = tmp_path / "game.h"
    header.write_text(
        f'#include "{squared}"\n#include "pufferenv/contract/cpu.h"\n#include "{forged}"\n'
    )
    made = compile_object(tmp_path / "game.so", f'-DPUF_GAME="{header}"', targets.GAME_C, "-lm")
    with pytest.raises(ImportError, match=r"built for a CPU with .*run `python build\.py squared`"):
        Game(str(made))


def test_the_engine_and_its_needs_agree_with_this_cpu() -> None:
    """A module that was imported has asked the CPU; a tuned one says so."""
    done = python(
        "from pufferenv import _installation\n"
        "from pufferenv.engine import _engine\n"
        "print(_engine.compiled()['native'] is not _installation.selected().portable)"
    )
    assert done.stdout == "True\n", done.stderr


# --- PUFFER_ISA -------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["avx3", "AVX2", "avx512"])
def test_an_instruction_set_that_cannot_be_used_is_named_with_those_that_can(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("PUFFER_ISA", given)
    with pytest.raises(ImportError, match=rf"PUFFER_ISA={given}: .*can use baseline, avx2 on this"):
        _installation.choose_isa(["baseline", "avx2"])


@pytest.mark.parametrize(
    ("given", "portable"), [("", False), ("avx2", False), ("avx512", False), ("baseline", True)]
)
def test_only_the_baseline_is_a_build_of_its_own(
    monkeypatch: pytest.MonkeyPatch, given: str, portable: bool
) -> None:
    monkeypatch.setenv("PUFFER_ISA", given)
    assert _installation.selected().portable is portable


def test_without_a_name_the_widest_instruction_set_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PUFFER_ISA", raising=False)
    assert _installation.choose_isa(["baseline", "avx2"]) == "avx2"
    monkeypatch.setenv("PUFFER_ISA", "baseline")
    assert _installation.choose_isa(["baseline", "avx2"]) == "baseline"


def test_an_unknown_instruction_set_is_an_error_of_the_import() -> None:
    done = python("import os; os.environ['PUFFER_ISA'] = 'avx3'\nimport pufferenv.engine._engine")
    message = done.stderr.splitlines()[-1]
    assert message.startswith(
        "ImportError: PUFFER_ISA=avx3: legal are baseline, avx2, avx512, and "
    )
    assert "on this CPU; set PUFFER_ISA to one of these, or unset it for the widest" in message
