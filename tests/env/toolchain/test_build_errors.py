"""The build: the errors of mistakes in a header, a command or a machine."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from pufferenv import games
from pufferenv.toolchain import incremental, targets
from tests.support.checkouts import SQUARED, exports_spec, my_game, run


def test_compile_error_is_the_compilers_own_at_the_headers_line(
    tmp_path: Path, cache: Path
) -> None:
    header = my_game(tmp_path, ("env->tick = 0;", "env->tock = 0;"))
    lines = header.read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if "tock" in text)
    with pytest.raises(targets.BuildError, match=rf"my_game\.h:{line}:\d+: error: .*tock"):
        targets.build_game(header)
    assert not list(cache.glob("*.so"))


def test_command_prints_the_error_without_a_traceback_and_fails(tree: Path) -> None:
    header = my_game(tree, ("env->tick = 0;", "env->tock = 0;"))
    done = run(tree, "-m", "pufferenv.build", str(header))
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {header} does not compile:\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "macro",
    ["PUF_NAME", "PUF_DOC", "PUF_AGENTS", "PUF_OBS", "PUF_ACTIONS", "PUF_CONFIG", "PUF_LOG"],
)
def test_missing_macro_is_named_with_an_example_and_nothing_else(
    tmp_path: Path, cache: Path, macro: str
) -> None:
    header = my_game(tmp_path, (f"#define {macro}", f"#define NOT_{macro}"))
    with pytest.raises(targets.BuildError) as caught:
        targets.build_game(header)
    errors = [line for line in str(caught.value).splitlines() if "error: " in line]
    assert len(errors) == 1
    assert re.search(rf"{macro} is missing\. Example.*#define {macro}\b", errors[0])


VIEW = re.search(r"#define PUF_VIEW.*\n", SQUARED.read_text())[0]
KEYS = re.search(r"#define PUF_PACE.*\n#define PUF_KEYS(.*\\\n)*.*\n", SQUARED.read_text())[0]
DRAW = "static void env_draw("


def errors_of(header: Path, *, drawing: bool = True) -> list[str]:
    """Build a game that does not compile -> the lines of its errors."""
    with pytest.raises(targets.BuildError) as caught:
        targets.build_game(header, drawing=drawing)
    return [line for line in str(caught.value).splitlines() if "error: " in line]


@pytest.mark.parametrize(
    "changes", [((VIEW, ""), (KEYS, "")), ((VIEW, ""), (KEYS, ""), (DRAW, VIEW + DRAW))]
)
def test_drawing_without_a_view_above_the_include_is_one_error_that_says_so(
    tmp_path: Path, cache: Path, changes: tuple[tuple[str, str], ...]
) -> None:
    header = my_game(tmp_path, *changes)
    (error,) = errors_of(header, drawing=False)
    lines = header.read_text().splitlines()
    line = next(i for i, text in enumerate(lines, 1) if text.startswith(DRAW))
    needs = r"env_draw needs #define PUF_VIEW\(c\) 10, 10 above the #include"
    assert re.search(rf"my_game\.h:{line}:\d+: error: {needs}$", error)


def test_keys_without_a_view_are_an_error_that_says_so(tmp_path: Path, cache: Path) -> None:
    errors = errors_of(my_game(tmp_path, (VIEW, "")), drawing=False)
    assert "PUF_PACE and PUF_KEYS need PUF_VIEW and env_draw. Example: #define PUF" in errors[0]


@pytest.mark.skipif(sys.platform != "linux", reason="needs the linker's -z defs")
def test_a_view_without_a_drawing_is_an_error_of_the_drawing_and_a_warning_of_the_game(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = my_game(tmp_path)
    header.write_text(header.read_text().partition(DRAW)[0])
    targets.build_game(header)
    assert re.search(r"env_draw.* never defined", capsys.readouterr().err)
    with pytest.raises(targets.BuildError, match="undefined reference to `env_draw'"):
        targets.build_game(header, drawing=True)


def test_a_view_of_one_number_is_an_error_with_an_example(tmp_path: Path, cache: Path) -> None:
    (error,) = errors_of(my_game(tmp_path, (VIEW, "#define PUF_VIEW(c) 11\n")))
    assert "PUF_VIEW is a width and a height: #define PUF_VIEW(c) 18, 11" in error


@pytest.mark.parametrize("row", ['X(move, 1, "down s")', 'X(move, 1, "down", "down", 2)'])
def test_a_row_of_keys_with_a_wrong_number_of_columns_is_shown(
    tmp_path: Path, cache: Path, row: str
) -> None:
    header = my_game(tmp_path, (KEYS, f"#define PUF_KEYS(X) {row}\n"))
    (error,) = errors_of(header)
    shown = row.replace('"', '\\"')
    assert (
        "PUF_KEYS has four columns: head or axis, choice or value, keys, label; this one is "
        in error
    )
    assert f"{shown}" in error


def test_header_without_the_contract_is_an_error_that_names_the_include(
    tmp_path: Path, cache: Path
) -> None:
    header = my_game(tmp_path, ('#include "pufferenv/env.h"', ""))
    with pytest.raises(targets.BuildError, match=r"lacks #include .*pufferenv/env\.h"):
        targets.build_game(header)


@pytest.mark.skipif(sys.platform != "linux", reason="needs the linker's -z defs")
def test_forgotten_function_is_an_error_of_the_build(tmp_path: Path, cache: Path) -> None:
    forgotten = ("static void env_close(Env *env) { (void)env; } // nothing was allocated", "")
    with pytest.raises(incremental.BuildError, match="undefined reference to `env_close'"):
        targets.build_game(my_game(tmp_path, forgotten))


def test_warning_about_a_game_from_outside_is_shown_and_no_error(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = targets.build_game(my_game(tmp_path, ("env->tick = 0;", "int unused; env->tick = 0;")))
    assert exports_spec(made)
    assert "unused variable" in capsys.readouterr().err


def test_warning_about_a_game_of_the_project_is_an_error_of_the_command(tree: Path) -> None:
    header = tree / "ocean/squared.h"
    header.write_text(header.read_text().replace("env->tick = 0;", "int unused; env->tick = 0;"))
    done = run(tree, "build.py", "squared")
    assert done.returncode == 1
    assert "unused variable" in done.stderr


@pytest.mark.parametrize("args", [["squared"], []])
def test_without_a_compiler_one_line_says_which_package_to_install(
    tree: Path, args: list[str]
) -> None:
    done = run(tree, "build.py", *args, PATH=str(tree / "nothing here"), CC="")
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "no C compiler was found: " in done.stderr
    assert "gcc" in done.stderr or "xcode-select" in done.stderr


def test_compiler_that_is_not_there_is_named(tree: Path) -> None:
    done = run(tree, "build.py", "squared", CC="ccc -m64")
    assert done.stderr == "error: CC=ccc -m64: there is no such program\n"


def test_missing_python_headers_are_named_with_their_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    with pytest.raises(targets.BuildError, match="python3-dev"):
        targets.build_all(into=tmp_path)


def test_unknown_game_names_the_nearest_and_all() -> None:
    with pytest.raises(
        ValueError, match=r"unknown game 'sqared': did you mean 'squared'\?"
    ) as caught:
        games.find("sqared")
    for name in games.names():
        assert name in str(caught.value)


def test_path_without_a_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no header .*nope\.h$"):
        games.find(tmp_path / "nope.h")
    (tmp_path / "note.h").touch()
    with pytest.raises(ValueError, match=r"nope\.h; did you mean .*note\.h\?"):
        games.find(tmp_path / "nope.h")


def test_unknown_kind_of_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUFFER_BUILD", "fast")
    with pytest.raises(ValueError, match="PUFFER_BUILD=fast: legal are release, debug, sanitize"):
        games.find("squared")


def test_name_in_the_header_must_be_the_files(tmp_path: Path, cache: Path) -> None:
    header = my_game(tmp_path, ('PUF_NAME "my_game"', 'PUF_NAME "other"'))
    with pytest.raises(ValueError, match="PUF_NAME is 'other'; it must be 'my_game'"):
        games.load(header)
