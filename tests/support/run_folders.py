"""Folders of runs that were never trained: a config and lines of metrics, written by tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pufferlib.config import toml_file


def write_run(
    path: Path,
    scores: Iterable[float | None],
    *,
    every: int = 1000,
    sps: float = 100.0,
    game: str = "cartpole",
    metric: str = "env/score",
    **settings: Mapping[str, Any],
) -> Path:
    """Write a run that has logged `scores` every so many steps; return its folder.

    `settings` are sections of its config: `train={"seed": 2}`.
    """
    path.mkdir(parents=True)
    (path / "config.toml").write_text(toml_file.to_text({"game": game, **settings}))
    lines = [
        {"agent_steps": every * n, "uptime": every * n / sps, "env/episodes": 3, metric: score}
        for n, score in enumerate(scores, 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
