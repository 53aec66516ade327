"""Replays that `puffer eval` keeps: `--record`, and the best, median and worst episode of a run.

--record FILE      the first episode of the first env
--record FOLDER    the best, the median and the worst episode, as best.replay and so on
neither            those three in the folder replays of the run whose policy is evaluated, unless a
                   person watches
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pufferlib.config.section import ConfigError

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec
    from pufferlib.cli.policy_source import PolicySource
    from pufferlib.run.evaluate import Evaluator
    from pufferlib.run.replay_recorder import Episode, ReplayRecorder

FOLDER = "replays"  # of a run
SUFFIX = ".replay"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--record`."""
    parser.add_argument(
        "--record",
        metavar="FILE",
        help="keep a replay of the first episode in this file; in a folder, of the best, the "
        f"median and the worst one (default: those three in RUN/{FOLDER})",
    )


@dataclass
class Recording:
    """The recorder of one evaluation, and where its replays go."""

    recorder: "ReplayRecorder"
    spec: "GameSpec"
    ranked_by: str  # log field
    place: Path  # a file, or the folder of the three
    is_folder: bool
    asked_for: bool
    written: list[str] = field(default_factory=list)  # a line about each file


def check(args: argparse.Namespace) -> None:
    """Raise ConfigError for a `--record` that cannot be obeyed."""
    if args.record is None:
        return
    if args.compare:
        raise ConfigError(f"--record {args.record} is for one evaluation; --compare runs several")
    path = Path(args.record)
    if _is_folder(args.record):
        return
    if path.suffix != SUFFIX:
        raise ConfigError(
            f"--record {args.record} must be a file ending with {SUFFIX}, or a folder, whose name "
            "ends with / unless it exists"
        )
    if not path.parent.is_dir():
        raise ConfigError(f"--record {args.record}: there is no folder {path.parent}")


def begin(
    args: argparse.Namespace, source: "PolicySource", evaluator: "Evaluator"
) -> Recording | None:
    """Record an evaluation before its first step, if a replay of it is to be kept."""
    from pufferlib.run.evaluate import main_field
    from pufferlib.run.replay_recorder import refusal

    run = source.file.parent if source.file else None
    place = Path(args.record) if args.record is not None else None
    if place is None:
        # Watching a few episodes must not replace the replays of many.
        if (
            args.render
            or run is None
            or not (run / "config.toml").is_file()
            or refusal(source.spec)
        ):
            return None
        place = run / FOLDER
    is_folder = args.record is None or _is_folder(args.record)
    recorder = evaluator.record(source.label)
    ranked_by = str(main_field(source.spec))
    return Recording(recorder, source.spec, ranked_by, place, is_folder, args.record is not None)


def keep(recording: Recording) -> None:
    """Write the replays. Raise ReplayError or SaveError if they were asked for, else warn."""
    from pufferlib.run.checkpoint import SaveError
    from pufferlib.run.replay import ReplayError

    try:
        _write(recording)
    except (ReplayError, SaveError) as error:
        if recording.asked_for:
            raise
        print(f"puffer: warning: no replays are kept: {error}", file=sys.stderr)


def describe(recordings: Sequence[Recording], quiet: bool) -> None:
    """Print a line about each file that was written; to stderr if stdout is for JSON."""
    for recording in recordings:
        for line in recording.written:
            print(line, file=sys.stderr if quiet else sys.stdout)


def _write(recording: Recording) -> None:
    from pufferlib.run.replay_player import command

    recorder, game = recording.recorder, recording.spec.game
    chosen: dict[str, Episode]
    if recording.is_folder:
        chosen = recorder.ranked(recording.ranked_by)
    else:
        ended = [episode for episode in recorder.episodes if episode.env == episode.number == 0]
        chosen = {"first": ended[0]} if ended else {}
    if not chosen:
        if recording.asked_for:
            print("no replay is kept: the episode has not ended", file=sys.stderr)
        return
    replays = recorder.replays(list(chosen.values()))
    if recording.is_folder:
        _make_folder(recording.place)
    scores = []
    for name, replay in zip(chosen, replays, strict=True):
        path = recording.place / f"{name}{SUFFIX}" if recording.is_folder else recording.place
        size = replay.write(path)
        score = (replay.log or {}).get(recording.ranked_by, 0.0)
        scores.append(f"{name} {score:g}")
        if not recording.is_folder:
            about = f"{recording.ranked_by} {score:g}, {replay.steps} steps, {size / 1000:.1f} kB"
            recording.written.append(f"wrote {path}: {about}; to see it: {command(path, game)}")
    if recording.is_folder:
        recording.written.append(
            f"replays in {recording.place}, by {recording.ranked_by}: {', '.join(scores)}; to see "
            f"one: {command(recording.place / ('best' + SUFFIX), game)}"
        )


def _make_folder(folder: Path) -> None:
    from pufferlib.run.checkpoint import SaveError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{folder} cannot be made: {error.strerror}") from error


def _is_folder(text: str) -> bool:
    return text.endswith("/") or Path(text).is_dir()
