"""The build: which files it makes and when. Trees and caches are temporary."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pufferenv import games
from pufferenv.toolchain import incremental, targets
from tests.support.checkouts import exports_spec, my_game, run, source_of

# The game's object, and the drawing object of the same header.
BOTH = "ocean/squared.so\nocean/squared.draw.so\n"

# --- games of a checkout ------------------------------------------------------------------


def test_game_of_a_checkout_is_built_beside_its_header_and_only_once(tree: Path) -> None:
    first = run(tree, "build.py", "squared")
    assert (first.returncode, first.stdout, first.stderr) == (0, BOTH, "")
    made = [(tree / name).stat() for name in BOTH.split()]
    second = run(tree, "build.py", "squared")
    assert second.stdout == "nothing to do: 2 files are up to date\n"
    assert [(tree / name).stat() for name in BOTH.split()] == made


def test_header_without_a_view_has_no_drawing_object(tree: Path) -> None:
    header = tree / "ocean/squared.h"
    undrawn = header.read_text().partition("static void env_draw")[0]
    for macro in ("VIEW", "PACE", "KEYS"):
        undrawn = undrawn.replace(f"#define PUF_{macro}", f"#define UNUSED_{macro}")
    header.write_text(undrawn)
    assert run(tree, "build.py", "squared").stdout == "ocean/squared.so\n"
    assert not (tree / "ocean/squared.draw.so").exists()


@pytest.mark.parametrize(
    "changed", ["ocean/squared.h", "pufferenv/env.h", "pufferenv/contract/game.c"]
)
def test_change_of_any_file_that_a_game_includes_builds_it_anew(tree: Path, changed: str) -> None:
    run(tree, "build.py", "squared")
    before = (tree / "ocean/squared.so").stat().st_ino
    with (tree / changed).open("a") as file:
        file.write("// one more comment\n")
    assert run(tree, "build.py", "squared").stdout == BOTH
    # A new file, not new bytes in the old one, which a running process may have mapped.
    assert (tree / "ocean/squared.so").stat().st_ino != before


def test_new_time_with_old_content_builds_nothing(tree: Path) -> None:
    run(tree, "build.py", "squared")
    (tree / "ocean/squared.h").touch()
    assert run(tree, "build.py", "squared").stdout.startswith("nothing to do")


@pytest.mark.parametrize(
    ("changed", "is_another"),
    [
        ("ocean/squared.h", True),
        ("pufferenv/env.h", True),  # it has the random numbers
        ("pufferenv/draw.h", False),
        ("pufferenv/contract/game.c", False),
    ],
)
def test_hash_of_the_source_is_that_of_the_rules_alone(
    tree: Path, changed: str, is_another: bool
) -> None:
    def hashes() -> list[str]:
        run(tree, "build.py", "squared")
        return [source_of(tree / name) for name in BOTH.split()]

    first = hashes()
    with (tree / changed).open("a") as file:
        file.write("// one more comment\n")
    second = hashes()
    assert re.fullmatch("[0-9a-f]{16}", first[0])
    assert first[0] == first[1] and second[0] == second[1]
    assert (first != second) == is_another


def test_other_flags_build_anew(tree: Path) -> None:
    run(tree, "build.py", "squared")
    targets = tree / "pufferenv/toolchain/targets.py"
    targets.write_text(targets.read_text().replace('"-fno-math-errno"', '"-fmath-errno"'))
    assert run(tree, "build.py", "squared").stdout == BOTH


def test_portable_objects_stand_beside_the_tuned_ones_and_both_are_kept(tree: Path) -> None:
    portable = "build/release-baseline/ocean/squared.so"
    drawing = "build/release-baseline/ocean/squared.draw.so"
    first = run(tree, "build.py", "squared", PUFFER_ISA="baseline").stdout.splitlines()
    assert first == [portable, drawing, "to use these builds: PUFFER_ISA=baseline python ..."]
    assert run(tree, "build.py", "squared").stdout == BOTH
    script = "from pufferenv import games; print(games.find('squared'))"
    for isa, path in (("baseline", portable), ("", "ocean/squared.so")):
        again = run(tree, "build.py", "squared", PUFFER_ISA=isa).stdout
        assert again.startswith("nothing to do")
        assert run(tree, "-c", script, PUFFER_ISA=isa).stdout == f"{tree / path}\n"


def test_instruction_set_that_no_cpu_has_is_refused_by_the_command(tree: Path) -> None:
    done = run(tree, "build.py", "squared", PUFFER_ISA="avx3")
    assert done.returncode == 2
    assert "PUFFER_ISA=avx3: legal are baseline, avx2, avx512" in done.stderr


def test_object_that_something_else_overwrote_is_built_anew(tree: Path) -> None:
    run(tree, "build.py", "squared")
    (tree / "ocean/squared.so").write_bytes(b"not an object")
    assert run(tree, "build.py", "squared").stdout == "ocean/squared.so\n"


def test_find_in_a_checkout_builds_what_is_missing_or_changed(tree: Path) -> None:
    script = "from pufferenv import games; print(games.find('squared'))"
    assert run(tree, "-c", script).stdout == f"{tree}/ocean/squared.so\n"
    before = (tree / "ocean/squared.so").stat().st_ino
    assert run(tree, "-c", script).returncode == 0
    assert (tree / "ocean/squared.so").stat().st_ino == before
    with (tree / "ocean/squared.h").open("a") as file:
        file.write("// one more comment\n")
    assert run(tree, "-c", script).returncode == 0
    assert (tree / "ocean/squared.so").stat().st_ino != before


def test_copied_checkout_builds_and_loads_its_own_games(tree: Path, tmp_path: Path) -> None:
    copy, cache = tmp_path / "copy", str(tmp_path / "cache")
    header = my_game(tmp_path)
    script = (
        f"from pufferenv import games; print(games.find('squared'), games.find({str(header)!r}))"
    )
    theirs = run(tree, "-c", script, PUFFER_CACHE=cache).stdout.split("\n")[0]
    shutil.copytree(tree, copy)
    ours = run(copy, "-c", script, PUFFER_CACHE=cache).stdout.split("\n")[0]
    assert ours.startswith(f"{copy}/ocean/squared.so {cache}/my_game-")
    # The cache is shared, and the same header makes another object with another tree's env.c.
    assert ours.split()[-1] != theirs.split()[-1]
    assert run(tree, "-c", script, PUFFER_CACHE=cache).stdout == f"{theirs}\n"


def test_debug_and_sanitized_objects_have_their_own_names(tree: Path) -> None:
    debug = run(tree, "build.py", "squared", "--debug")
    sanitized = run(tree, "build.py", "squared", "--sanitize")
    assert debug.stdout.splitlines()[0] == "ocean/squared.debug.so"
    assert sanitized.stdout.splitlines()[0] == "ocean/squared.sanitize.so"
    assert "PUFFER_BUILD=debug" in debug.stdout
    assert re.search(r"PUFFER_BUILD=sanitize \w+=/\S+asan\S+ ", sanitized.stdout)
    assert not (tree / "ocean/squared.so").exists()


def test_list_and_clean(tree: Path) -> None:
    def listed() -> list[str]:
        return run(tree, "build.py", "--list").stdout.split()

    assert listed() == ["squared", "not", "built", "ocean/squared.h"]
    run(tree, "build.py", "squared")
    assert listed() == ["squared", "built", "ocean/squared.h"]
    run(tree, "build.py", "--clean")
    assert not [*(tree / "ocean").glob("*.so")]
    assert not (tree / "build").exists()
    assert (tree / "ocean/squared.h").exists()


def test_clean_leaves_what_the_build_did_not_make(tree: Path) -> None:
    header = my_game(tree)
    run(tree, "build.py", str(header))
    my_game(tree, ("size, 11,", "size, 12,"))
    for kind in ("--debug", "--sanitize"):
        run(tree, "build.py", str(header), kind)
    run(tree, "build.py", str(header))
    cache = tree / "cache"
    assert len([*cache.glob("*.so")]) == 8  # each with its drawing object
    (cache / "letters").mkdir()
    foreign = [cache / "letters/one.txt", cache / "notes.so", cache / f"libother-{'0a' * 8}.so"]
    for file in foreign:
        file.write_text("kept")
    assert run(tree, "build.py", "--clean").returncode == 0
    assert sorted(path for path in cache.rglob("*") if path.is_file()) == sorted(foreign)
    for file in foreign:
        file.unlink()
    (cache / "letters").rmdir()
    run(tree, "build.py", str(header))
    run(tree, "build.py", "--clean")
    assert not cache.exists()


# --- games from outside -------------------------------------------------------------------


def test_game_from_a_path_with_spaces_is_built_into_the_cache(tmp_path: Path, cache: Path) -> None:
    header = my_game(tmp_path / "a folder, with $HOME and #hash")
    made = targets.build_game(header)
    assert made.parent == cache
    assert re.fullmatch(r"my_game-[0-9a-f]{16}\.so", made.name)
    assert exports_spec(made)
    assert targets.build_game(header) == games.find(header) == games.find(str(header)) == made


def test_changed_header_gets_another_object_and_the_old_one_stays(
    tmp_path: Path, cache: Path
) -> None:
    first = games.find(my_game(tmp_path))
    second = games.find(my_game(tmp_path, ("size, 11,", "size, 12,")))
    assert first != second
    assert first.exists()
    assert games.find(my_game(tmp_path)) == first
    assert games.find(my_game(tmp_path), debug=True).name.endswith(".debug.so")


def test_header_that_a_game_includes_counts_too(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "rules.h").write_text("enum { LIMIT = 3 };\n")
    header = my_game(tmp_path, ("enum { EMPTY", '#include "rules.h"\nenum { EMPTY'))
    first = games.find(header)
    (tmp_path / "rules.h").write_text("enum { LIMIT = 4 };\n")
    assert games.find(header) != first


def test_two_processes_may_build_the_same_game_at_once(tmp_path: Path, cache: Path) -> None:
    header = my_game(tmp_path)
    command = [sys.executable, "-m", "pufferenv.build", str(header)]
    running = [subprocess.Popen(command, cwd=targets.ROOT, stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait() for process in running] == [0, 0]
    made = sorted(cache.glob("*.so"))
    assert sorted(path.name.partition(".")[2] for path in made) == ["draw.so", "so"]
    assert all(map(exports_spec, made))
    assert sorted(cache.iterdir()) == [*made, cache / "stamps"]


def test_cache_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PUFFER_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(targets.BuildError, match=r"cannot write .*file/cache.*PUFFER_CACHE"):
        targets.build_game(my_game(tmp_path))


@pytest.mark.parametrize("file", ["ocean/squared.so", "build/stamps/ocean~squared.so.json"])
def test_file_that_cannot_be_replaced_is_named_without_a_traceback(tree: Path, file: str) -> None:
    (tree / file / "in the way").mkdir(parents=True)
    done = run(tree, "build.py", "squared")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot write {tree}/{file} (")
    assert len(done.stderr.splitlines()) == 1


def test_folder_without_the_right_to_write_is_named(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")  # root is refused nothing

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(targets.BuildError, match=r"cannot write .*cache/.* \(Permission denied\)"):
        targets.build_game(my_game(tmp_path))


def test_built_files_have_the_permissions_that_the_umask_leaves(
    tmp_path: Path, cache: Path
) -> None:
    before = os.umask(0o022)
    try:
        made = targets.build_game(my_game(tmp_path))
    finally:
        os.umask(before)
    (stamp,) = (cache / "stamps").iterdir()
    assert stamp.stat().st_mode & 0o777 == 0o644
    assert made.stat().st_mode & 0o044 == 0o044


# --- the toml beside the header -------------------------------------------------------------


def test_defaults_are_the_toml_beside_the_header(tmp_path: Path) -> None:
    header = my_game(tmp_path)
    assert games.defaults(header) == {}
    header.with_suffix(".toml").write_text("[env]\nsize = 5\n[train]\ngamma = 0.9\n")
    assert games.defaults(header) == {"env": {"size": 5}, "train": {"gamma": 0.9}}
    header.with_suffix(".toml").write_text("[env\n")
    with pytest.raises(ValueError, match=r"my_game\.toml is not TOML: .*line 1"):
        games.defaults(header)
    header.with_suffix(".toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"my_game\.toml is not TOML: 'utf-8' codec"):
        games.defaults(header)


def test_rule_in_makes_syntax_is_read_back() -> None:
    rule = "env.o: /a\\ b/x.h \\\n  /c/$$y.h /d/\\#z.h\n"
    assert incremental._included(rule) == [Path("/a b/x.h"), Path("/c/$y.h"), Path("/d/#z.h")]
