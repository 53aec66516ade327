"""The layout: an import never goes upwards, no modules import each other, every folder has a place.

`LAYERS` lists the folders and single modules of each package from the bottom to the top; a module
may import from its own folder and from those before it. Imports inside functions and for type
checking count too. docs/design.md says what each folder holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

LAYERS = {
    "pufferenv": [
        "_installation",
        "cores",
        "toolchain",
        "contract",
        "engine",
        "drawing",
        "spaces",
        "build",
        "games",
        "pixels",
        "game_config",
        "game_spec",
        "row_env",
        "vector_env",
        "external",
        "adapters",
        "__init__",
        "packing",
        "pettingzoo",
        "rllib",
    ],
    "pufferlib": [
        "kernels",
        "runtime",
        "config",
        "ops",
        "policies",
        "fused",
        "ppo",
        "run",
        "plotting",
        "profiling",
        "cli",
        "adapters",
        "__main__",
        "policy",
        "options",
        "trainer",
        "kinds",
        "sb3",
        "torchrl",
        "__init__",
    ],
}
PYTHON = (".py", ".pyi", ".pyx", ".pxd", ".pxi")
CYTHON_IMPORT = re.compile(r"^\s*from (puffer[\w.]+) c?import (.+)$", re.MULTILINE)
INCLUDE = re.compile(r'^\s*(?:#include|cdef extern from) "((?:[\w.]+/)*[\w.]+)"', re.MULTILINE)
C_ORDER = (
    "pufferenv/contract",
    "pufferenv/engine",
    "pufferenv/drawing",
    "pufferenv/external",
    "pufferlib/kernels",
)


def name_of(file: Path) -> str:
    """Return a module's dotted name; a package's is that of its folder."""
    dotted = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return dotted.removesuffix(".__init__")


FILES = {
    file: name_of(file)
    for package in LAYERS
    for file in sorted((ROOT / package).rglob("*"))
    if file.suffix in PYTHON and ".building" not in str(file)
}
MODULES = {*FILES.values()}


def layer_of(module: str) -> tuple[str, str]:
    """Return the package and the folder or single module in it that `module` belongs to."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0] or "__init__"


def imported(file: Path) -> Iterator[str]:
    """Yield the project's modules that a file imports, anywhere in it."""
    text = file.read_text()
    found: list[tuple[str, str]] = []
    if file.suffix in (".py", ".pyi"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found += [(alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{file} has a relative import; the project has none"
                found += [(node.module or "", alias.name) for alias in node.names]
    else:
        for module, names in CYTHON_IMPORT.findall(text):
            found += [
                (module, name.split()[0]) for name in re.split(r"[(,)]", names) if name.strip()
            ]
    for module, name in found:
        if module.partition(".")[0] in LAYERS:
            # A name that is no module, such as a class, belongs to the module it comes from.
            yield f"{module}.{name}" if f"{module}.{name}" in MODULES else module


IMPORTS = {module: set[str]() for module in MODULES}
for _file, _module in FILES.items():
    IMPORTS[_module] |= {*imported(_file)} - {_module}


def test_every_folder_and_module_has_its_layer() -> None:
    for package, layers in LAYERS.items():
        assert {layer_of(m)[1] for m in MODULES if m.startswith(package)} <= {*layers}
        missing = [
            name
            for name in layers
            if not (ROOT / package / name).is_dir()
            and not (ROOT / package / f"{name}.py").is_file()
        ]
        assert not missing, f"{package} has no {missing}"


def test_an_import_never_goes_upwards() -> None:
    order = {(p, name): at for p, layers in LAYERS.items() for at, name in enumerate(layers)}
    upwards = [
        f"{module} imports {target}"
        for module, targets in IMPORTS.items()
        for target in sorted(targets)
        if layer_of(module)[0] == layer_of(target)[0]
        if order[layer_of(target)] > order[layer_of(module)]
    ]
    assert not upwards


def test_no_modules_import_each_other() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join([*path, module])}"
        if module not in done:
            for target in sorted(IMPORTS.get(module, ())):
                visit(target, (*path, module))
            done.add(module)

    for module in sorted(MODULES):
        visit(module, ())


def test_pufferenv_knows_neither_pufferlib_nor_torch() -> None:
    for file, module in FILES.items():
        if module.partition(".")[0] == "pufferenv":
            found = re.findall(r"^\s*(?:from|import|cimport) (pufferlib|torch)\b", file.read_text())
            assert not found, f"{module} imports {found}"


def test_c_includes_follow_the_same_order() -> None:
    for file in (f for p in LAYERS for f in (ROOT / p).rglob("*.[ch]")):
        folder = file.parent.relative_to(ROOT).as_posix()
        for included in INCLUDE.findall(file.read_text()):
            other = (ROOT / included).parent.relative_to(ROOT).as_posix()
            if other in C_ORDER and folder in C_ORDER:
                assert C_ORDER.index(other) <= C_ORDER.index(folder), f"{file}: {included}"


@pytest.mark.parametrize(("tests", "package"), [("env", "pufferenv"), ("lib", "pufferlib")])
def test_the_tests_folders_mirror_the_packages(tests: str, package: str) -> None:
    ours = {
        path.name for path in (ROOT / "tests" / tests).iterdir() if (path / "__init__.py").exists()
    }
    theirs = {path.name for path in (ROOT / package).iterdir() if path.is_dir()}
    assert ours <= theirs


def test_no_folder_has_a_name_that_tools_leave_out() -> None:
    """git ignores build/ and runs/ in many projects; pytest looks into no folder named build."""
    folders = [path for top in (*LAYERS, "tests") for path in (ROOT / top).rglob("*")]
    assert not {"build", "runs", "dist"} & {path.name for path in folders if path.is_dir()}


def test_no_file_cites_a_document_that_is_not_here() -> None:
    for top in ("pufferenv", "pufferlib", "ocean", "tests", "bench", "docs", "examples", "."):
        for file in (ROOT / top).glob("*" if top == "." else "**/*"):
            if file.suffix in (*PYTHON, ".c", ".h", ".md", ".toml"):
                for cited in re.findall(r"(?<![\w/.-])(?:docs/)?[\w-]+\.md\b", file.read_text()):
                    here = (ROOT / cited, file.parent / cited, ROOT / "docs" / cited)
                    assert any(path.is_file() for path in here), f"{file} cites {cited}"
