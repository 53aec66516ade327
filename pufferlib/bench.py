"""`puffer bench`: steps per second of a game from Python, and where a training's time goes.

A report is a dict with all that a figure depends on: compiler, flags, sizes, threads, versions.
"""

import platform
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pufferenv._engine import compiled
from pufferenv.vector import PufferVectorEnv, make
from pufferlib import cores
from pufferlib.config import Config
from pufferlib.dashboard import count

if TYPE_CHECKING:
    from pufferenv._engine import Game

PREPARED = 16  # batches of random actions, made before the clock starts
CHUNK = 10  # steps between two looks at the clock


def env(config: Config, game: "Game", seconds: float) -> dict[str, Any]:
    """Step the vector env with random actions, on one thread and on all; return the report."""
    most = min(config.vec.num_threads or cores.usable(), config.vec.num_envs)
    report = _about(config, game)
    report["steps_per_second"] = {
        f"{threads} thread{'s' if threads > 1 else ''}": _step_rate(config, game, threads, seconds)
        for threads in sorted({1, most})
    }
    return report


def train(config: Config, game: "Game", seconds: float) -> dict[str, Any]:
    """Train for about `seconds`, saving nothing; return the report. Its parts add up."""
    import torch

    from pufferlib.trainer import Trainer

    trainer = Trainer(game, config.env, config.vec, config.train, config.policy)
    try:
        trainer.update()  # first touches of memory, threads started
        trainer.timer.take()
        parts: dict[str, float] = {}
        steps, start = trainer.agent_steps, time.perf_counter()
        while time.perf_counter() - start < seconds:
            for key, value in trainer.update().items():
                if key.startswith("time/"):
                    parts[key[5:]] = parts.get(key[5:], 0.0) + value
        whole = time.perf_counter() - start
        report = _about(config, game)
        report["torch"] = f"{torch.__version__}, {trainer.threads} threads, {trainer.device}"
        report["batch_size"] = trainer.sizes.batch_size
        report["minibatch_size"] = trainer.sizes.minibatch_rows * trainer.sizes.horizon
        report["steps_per_second"] = (trainer.agent_steps - steps) / whole
        report["seconds"] = {**parts, "sum": sum(parts.values()), "clock": whole}
        return report
    finally:
        trainer.close()


def text(report: dict[str, Any]) -> str:
    """Write a report as aligned lines."""
    lines = []
    for key, value in report.items():
        label = key.replace("_", " ")
        if key == "seconds":
            whole = value["sum"] or 1.0
            lines += [f"{label}"]
            lines += [f"  {part:<15}{s:8.3f}  {s / whole:4.0%}" for part, s in value.items()]
        elif isinstance(value, dict):
            lines += [label, *(f"  {name:<15}{_plain(part):>8}" for name, part in value.items())]
        else:
            lines.append(f"{label:<17}{_plain(value)}")
    return "\n".join(lines)


def _about(config: Config, game: "Game") -> dict[str, Any]:
    built = compiled()
    return {
        "game": game.name,
        "env": ", ".join(f"{key}={value}" for key, value in config.env.items()) or "no config",
        "num_envs": config.vec.num_envs,
        "compiler": str(built["compiler"]),
        "flags": str(built["flags"]),
        "debug_build": game.debug or bool(built["debug"]),
        "python": f"{platform.python_version()}, numpy {np.__version__}",
        "machine": f"{platform.machine()}, {cores.usable()} cores usable",
    }


def _step_rate(config: Config, game: "Game", threads: int, seconds: float) -> float:
    """Return agent steps per second, actions of all kinds given from Python."""
    seed = config.train.seed
    envs = make(game, config.vec.num_envs, num_threads=threads, seed=seed, config=config.env)
    try:
        envs.reset()
        actions = [_random_actions(envs, seed) for seed in range(PREPARED)]
        for action in actions:
            envs.step(action)
        steps, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            for i in range(CHUNK):
                envs.step(actions[(steps + i) % PREPARED])
            steps += CHUNK
        return steps * envs.num_envs / passed
    finally:
        envs.close()


def _random_actions(envs: PufferVectorEnv, seed: int) -> Any:
    """Make uniform actions: int32 (A, K), float32 (A, X), or a dict of both."""
    random = np.random.default_rng(seed)
    made: dict[str, npt.NDArray[Any]] = {}
    if envs.heads:
        sizes = [head.n for head in envs.heads]
        made["discrete"] = random.integers(0, sizes, (envs.num_envs, len(sizes)), np.int32)
    if envs.axes:
        low, high = ([getattr(axis, end) for axis in envs.axes] for end in ("low", "high"))
        made["continuous"] = random.uniform(low, high, (envs.num_envs, len(low))).astype(np.float32)
    return made if len(made) > 1 else next(iter(made.values()))


def _plain(value: Any) -> str:
    return count(value) if isinstance(value, float) else str(value)
