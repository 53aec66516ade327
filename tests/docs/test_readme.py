"""Test the documents: build README's game, run all commands and Python examples."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FRAMEWORKS = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
EXTERNAL = (ROOT / "docs" / "external.md").read_text(encoding="utf-8")
DRAWING = (ROOT / "docs" / "drawing.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TOPS = "pufferenv|pufferlib|ocean|tests|bench|docs|examples"
# Packages that an example may import and other tests do not need, and their extras.
EXTRAS = {
    "pettingzoo": "pettingzoo",
    "ray": "rllib",
    "stable_baselines3": "sb3",
    "torchrl": "torchrl",
    "jax": "jax",
}


def blocks(language: str, document: str = README) -> list[str]:
    """Return the fenced code blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", document, re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Make an otherwise empty folder with the game of README's ten minutes."""
    path = tmp_path_factory.mktemp("ten minutes")
    (game,) = (block for block in blocks("c") if "PUF_NAME" in block)
    (path / "catch.h").write_text(game)
    return path


def run(command: list[str], folder: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PUFFER_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_ten_minutes_game_trains_and_evaluates_as_written(folder):
    commands = [
        line
        for block in blocks("sh")
        for line in block.splitlines()
        if re.match(r"puffer \w+ catch(\.h)?\b", line)
    ]
    assert [line.split()[1] for line in commands] == ["play", "train", "eval"]
    pytest.importorskip("PIL", reason="pip install 'pufferenv[render]'")
    for line in commands[1:]:  # a person plays
        words = shlex.split(line, comments=True)
        answer = run([sys.executable, "-m", "pufferlib", *words[1:]], folder)
    caught = re.search(r"caught\D+([\d.]+)", answer)
    assert caught, answer
    assert float(caught.group(1)) > 0.9  # a random policy catches about one in eight
    assert (folder / "catch.gif").read_bytes()[:6] == b"GIF89a"


@pytest.mark.parametrize(
    "code",
    blocks("python") + blocks("python", EXTERNAL) + blocks("python", DRAWING),
    ids=lambda code: code.split("\n")[0][:40],
)
def test_the_python_examples_run_as_they_stand(code, folder):
    run([sys.executable, "-c", code], folder)


@pytest.mark.parametrize("code", blocks("python", FRAMEWORKS), ids=lambda code: code[:40])
def test_the_examples_for_other_frameworks_run_as_they_stand(code, folder):
    for package, extra in EXTRAS.items():
        if re.search(rf"^(?:import|from) (?:pufferenv\.)?{package}\b", code, re.M):
            pytest.importorskip(package, reason=f"pip install 'pufferenv[{extra}]'")
    if "RecordVideo" in code:
        pytest.importorskip("moviepy", reason="pip install moviepy")
    run([sys.executable, "-c", code], folder)


def test_both_set_up_lines_stand_at_the_top():
    top = README[:1500]
    assert "pip install -e . && puffer train breakout" in top
    assert "pip install -e '.[test]' && pytest" in top


def inside_code(text: str) -> str:
    """Return all code of a document: its fenced blocks and its spans in backticks."""
    fenced = re.findall(r"^```.*?^```", text, re.M | re.S)
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", re.sub(r"(?ms)^```.*?^```", "", text))])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_file_that_the_documents_point_to_exists(document):
    text = document.read_text(encoding="utf-8")
    made = {*re.findall(r"^`([\w./]+)`:$", text, re.M)}  # by CONTRIBUTING's examples
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        file = document.parent / target if target else document
        assert file.exists(), f"{document.name} points to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.M)
            slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
            assert anchor in slugs, f"{document.name} points to {target}#{anchor}"
    for target in re.findall(rf"(?<![\w./-])(?:{TOPS})/[\w/]*(?:\.\w+)?", inside_code(text)):
        if target not in made and "my_game" not in target:
            assert (ROOT / target).exists(), f"{document.name} names {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_every_module_that_the_documents_name_exists(document):
    dotted = re.compile(r"(?<![\w./\"'-])(puffer(?:env|lib)(?:\.\w+)+)")
    text = document.read_text(encoding="utf-8")
    files = re.findall(r"^`([\w./]+)`:$", text, re.M)  # made by CONTRIBUTING's examples
    made = {name.removesuffix(".py").replace("/", ".") for name in files}
    for name in {*dotted.findall(inside_code(text))} - made:
        module, attribute = ROOT / name.partition(".")[0], ""
        for part in name.split(".")[1:]:
            if attribute:
                break  # of an attribute of a module; the attribute was found
            if (module / part).is_dir() or (module / f"{part}.py").is_file():
                module = module / part
            else:
                attribute = part
        source = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        assert re.search(rf"\b{attribute}\b", source.read_text()), f"{document.name} names {name}"


def test_no_figure_was_forgotten():
    for document in DOCUMENTS:
        assert not re.findall(r"@[A-Z_]+@", document.read_text(encoding="utf-8")), document.name
