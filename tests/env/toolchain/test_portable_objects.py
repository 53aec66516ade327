"""The objects of a wheel run on any x86-64 CPU: only the dispatched kernels use newer instructions.

The portable objects are built as setup.py builds them for a wheel, and their machine code is read
with objdump.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pufferenv._installation import Variant
from pufferenv.cores import usable_cores
from pufferenv.toolchain import targets

PORTABLE = Variant(portable=True)
DISPATCHED = {"avx2.c", "avx512.c"}  # reached only after dispatch.c has asked the CPU

# What x86-64 got after SSE2, by mnemonic. tzcnt is not here: older CPUs run it as bsf, and gcc
# writes it where both give the same.
NEWER = re.compile(
    r"v[a-z]\w+|k(?:mov|and|andn|or|xnor|xor|not|add|test|ortest|unpck|shift)\w*|"  # AVX, AVX-512
    r"addsubp[sd]|h(?:add|sub)p[sd]|lddqu|mov(?:d|sh|sl)dup|fisttp\w*|"  # SSE3
    r"pshufb|ph(?:add|sub)\w+|pmaddubsw|pmulhrsw|psign[bwd]|pabs[bwd]|palignr|"  # SSSE3
    r"blendv?p[sd]|pblend\w+|dpp[sd]|extractps|insertps|round[sp][sd]|pmul(?:ld|dq)|ptest|"
    r"p(?:min|max)(?:sb|uw|sd|ud)|pmov[sz]x\w+|p(?:ins|ext)r[bdq]|pcmpeqq|packusdw|mpsadbw|"
    r"phminposuw|movntdqa|"  # SSE4.1
    r"pcmpgtq|pcmp[ei]str[im]|crc32\w?|popcnt\w?|"  # SSE4.2
    r"andn|bextr|bls\w+|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt\w?|movbe\w?|adcx|adox|"
    r"aes\w+|pclmul\w+|sha(?:1|256)\w+|gf2p8\w+"
)
AVX512 = re.compile(r"%zmm|%k[0-7]|%[xy]mm(?:1[6-9]|2\d|3[01])\b")  # operands
INSTRUCTION = re.compile(r"^ *[0-9a-f]+:\t(?:(?:bnd|rep\w*|lock|notrack|data16|cs|ds) )*(\w+)(.*)")
FUNCTION = re.compile(r"^([0-9a-f]+) <(.*)>:$")

pytestmark = [
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the mnemonics are those of x86-64"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed"),
]


def objdump(option: str, path: Path) -> list[str]:
    command = ["objdump", option, "--no-show-raw-insn", path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def source_files(path: Path) -> dict[int, str]:
    """Return the C file of each local function, by address: file symbols precede their locals."""
    files, file = {}, ""
    for line in objdump("-t", path):
        if " df *ABS*" in line:
            file = line.split()[-1]
        elif re.match(r"[0-9a-f]+ l +F ", line):
            files[int(line.split()[0], 16)] = file
    return files


def newer_instructions(path: Path) -> dict[str, set[str]]:
    """Return the newer instructions of an object, by `FILE: FUNCTION`.

    Those of AVX-512 appear as "AVX-512", the others as their mnemonics.
    """
    files, found, function = source_files(path), {}, ""
    for line in objdump("-d", path):
        if start := FUNCTION.match(line):
            function = f"{files.get(int(start[1], 16), 'exported')}: {start[2]}"
        elif (code := INSTRUCTION.match(line)) and (
            NEWER.fullmatch(code[1]) or re.search(r"%[yz]mm", code[2])
        ):
            name = "AVX-512" if AVX512.search(code[2]) else code[1]
            found.setdefault(function, set()).add(name)
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, set[str]]]:
    """What newer_instructions finds, by the name of the object."""
    targets.build_all(PORTABLE)
    paths = [targets.module_path(name, PORTABLE) for name in targets.MODULES]
    paths += [targets.object_path(header, PORTABLE) for header in targets.headers().values()]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return dict(
            zip((path.name for path in paths), pool.map(newer_instructions, paths), strict=True)
        )


def test_only_the_dispatched_kernels_use_instructions_above_the_baseline(found) -> None:
    for name, functions in found.items():
        other = {f: used for f, used in functions.items() if f.split(":")[0] not in DISPATCHED}
        assert not other, name


def test_instructions_above_the_baseline_are_found_where_there_are_any(found) -> None:
    (kernels,) = (functions for name, functions in found.items() if name.startswith("_kernels"))
    assert {function.split(":")[0] for function in kernels} == DISPATCHED
    assert len(kernels) > 20
    wide = {function for function, used in kernels.items() if "AVX-512" in used}
    assert {function.split(":")[0] for function in wide} == {"avx512.c"}
