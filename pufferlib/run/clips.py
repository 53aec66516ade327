"""Clips: short videos of the policy during training, in `videos/` of the run's folder.

A clip shows the first seconds of one episode, always of the same seed, as an animated GIF named by
the agent steps of the policy. It uses envs of its own and no global random stream, so training
gives the same weights with clips and without.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pufferenv.drawing import video
from pufferlib.policies.base import Policy
from pufferlib.run import external_envs
from pufferlib.run.evaluate import Evaluator
from pufferlib.run.screens import VideoFile
from pufferlib.run.watch import Shown, watch

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec

SECONDS = 10.0  # the most that a clip lasts
MOST_FPS = 50.0  # players of GIFs show no more
WIDTH = 300  # pixels
MOST_CLIPS = 100  # in the folder; then the oldest is removed
MAX_SHARE = 0.03  # maximum share of the run's time for clips
FOLDER = "videos"


class ClipRecorder:
    """Records clips of the run in `folder`, one each `interval` seconds; `check` comes first."""

    def __init__(self, spec: "GameSpec", folder: Path, *, interval: float, seed: int) -> None:
        self._spec = external_envs.drawn(spec)
        self._folder, self._seed = folder / FOLDER, seed
        self._interval = interval
        self._due = time.monotonic() + interval

    @property
    def due(self) -> bool:
        """Return whether it is time for the next clip."""
        return time.monotonic() >= self._due

    def record(self, policy: Policy, agent_steps: int) -> Path:
        """Write a clip and return its file. Raise OSError or DisplayListError."""
        start = time.monotonic()
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{agent_steps:012}.gif"
        try:
            with _evaluator(policy, self._spec, self._seed) as evaluator:
                shown = Shown(evaluator, "")
                pace = evaluator.env.renderer.pace
                fps = min(pace, MOST_FPS)
                screen = VideoFile(path, fps, pace=pace, seconds=SECONDS, episodes=1)
                watch([shown], [screen], to_the_end=False)
        finally:
            now = time.monotonic()
            self._due = now + max(self._interval, (now - start) / MAX_SHARE)
        for old in sorted(self._folder.glob("*.gif"))[:-MOST_CLIPS]:
            old.unlink(missing_ok=True)
        return path


def check(spec: "GameSpec") -> None:
    """Raise what stands against clips of this game, before there is a run.

    NotDrawn for a game that does not draw itself, ImportError for a missing package.
    """
    video.check_path(Path("clip.gif"))
    with _evaluator(None, external_envs.drawn(spec), 0) as evaluator:
        Shown(evaluator, "").pictures.frames()


def _evaluator(policy: Policy | None, spec: "GameSpec", seed: int) -> Evaluator:
    return Evaluator(policy, spec, episodes=1, seed=seed, show_endings=True, render_size=WIDTH)
