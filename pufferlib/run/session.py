"""`puffer train`: train to the end or to Ctrl-C, and between updates log, save and evaluate.

The trainer learns; this file manages the run's folder and all output for the user.
"""

import dataclasses
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from pufferenv.drawing._drawing import DisplayListError
from pufferenv.external.game import EnvError, ExternalGame
from pufferenv.game_spec import GameSpec
from pufferlib.config.options import TrainOptions
from pufferlib.config.resolve import Config
from pufferlib.ppo.learner import TrainingDiverged
from pufferlib.ppo.trainer import Trainer
from pufferlib.run import choices, clips, dashboard, external_envs
from pufferlib.run import loggers as run_loggers
from pufferlib.run.checkpoint import (
    CheckpointError,
    check_compatible,
    compatibility_note,
    read_note,
    save,
)
from pufferlib.run.clips import ClipRecorder
from pufferlib.run.directory import RunDirectory
from pufferlib.run.evaluate import MAX_STEPS, evaluate, main_field
from pufferlib.run.formatting import number
from pufferlib.run.metrics_window import MetricsAccumulator
from pufferlib.run.signals import SignalHandler
from pufferlib.runtime.build import describe_build

LOG_INTERVAL = 0.5  # minimum seconds between two logs
MAX_EVAL_SHARE = 0.03  # maximum share of the run's time for periodic evaluation
# Steps of an env after which an evaluation gives up if the env is written in Python, states no
# limit, and has not ended an episode in training either. It may never end one.
UNENDING_STEPS = 1_000
# `puffer eval` uses another seed by default, because the score on the episodes that selected the
# best policy is biased upwards.
EVAL_SEED = 2**32 - 5
DONE, FAILED, INTERRUPTED = 0, 1, 130  # exit codes


def train(
    config: Config,
    spec: GameSpec,
    *,
    resume: RunDirectory | None = None,
    run_dir: str = "runs",
    name: str | None = None,
    loggers: Sequence[str] = (),
) -> int:
    """Train in a new run folder, or continue in that of `resume`; return the exit code.

    `loggers` are keys of LOGGERS. Raise ValueError (CheckpointError, RunError, LoggerError) before
    training if the run cannot start, SaveError if the disk fails later; the last checkpoint is then
    complete.
    """
    run_loggers.check(loggers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        trainer = Trainer(spec, {}, config.vec, config.train, config.policy)
    # Store the choices measured at the start in the run's config, so that the run can be repeated.
    train_options = dataclasses.replace(trainer.train, threads=trainer.threads.value)
    config = dataclasses.replace(config, train=train_options)
    try:
        if config.train.video_interval:
            clips.check(_eval_spec(spec))  # before there is a folder
        directory = resume or RunDirectory.create(run_dir, spec.name, name, config.asdict())
        training = TrainingRun(directory, trainer, config)
        # Collect messages for the dashboard, which does not exist yet and shows them first.
        messages = [str(warning.message) for warning in caught]
        if resume:
            messages.append(training.resume())
            resume.update_config(config.asdict())
        try:
            started = run_loggers.make(loggers, directory.path, config.asdict())
        except BaseException:
            if not resume:
                directory.remove()  # it has no results yet, so free its name
            raise
        return training.run(started, messages)
    finally:
        trainer.close()


class TrainingRun:
    """One run, from its start or its last checkpoint to its end."""

    def __init__(self, directory: RunDirectory, trainer: Trainer, config: Config) -> None:
        self.directory, self.trainer, self.config = directory, trainer, config
        spec = trainer.env.game_spec
        self._eval_spec = _eval_spec(spec)
        interval = config.train.video_interval
        self._clips = (
            ClipRecorder(self._eval_spec, directory.path, interval=interval, seed=EVAL_SEED)
            if interval
            else None
        )
        self.field = main_field(spec)  # None if the game logs nothing: no policy is the best
        self.best: float | None = None  # score of the best evaluation
        self._compatibility = compatibility_note(spec)
        self._metrics = MetricsAccumulator()
        described = spec.description
        self._may_not_end = described is not None and described.max_episode_steps is None
        self._evaluation: dict[str, float] = {}  # of the last evaluation, until logged
        self._evaluated_at = -1  # agent steps
        self._score: float | None = None  # score of the policy at `_evaluated_at`
        self._eval_due = self._save_due = self._log_due = 0.0  # time.monotonic()

    def resume(self) -> str:
        """Load the run's checkpoint; return a message that says where training continues."""
        tensors, state = self.directory.load()
        check_compatible(self.directory.path / "state.json", state, self._compatibility)
        try:
            self.trainer.load_state(tensors, state["trainer"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{self.directory.path} does not fit its config.toml: {error}"
            ) from None
        trainer = self.trainer
        if trainer.finished:
            raise CheckpointError(
                f"{self.directory.path} is complete: {trainer.agent_steps:,} of "
                f"{trainer.train.total_timesteps:,} steps; to evaluate it: puffer eval "
                f"{self.directory.path}; to train for longer, give --train.total-timesteps "
                "and a larger number"
            )
        self.best = state["best"]
        if self.directory.best_policy.exists():
            # The best policy is written before the checkpoint, so its score may exceed the
            # checkpoint's.
            score = read_note(self.directory.best_policy, "policy").get("score")
            self.best = max((s for s in (self.best, score) if s is not None), default=None)
        self.directory.drop_metrics_after(trainer.agent_steps)
        return (
            f"resumed at step {trainer.agent_steps:,}; all envs begin new episodes, and "
            f"{trainer.lost_steps:,} steps in rows that were not full are lost"
        )

    def run(self, loggers: list[run_loggers.Logger], messages: list[str]) -> int:
        """Train to the end or until interrupted; return the exit code. Shows `messages` first."""
        score = f"env/{self.field}" if self.field else None
        total = self.trainer.train.total_timesteps
        self._loggers = loggers
        with SignalHandler() as signals:
            chosen = choices.describe(self.config, self.trainer.env.game_spec)
            path = str(self.directory.path)
            self._display = dashboard.make(path, self._setup(), chosen, total, score)
            code = FAILED
            try:
                for message in messages:
                    self._display.message(message)
                code = self._loop(signals)
            except TrainingDiverged as error:
                self._display.message(f"training diverged: {error}")
            except EnvError as error:
                self._display.message(str(error))
            except KeyboardInterrupt:  # the second signal
                code = INTERRUPTED
            finally:
                self._display.close()
                for logger in loggers:
                    logger.close()
                self.directory.close()
        self._print_summary(code)
        return code

    def _loop(self, signals: SignalHandler) -> int:
        """Call `update` until done or interrupted; return the exit code."""
        options = self.config.train
        self._eval_due = time.monotonic() + options.eval_interval
        self._save_due = time.monotonic() + options.checkpoint_interval
        trainer = self.trainer
        while not trainer.finished and not signals.stop_requested:
            metrics = trainer.update()
            self._metrics.add(metrics)
            if metrics["env/episodes"]:
                self._may_not_end = False
            now = time.monotonic()
            if options.eval_interval and now >= self._eval_due and not trainer.finished:
                self._evaluate()
            if self._clips and self._clips.due and not trainer.finished:
                self._record_clip(self._clips)
            if now >= self._log_due and not trainer.finished:
                self._log()
            if options.checkpoint_interval and now >= self._save_due:
                self.save()
                self._save_due = time.monotonic() + options.checkpoint_interval
        if options.eval_interval and not signals.stop_requested:
            self.save()  # first, because the evaluation may take a while and be interrupted
            self._evaluate()
        if self._clips and not signals.stop_requested:
            self._record_clip(self._clips)
        if self._metrics.filled:
            self._log()
        self.save()
        return INTERRUPTED if signals.stop_requested and not trainer.finished else DONE

    def _log(self) -> None:
        metrics = {**self._metrics.take(), **self._evaluation}
        self._evaluation = {}
        self._log_due = time.monotonic() + LOG_INTERVAL
        self.directory.log(metrics)
        for logger in self._loggers:
            logger.log(metrics)
        self._display.update(metrics)

    def _evaluate(self) -> None:
        """Evaluate the current policy, save it if it is the best, and schedule the next time."""
        if self.field is None or self._evaluated_at == self.trainer.agent_steps:
            return
        result = evaluate(
            self.trainer.policy,
            self._eval_spec,
            episodes=self.config.train.eval_episodes,
            num_threads=self.trainer.env.engine.num_threads,
            seed=EVAL_SEED,
            max_steps=UNENDING_STEPS if self._may_not_end else MAX_STEPS,
        )
        self._evaluated_at, self._score = self.trainer.agent_steps, None
        spacing = max(self.config.train.eval_interval, result.seconds / MAX_EVAL_SHARE)
        self._eval_due = time.monotonic() + spacing
        if not result.episodes:
            self._display.message(f"evaluation: no episode ended in {result.agent_steps:,} steps")
            return
        for name, stats in result.fields.items():
            self._evaluation[f"eval/{name}"] = stats.mean
        self._score = result.fields[self.field].mean
        if self.best is None or self._score >= self.best:
            self.best = self._score
            self._save_policy(self.directory.best_policy)

    def _record_clip(self, recorder: ClipRecorder) -> None:
        """Record a clip of the current policy; a clip that cannot be written ends no training."""
        steps = self.trainer.agent_steps
        try:
            file = recorder.record(self.trainer.policy, steps)
        except (OSError, DisplayListError) as error:
            self._display.message(f"no clip of step {steps:,}: {error}")
            return
        for logger in self._loggers:
            logger.log_clip(file, steps)

    def save(self) -> None:
        """Save the last policy and everything that resuming needs."""
        self._save_policy(self.directory.last_policy)
        tensors, meta = self.trainer.state()
        self.directory.save(tensors, {**self._compatibility, "best": self.best, "trainer": meta})

    def _save_policy(self, path: Path) -> None:
        steps = self.trainer.agent_steps
        note = {
            **self._compatibility,
            "policy": self.config.policy.asdict(),
            "norm_obs": self.config.train.norm_obs,
            "agent_steps": steps,
            "score": self._score if self._evaluated_at == steps else None,
        }
        save(path, "policy", self.trainer.policy.state_dict(), note)

    def _setup(self) -> str:
        """Describe device, threads, build, sizes and additions to PPO: the output's first line."""
        trainer, build = self.trainer, describe_build()
        threads, env_threads = trainer.threads, trainer.env.engine.num_threads
        return ", ".join(
            (
                str(trainer.device),
                f"{threads.value} torch ({threads.reason}) and "
                f"{env_threads} env thread{'s' * (env_threads != 1)}",
                str(trainer.precision),
                f"{build['kernels']} kernels",
                f"{build['engine']} engine",
                f"{trainer.env.num_agents:,} agents",
                f"{trainer.sizes.batch_size:,}-step batches",
                *_additions(self.config.train),
            )
        )

    def _print_summary(self, code: int) -> None:
        """Print how the run ended and the command to evaluate or resume it."""
        path, steps = self.directory.path, self.trainer.agent_steps
        if code == DONE:
            best = f", best {self.field} {number(self.best)}" if self.best is not None else ""
            lost = self.trainer.dropped
            rest = f"; {lost:,} steps in rows that were not full are lost" if lost else ""
            print(f"done: {steps:,} steps{best}{rest}")
            print(f"evaluate it: puffer eval {path}")
            if self._clips:
                print(f"clips of it: {path / clips.FOLDER}")
            return
        outcome = "stopped" if code == INTERRUPTED else "failed"
        try:
            saved = json.loads((path / "state.json").read_bytes())["trainer"]["agent_steps"]
        except FileNotFoundError:
            print(f"{outcome} after {steps:,} steps, before the first checkpoint")
            return
        print(f"{outcome} after {steps:,} steps; the last checkpoint is of step {saved:,}")
        print(f"resume it: puffer train --resume {path}")


def _eval_spec(spec: GameSpec) -> GameSpec:
    """Return the game with its envs in this process, as evaluations are shorter than a start."""
    if isinstance(spec.game, ExternalGame):
        return GameSpec.of(external_envs.in_process(spec.game))
    return spec


def _additions(train: TrainOptions) -> list[str]:
    """Name the options that are on and that PPO's paper does not have."""
    normalized = ["observations"] * train.norm_obs + ["returns"] * train.norm_return
    limit = number(train.reward_clip)
    additions = {
        f"normalized: {' and '.join(normalized)}": bool(normalized),
        f"rewards clipped to [-{limit}, {limit}]": train.reward_clip > 0,
        f"value changes clipped to {number(train.vf_clip_coef)}": train.vf_clip_coef > 0,
        f"target KL {number(train.target_kl)}": train.target_kl > 0,
    }
    return [text for text, is_on in additions.items() if is_on]
