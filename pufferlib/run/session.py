"""The train command: update until done, and between updates log, save, evaluate, and heed Ctrl-C.

The trainer learns; this file owns the run's folder and what a person sees of it.
"""

import contextlib
import dataclasses
import json
import os
import signal
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pufferenv.external.game import EnvError, ExternalGame
from pufferlib.config.resolve import Config
from pufferlib.ppo.trainer import Trainer, TrainingDiverged
from pufferlib.run import dashboard, external_envs, loggers
from pufferlib.run.checkpoint import CheckpointError, check_fits, describe, read_note, save
from pufferlib.run.directory import Run
from pufferlib.run.evaluate import evaluate, main_field

if TYPE_CHECKING:
    from pufferenv.engine._engine import Game

LOG_SECONDS = 0.5  # between two logs, at least
EVAL_SHARE = 0.03  # of all time, at most: what periodic evaluation may cost
EVAL_SEED = 2**32 - 5  # other episodes than those of `puffer eval`, so that its figures are fair
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit codes


def train(
    config: Config,
    game: "Game",
    *,
    resume: Run | None = None,
    run_dir: str = "runs",
    name: str | None = None,
    tensorboard: bool = False,
    wandb: bool = False,
) -> int:
    """Train in a new run folder, or go on in that of `resume`; return the exit code.

    Raise ValueError (CheckpointError, RunError, LoggerError) before training for what cannot start,
    SaveError where the disk fails later; the last checkpoint is whole then.
    """
    loggers.check(tensorboard=tensorboard, wandb=wandb)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        trainer = Trainer(game, config.fields, config.vec, config.train, config.policy)
    # What was measured at the start: a run that shall repeat this one needs the same.
    settled = dataclasses.replace(trainer.train, threads=trainer.threads.number)
    config = dataclasses.replace(config, train=settled)
    try:
        run = resume or Run.create(run_dir, game.name, name, config.asdict())
        session = Session(run, trainer, config, game)
        notes = [str(warning.message) for warning in warned]
        if isinstance(game, ExternalGame):
            notes.append(external_envs.said(config, game))
        if resume:
            notes.append(session.resume())
            resume.keep(config.asdict())
        try:
            more = loggers.make(run.path, config.asdict(), tensorboard=tensorboard, wandb=wandb)
        except BaseException:
            if not resume:
                run.remove()  # nothing is in it yet, and its name is free again
            raise
        return session.go(more, notes)
    finally:
        trainer.close()


class Session:
    """One run from start, or from where it stopped, to its end."""

    def __init__(self, run: Run, trainer: Trainer, config: Config, game: "Game") -> None:
        self.run, self.trainer, self.config, self.game = run, trainer, config, game
        # An evaluation is short: worker processes would take longer to start.
        self._played = external_envs.in_process(game) if isinstance(game, ExternalGame) else game
        self.field = main_field(game)  # None: the game logs nothing, the best is not known
        self.best: float | None = None
        self._fits = describe(game, game.pack(config.fields))
        self._window = Window()
        self._evaluation: dict[str, float] = {}  # of the last evaluation, until it is logged
        self._evaluated_at = -1  # agent steps
        self._score: float | None = None  # of the policy at `_evaluated_at`
        self._eval_due = self._save_due = self._log_due = 0.0

    def resume(self) -> str:
        """Take up the run's checkpoint; return a line that says where it goes on."""
        tensors, state = self.run.load()
        check_fits(self.run.path / "state.json", state, self._fits)
        try:
            self.trainer.load_state(tensors, state["trainer"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.run.path} does not fit its config.toml: {error}"
            ) from None
        trainer = self.trainer
        if trainer.finished:
            raise CheckpointError(
                f"{self.run.path} is complete: {trainer.agent_steps:,} of "
                f"{trainer.train.total_timesteps:,} steps; evaluate it: puffer eval {self.run.path}"
                "; or train for longer: --train.total-timesteps and a larger number"
            )
        self.best = state["best"]
        if self.run.best.exists():  # perhaps better than the checkpoint knows: it is written first
            noted = read_note(self.run.best, "policy").get("score")
            self.best = max((s for s in (self.best, noted) if s is not None), default=None)
        self.run.drop_metrics_after(trainer.agent_steps)
        return (
            f"resumed at step {trainer.agent_steps:,}; episodes begin anew, and "
            f"{trainer.lost_steps:,} steps in rows that were not full are lost"
        )

    def go(self, more: list[loggers.Logger], notes: list[str]) -> int:
        """Train to the end or until interrupted; return the exit code."""
        score = f"env/{self.field}" if self.field else None
        total = self.trainer.train.total_timesteps
        with Stop() as stop:
            self._display = dashboard.make(str(self.run.path), self._picked(), total, score)
            self._loggers = more
            code = FAILED
            try:
                for note in notes:
                    self._display.note(note)
                code = self._loop(stop)
            except TrainingDiverged as error:
                self._display.note(f"training diverged: {error}")
            except EnvError as error:
                self._display.note(str(error))
            except KeyboardInterrupt:  # the second one
                code = INTERRUPTED
            finally:
                self._display.close()
                for logger in more:
                    logger.close()
                self.run.close()
        self._say_how_to_go_on(code)
        return code

    def _loop(self, stop: "Stop") -> int:
        options = self.config.train
        self._eval_due = time.monotonic() + options.eval_interval
        self._save_due = time.monotonic() + options.checkpoint_interval
        trainer = self.trainer
        while not trainer.finished and not stop.asked:
            self._window.add(trainer.update())
            now = time.monotonic()
            if options.eval_interval and now >= self._eval_due and not trainer.finished:
                self._evaluate()
            if now >= self._log_due and not trainer.finished:
                self._log()
            if options.checkpoint_interval and now >= self._save_due:
                self.save()
                self._save_due = time.monotonic() + options.checkpoint_interval
        if options.eval_interval and not stop.asked:
            self.save()  # the evaluation may take a while, and be interrupted
            self._evaluate()
        if self._window.filled:
            self._log()
        self.save()
        return INTERRUPTED if stop.asked and not trainer.finished else DONE

    def _log(self) -> None:
        metrics = {**self._window.take(), **self._evaluation}
        self._evaluation = {}
        self._log_due = time.monotonic() + LOG_SECONDS
        self.run.log(metrics)
        for logger in self._loggers:
            logger.log(metrics)
        self._display.update(metrics)

    def _evaluate(self) -> None:
        """Evaluate the present policy, keep it if none was better, and plan the next time."""
        if self.field is None or self._evaluated_at == self.trainer.agent_steps:
            return
        result = evaluate(
            self.trainer.policy,
            self._played,
            self.config.fields,
            episodes=self.config.train.eval_episodes,
            num_threads=self.trainer.env.engine.num_threads,
            seed=EVAL_SEED,
        )
        self._evaluated_at, self._score = self.trainer.agent_steps, None
        spacing = max(self.config.train.eval_interval, result.seconds / EVAL_SHARE)
        self._eval_due = time.monotonic() + spacing
        if not result.episodes:
            self._display.note(f"evaluation: no episode ended in {result.agent_steps:,} steps")
            return
        for name, stats in result.fields.items():
            self._evaluation[f"eval/{name}"] = stats.mean
        self._score = result.fields[self.field].mean
        if self.best is None or self._score >= self.best:
            self.best = self._score
            self._save_policy(self.run.best)

    def save(self) -> None:
        """Save the last policy and what resuming needs."""
        self._save_policy(self.run.last)
        tensors, meta = self.trainer.state()
        self.run.save(tensors, {**self._fits, "best": self.best, "trainer": meta})

    def _save_policy(self, path: Path) -> None:
        steps = self.trainer.agent_steps
        note = {
            **self._fits,
            "policy": self.config.policy.asdict(),
            "norm_obs": self.config.train.norm_obs,
            "agent_steps": steps,
            "score": self._score if self._evaluated_at == steps else None,
        }
        save(path, "policy", self.trainer.policy.state_dict(), note)

    def _picked(self) -> str:
        trainer, (threads, why) = self.trainer, self.trainer.threads
        floats, because = trainer.precision
        return (
            f"{trainer.device}, {threads} torch ({why}) and {trainer.env.engine.num_threads} env "
            f"threads, {floats} ({because}), {trainer.env.num_agents:,} agents, "
            f"{trainer.sizes.batch_size:,}-step batches"
        )

    def _say_how_to_go_on(self, code: int) -> None:
        """Print what there is now and what can be done with it."""
        path, steps = self.run.path, self.trainer.agent_steps
        if code == DONE:
            best = (
                f", best {self.field} {dashboard.number(self.best)}"
                if self.best is not None
                else ""
            )
            lost = self.trainer.dropped
            rest = f"; {lost:,} steps in rows that were not full are lost" if lost else ""
            print(f"done: {steps:,} steps{best}{rest}")
            print(f"play it: puffer eval {path}")
            return
        what = "stopped" if code == INTERRUPTED else "failed"
        try:
            saved = json.loads((path / "state.json").read_bytes())["trainer"]["agent_steps"]
        except FileNotFoundError:
            print(f"{what} after {steps:,} steps, before the first checkpoint")
            return
        print(f"{what} after {steps:,} steps; the checkpoint of step {saved:,} is whole")
        print(f"go on: puffer train --resume {path}")


class Window:
    """Metrics of the updates since the last log, as one: sums of seconds, means of the rest.

    A game's log counts by episodes, losses by updates; of anything else the last value stands.
    """

    def __init__(self) -> None:
        self.filled = False
        self._last: Mapping[str, float] = {}
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._seconds = self._steps = 0.0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Take the metrics of one update."""
        self.filled = True
        self._last = metrics
        seconds = sum(value for key, value in metrics.items() if key.startswith("time/"))
        self._seconds += seconds
        self._steps += metrics["sps"] * seconds
        for key, value in metrics.items():
            group = key.partition("/")[0]
            if group not in ("time", "loss", "env"):
                continue
            weight = metrics["env/episodes"] if group == "env" else 1.0
            if key == "env/episodes" or group == "time":
                self._sums[key] = self._sums.get(key, 0.0) + value
            elif weight:
                self._sums[key] = self._sums.get(key, 0.0) + weight * value
                self._weights[key] = self._weights.get(key, 0.0) + weight

    def take(self) -> dict[str, Any]:
        """Return the metrics, `agent_steps` first, and begin anew."""
        means = {key: total / self._weights.get(key, 1.0) for key, total in self._sums.items()}
        others = {key: v for key, v in self._last.items() if not key.startswith("env/")}
        taken: dict[str, Any] = {**others, **means}
        if self._seconds:
            taken["sps"] = self._steps / self._seconds
        self.__init__()  # type: ignore[misc]
        return taken


class Stop:
    """While entered, a first SIGINT or SIGTERM sets `asked`, a second raises KeyboardInterrupt."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> "Stop":
        self._before = [signal.signal(number, self._heed) for number in self.SIGNALS]
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in zip(self.SIGNALS, self._before, strict=True):
            signal.signal(number, handler)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        with contextlib.suppress(OSError):  # not by print, which may be at work right now
            os.write(1, b"stopping after this update; once more: at once\n")
