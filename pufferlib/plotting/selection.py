"""The runs that the words of a command line name: folders of runs, folders of a game, games."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pufferenv.toolchain import targets as games
from pufferlib.config.resolve import is_external
from pufferlib.config.section import nearest
from pufferlib.plotting.run_log import RunLog, read
from pufferlib.run.directory import RunError, folder_name


def find(targets: Sequence[str], root: str | Path, every: bool) -> list[Path]:
    """Return the folders of runs, each once, in the order in which they are named.

    A target is a run's folder, a folder of runs, or a game: its newest run below `root`, or all of
    them with `every`. Raise RunError for a target that names no run.
    """
    found: dict[Path, Path] = {}
    for target in targets:
        for path in _runs_of(target, Path(root), every):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def read_all(paths: Iterable[Path]) -> tuple[list[RunLog], list[str]]:
    """Read these runs; return those that have metrics, and a note on everything left out.

    Raise RunError if no run has metrics.
    """
    logs, notes = [], []
    for path in paths:
        log = read(path)
        if log.damaged:
            lines = "1 damaged line" if log.damaged == 1 else f"{log.damaged} damaged lines"
            notes.append(f"{path}: {lines} of metrics.jsonl left out")
        if log.lines:
            logs.append(log)
        else:
            notes.append(f"{path} has no metrics yet; a run logs its first after one update")
    if not logs:
        raise RunError("no run has metrics to plot: " + "; ".join(notes))
    return logs, notes


def check_metric(metric: str, logs: Sequence[RunLog]) -> None:
    """Raise RunError unless a run has logged this metric; the error names the nearest."""
    known = list({name: None for log in logs for name in log.metrics})
    if metric in known:
        return
    # The name of a field is more likely to be meant than a loss whose name is similar.
    near = next((n for n in known if n.partition("/")[2] == metric), "") or nearest(metric, known)
    shown = [name for name in known if name.startswith(("env/", "eval/"))]
    listed = f" The game's own: {', '.join(shown)}" if shown else ""
    raise RunError(f"--metric {metric}: no run has logged it; did you mean {near}?{listed}")


def _runs_of(target: str, root: Path, every: bool) -> list[Path]:
    path = Path(target)
    if (path / "config.toml").is_file():
        return [path]
    if path.is_dir() and (runs := _runs_in(path)):
        return runs
    if path.is_file() and path.suffix != ".h":
        raise RunError(f"{target} is a file; give the folder of a run, or a game")
    if is_external(target) or path.suffix == ".h" or path.name == target:
        folder = root / folder_name(target if is_external(target) else path.stem)
        if runs := _runs_in(folder):
            return runs if every else [max(runs, key=_last_change)]
    raise _no_such_run(target, root)


def _runs_in(folder: Path) -> list[Path]:
    return sorted(config.parent for config in folder.glob("*/config.toml"))


def _last_change(run: Path) -> int:
    file = run / "metrics.jsonl"
    return (file if file.exists() else run / "config.toml").stat().st_mtime_ns


def _no_such_run(target: str, root: Path) -> RunError:
    if Path(target).is_dir():
        return RunError(f"{target} is neither a run's folder nor a folder of runs: no config.toml")
    if target in games.headers():
        return RunError(
            f"{target}: there is no run of it in {root}; to train one: puffer train {target}"
        )
    known = list(_known(Path(target), root))
    if not known:
        return RunError(
            f"{target}: no such run, and there is no other in {root}; to train one: "
            "puffer train GAME"
        )
    return RunError(f"{target}: no such run; did you mean {nearest(target, known)}?")


def _known(target: Path, root: Path) -> Iterator[str]:
    """Yield names that could be meant: runs beside the target, games and runs below `root`."""
    for run in _runs_in(target.parent) if target.name != str(target) else []:
        yield str(run)
    for config in sorted(root.glob("*/*/config.toml")):
        yield config.parent.parent.name
        yield str(config.parent)
