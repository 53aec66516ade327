"""One step of a build: a command that makes one file, done again when what it was made of changed.

What counts: the content of every file that the compiler's -MM lists, the command, the tool's
version and, where the object is tuned for it, the CPU. A stamp (JSON) remembers these. Outputs
appear by atomic rename: overwriting an object that a process has mapped would kill it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class BuildError(RuntimeError):
    """What could not be built, with the compiler's own message or what to install."""


# --- the compiler and the machine ---------------------------------------------------------


@functools.cache
def compiler() -> tuple[str, ...]:
    """Find the C compiler: CC, or the first of cc, gcc and clang."""
    if chosen := shlex.split(os.environ.get("CC", "")):
        if shutil.which(chosen[0]):
            return tuple(chosen)
        raise BuildError(f"CC={shlex.join(chosen)}: there is no such program")
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return (name,)
    package = {
        "darwin": "run `xcode-select --install`",
        "win32": "Windows itself is not supported; run `wsl --install` and build in there",
    }.get(sys.platform, "install the package gcc (`apt install gcc` or `dnf install gcc`)")
    raise BuildError(f"no C compiler was found: {package}")


@functools.cache
def compiler_version() -> str:
    """One line that changes when the compiler does."""
    told = subprocess.run([*compiler(), "--version"], capture_output=True, text=True)
    return told.stdout.partition("\n")[0]


@functools.cache
def cpu() -> str:
    """Whatever an object tuned for this machine depends on: the CPU's model and features."""
    try:
        with open("/proc/cpuinfo") as file:
            first = file.read(8192).partition("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.node()}"
    lines = re.findall(r"^(?:model name|flags|Features|CPU \w+)\b.*$", first, re.MULTILINE)
    return digest("\n".join(lines).encode())


# --- a step -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One command that makes one file; `-o FILE` is added to it."""

    output: Path  # `{key}` in its name stands for a hash of all that it is made of
    stamp: Path
    command: tuple[str, ...]
    inputs: tuple[Path, ...]  # the last one is what messages name
    tool: str  # version of the program that the command runs
    tuned: bool = False  # good for this CPU only
    scan: bool = False  # the inputs are C, and what they include counts too

    @property
    def made_by(self) -> str:
        """Tool and command, as the stamp remembers them."""
        return f"{self.tool}: {shlex.join(self.command)}"


def digest(content: bytes) -> str:
    """Return 16 hex digits that stand for `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def _digests(paths: Iterable[str | Path]) -> dict[str, str]:
    return {str(path): digest(Path(path).read_bytes()) for path in paths}


def _read_stamp(stamp: Path) -> dict[str, Any] | None:
    """Return what `stamp` remembers if all of it is still so."""
    try:
        made: dict[str, Any] = json.loads(stamp.read_text())
        wanted: dict[str, str] = {**made["inputs"], made["output"]: made["digest"]}
        return made if _digests(wanted) == wanted and made["cpu"] in ("", cpu()) else None
    except (OSError, ValueError, KeyError):
        return None


def up_to_date(stamp: Path, sources: Iterable[Path]) -> Path | None:
    """Return the file that `stamp` stands for if nothing that it was made of has changed.

    It must have been made of `sources`, among others: stamps are copied along with a tree, and
    then name another tree's files. Needs no compiler, and so does not ask which one would be taken.
    """
    made = _read_stamp(stamp)
    return Path(made["output"]) if made and {*map(str, sources)} <= {*made["inputs"]} else None


def _included(rule: str) -> list[Path]:
    """Parse a rule in make's syntax: the files behind the colon."""
    files = rule.replace("\\\n", " ").split(": ", 1)[1]
    names = re.findall(r"(?:\\.|\S)+", files)
    return [Path(re.sub(r"\\(.)", r"\1", name).replace("$$", "$")) for name in names]


def _run(command: Sequence[str], what: Path) -> str:
    """Run a tool -> its standard output. Its warnings go to stderr, its errors into BuildError."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise BuildError(f"{what} does not compile:\n\n{(done.stderr or done.stdout).strip()}")
    sys.stderr.write(done.stderr)
    return done.stdout


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Lend a path to write to; what stands there in the end becomes `target`, all at once."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as folder:
            fresh = Path(folder, target.name)
            yield fresh
            os.replace(fresh, target)
    except OSError as error:
        raise BuildError(
            f"cannot write {target} ({error.strerror}): make room or get the right to write there; "
            "PUFFER_CACHE names another folder for games from outside the ocean package"
        ) from None


def run_step(step: Step) -> tuple[Path, bool]:
    """Do one step where it is due -> the file, and whether it was made now."""
    made = _read_stamp(step.stamp)
    if made and made["made_by"] == step.made_by:
        return Path(made["output"]), False
    what = step.inputs[-1]
    read = _included(_run([*step.command, "-MM"], what)) if step.scan else step.inputs
    # Hashed before the command runs: a file that changes meanwhile is found changed next time.
    inputs = _digests(read)
    identity = {"made_by": step.made_by, "inputs": inputs, "cpu": cpu() if step.tuned else ""}
    key = digest(json.dumps(identity).encode())
    output = Path(str(step.output).replace("{key}", key))
    if output == step.output or not output.exists():
        with _replacing(output) as fresh:
            _run([*step.command, "-o", str(fresh)], what)
    made = {**identity, "output": str(output), "digest": digest(output.read_bytes())}
    with _replacing(step.stamp) as fresh:
        fresh.write_text(json.dumps(made, indent=1))  # for all whom the umask lets read it
    return output, True


def run_stages(stages: Sequence[Sequence[Step]]) -> tuple[list[Path], int]:
    """Do all steps, those of a stage in parallel -> files made now, and how many were not due."""
    from concurrent.futures import ThreadPoolExecutor  # 30 ms that loading a game need not pay

    made: list[Path] = []
    idle = 0
    for stage in stages:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(run_step, step) for step in stage]
        failed = [error for job in jobs if isinstance(error := job.exception(), BuildError)]
        if failed:
            raise BuildError("\n\n".join(map(str, failed)))
        for path, now in (job.result() for job in jobs):
            idle += not now
            made += [path] if now else []
    return made, idle
