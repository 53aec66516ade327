"""One step of a build: a command that makes one file, run again when its inputs have changed.

The inputs are the content of every file that the compiler's -MM lists, the command, the tool's
version and, for a native object, the CPU. A JSON file, the stamp, records them. Outputs appear by
atomic rename, because overwriting an object that a process has mapped would crash that process.
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
    """A build failed; the message is the compiler's own, or names the package to install."""


# --- the compiler and the machine ---------------------------------------------------------


@functools.cache
def compiler() -> tuple[str, ...]:
    """Return the command of the C compiler: CC, or the first of cc, gcc and clang."""
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
    """Return the first line that the compiler prints about its version."""
    printed = subprocess.run([*compiler(), "--version"], capture_output=True, text=True).stdout
    return printed.partition("\n")[0]


@functools.cache
def cpu() -> str:
    """Return a hash of the CPU's model and features, on which native objects depend."""
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

    output: Path  # `{key}` in its name is replaced by a hash of all inputs
    stamp: Path
    command: tuple[str, ...]
    inputs: tuple[Path, ...]  # messages name the last one
    tool: str  # version of the program that the command runs
    native: bool = False  # compiled for this CPU
    scan: bool = False  # the inputs are C, and the files that they include are inputs too
    # `{source}` in the command is replaced by a hash of all inputs but these files and folders.
    unhashed: tuple[Path, ...] = ()

    @property
    def made_by(self) -> str:
        """Tool and command, as the stamp records them."""
        return f"{self.tool}: {shlex.join(self.command)}"


def digest(content: bytes) -> str:
    """Return 16 hex digits that stand for `content`."""
    return hashlib.sha256(content).hexdigest()[:16]


def _digests(paths: Iterable[str | Path]) -> dict[str, str]:
    return {str(path): digest(Path(path).read_bytes()) for path in paths}


def _read_stamp(stamp: Path) -> dict[str, Any] | None:
    """Return the content of `stamp` if all that it records is unchanged, else None."""
    try:
        made: dict[str, Any] = json.loads(stamp.read_text())
        wanted: dict[str, str] = {**made["inputs"], made["output"]: made["digest"]}
        return made if _digests(wanted) == wanted and made["cpu"] in ("", cpu()) else None
    except (OSError, ValueError, KeyError):
        return None


def up_to_date(stamp: Path, sources: Iterable[Path]) -> Path | None:
    """Return the file that `stamp` describes if its inputs have not changed, else None.

    `sources` must be among the inputs: stamps are copied along with a tree, and then name the files
    of another tree. No compiler is needed, and a change of compiler goes unnoticed.
    """
    made = _read_stamp(stamp)
    return Path(made["output"]) if made and {*map(str, sources)} <= {*made["inputs"]} else None


def _source(digests: dict[str, str], unhashed: Sequence[Path]) -> str:
    """Return a hash of these inputs, independent of where they are, without those of `unhashed`."""
    own = [
        content
        for path, content in digests.items()
        if not {Path(path), Path(path).parent} & {*unhashed}
    ]
    return digest("".join(sorted(own)).encode())


def _included(rule: str) -> list[Path]:
    """Return the files behind the colon of a rule in make's syntax."""
    files = rule.replace("\\\n", " ").split(": ", 1)[1]
    names = re.findall(r"(?:\\.|\S)+", files)
    return [Path(re.sub(r"\\(.)", r"\1", name).replace("$$", "$")) for name in names]


def _run(command: Sequence[str], what: Path) -> str:
    """Run a tool, print its warnings, return its standard output; BuildError has its errors."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise BuildError(f"{what} does not compile:\n\n{(done.stderr or done.stdout).strip()}")
    sys.stderr.write(done.stderr)
    return done.stdout


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """Yield a path to write to, and rename the file there to `target` at the end."""
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
    """Run a step unless its output is up to date -> the output, and whether it was made now."""
    made = _read_stamp(step.stamp)
    if made and made["made_by"] == step.made_by:
        return Path(made["output"]), False
    what = step.inputs[-1]
    read = _included(_run([*step.command, "-MM"], what)) if step.scan else step.inputs
    # Hashed before the command runs, so that a change during the run is found the next time.
    inputs = _digests(read)
    identity = {"made_by": step.made_by, "inputs": inputs, "cpu": cpu() if step.native else ""}
    key = digest(json.dumps(identity).encode())
    output = Path(str(step.output).replace("{key}", key))
    if output == step.output or not output.exists():
        source = _source(inputs, step.unhashed)
        command = [word.replace("{source}", source) for word in step.command]
        with _replacing(output) as fresh:
            _run([*command, "-o", str(fresh)], what)
    made = {**identity, "output": str(output), "digest": digest(output.read_bytes())}
    with _replacing(step.stamp) as fresh:
        fresh.write_text(json.dumps(made, indent=1))  # readable by those that the umask allows
    return output, True


def run_stages(stages: Sequence[Sequence[Step]]) -> tuple[list[Path], int]:
    """Run the stages in order, the steps of a stage in parallel.

    Returns the files made now and how many steps were up to date. Raises BuildError with the
    messages of all failed steps of a stage.
    """
    from concurrent.futures import ThreadPoolExecutor  # here: importing it takes 30 ms

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
