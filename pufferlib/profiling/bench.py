"""`puffer bench`: steps per second of a game from Python, and how training divides its time.

A report is a dict of figures and of what they depend on: compiler, flags, sizes, threads, versions.
"""

import platform
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pufferenv.cores import usable_cores
from pufferenv.engine._engine import compiled
from pufferenv.vector_env import PufferVectorEnv, make
from pufferlib.config.resolve import Config
from pufferlib.run.formatting import count
from pufferlib.runtime.build import describe_build

if TYPE_CHECKING:
    from pufferenv.game_spec import GameSpec
    from pufferlib.ppo.trainer import Trainer
    from pufferlib.profiling.roofline import Roofline

ACTION_BATCHES = 16  # batches of random actions, made before the clock starts
CLOCK_CHUNK = 10  # steps between two readings of the clock


def bench_env(config: Config, spec: "GameSpec", seconds: float) -> dict[str, Any]:
    """Step the vector env with random actions, on one thread and on all threads; report."""
    most = min(config.vec.num_threads or usable_cores(), config.vec.num_envs)
    report = _about(config, spec)
    report["steps_per_second"] = {
        f"{threads} thread{'s' if threads > 1 else ''}": _step_rate(config, spec, threads, seconds)
        for threads in sorted({1, most})
    }
    return report


def bench_training(config: Config, spec: "GameSpec", seconds: float) -> dict[str, Any]:
    """Train for about `seconds` without saving; report the seconds of each section of the loop."""
    import torch

    from pufferlib.ppo.trainer import Trainer

    trainer = Trainer(spec, {}, config.vec, config.train, config.policy)
    try:
        trainer.update()  # warm up: touch memory, record graphs
        report = _about(config, spec)
        threads = trainer.threads
        report["torch"] = (
            f"{torch.__version__}, {threads.value} threads ({threads.reason}), {trainer.device}"
        )
        report["precision"] = str(trainer.precision)
        report["batch_size"] = trainer.sizes.batch_size
        report["minibatch_size"] = trainer.sizes.minibatch_size
        return report | measure(trainer, roofline(trainer), seconds)
    finally:
        trainer.close()


def roofline(trainer: "Trainer") -> "Roofline":
    """Count the products of a trainer's policy, at the shapes that it acts and learns with."""
    import torch

    from pufferlib.fused.backend import FusedBackend
    from pufferlib.profiling.roofline import Roofline, count_acting, count_learning

    # Acting: a group with its mean number of live agents. On a CPU, if all agents live, the
    # observations are a strided view of the pool; otherwise they are gathered.
    collector, sizes = trainer.collector, trainer.sizes
    agents = round(trainer.agent_steps / collector.steps / len(collector.groups))
    pool = torch.from_numpy(trainer.env.arrays["pool_observation"])  # (R, H, *O)
    obs = pool[:agents, 0]
    if trainer.env.engine.uniform_first_slot() < 0 or trainer.device.type != "cpu":
        obs = obs.contiguous().to(trainer.device)

    # Learning: a minibatch, or one chunk if threads share the minibatch.
    backend, network, count = trainer.backend, None, sizes.minibatch_sequences
    if isinstance(backend, FusedBackend):
        network, count = backend.workers[0].network, backend.chunk_sequences
    dtype = network.input_dtype if network else pool.dtype
    sequences = pool.view(-1, sizes.sequence, *pool.shape[2:])[:count]
    sequences = sequences.to(trainer.device, dtype, copy=True)
    learn = count_learning(backend.policy, sequences, network)
    trainer.optimizer.zero_grad()
    return Roofline(
        count_acting(backend.policy, obs, network),
        agents,
        learn,
        count * sizes.sequence,
        trainer.train.update_epochs,
        torch.cuda.synchronize if trainer.device.type == "cuda" else None,
        trainer.thread_pool.size,
    )


def measure(
    trainer: "Trainer",
    roof: "Roofline",
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Time updates and products in turn; return speed, roofline and seconds of each section.

    `gemm_seconds` are the seconds that a section's products take alone, a lower bound for it.
    """
    sections: dict[str, float] = {}
    steps, whole = trainer.agent_steps, 0.0
    while whole < seconds:
        roof.measure()
        trainer.timer.take()  # drop the time that the products took
        begin = clock()
        metrics = trainer.update()
        whole += clock() - begin
        for key, value in metrics.items():
            if key.startswith("time/"):
                sections[key[5:]] = sections.get(key[5:], 0.0) + value
    steps = trainer.agent_steps - steps
    report: dict[str, Any] = {"steps_per_second": steps / whole, **roof.report(steps / whole)}
    report["seconds"] = {**sections, "sum": sum(sections.values()), "clock": whole}
    if roof.known:
        passes = {"forward": "act", "loss_backward": "learn"}
        report["gemm_seconds"] = {name: steps * roof.seconds(n) for name, n in passes.items()}
    return report


def format_report(report: dict[str, Any]) -> str:
    """Return a report as aligned lines."""
    lines = []
    for key, value in report.items():
        label = key.replace("_", " ")
        if key == "seconds":
            lines += _shares(value, report.get("gemm_seconds", {}))
        elif key == "gemm_seconds":
            continue  # printed beside the seconds
        elif isinstance(value, dict):
            width = max(15, *map(len, value))
            lines += [label, *(f"  {n:<{width}}{_plain(part):>8}" for n, part in value.items())]
        elif key == "reached":
            lines.append(f"{'of the roofline':<17}{value:.1%}")
        else:
            lines.append(f"{label:<17}{_plain(value)}")
    return "\n".join(lines)


def _shares(seconds: dict[str, float], products: dict[str, float]) -> list[str]:
    """Return a line for each section: seconds, share, and seconds of its products alone."""
    whole = seconds["sum"] or 1.0
    lines = [f"seconds{'':>18}share" + "   products alone" * bool(products)]
    for part, taken in seconds.items():
        alone = f"  {products[part]:15.3f}" if part in products else ""
        lines.append(f"  {part:<15}{taken:8.3f}  {taken / whole:4.0%}{alone}")
    return lines


def _about(config: Config, spec: "GameSpec") -> dict[str, Any]:
    built = compiled()
    return {
        "game": spec.name,
        "env": ", ".join(f"{key}={value}" for key, value in config.env.items()) or "no config",
        "num_envs": config.vec.num_envs,
        "compiler": str(built["compiler"]),
        "flags": str(built["flags"]),
        "debug_build": spec.game.debug or bool(built["debug"]),
        **describe_build(),
        "python": f"{platform.python_version()}, numpy {np.__version__}",
        "machine": f"{platform.machine()}, usable cores: {usable_cores()}",
    }


def _step_rate(config: Config, spec: "GameSpec", threads: int, seconds: float) -> float:
    """Return agent steps per second, with actions given from Python."""
    seed = config.train.seed
    envs = make(spec, config.vec.num_envs, num_threads=threads, seed=seed)
    try:
        envs.reset()
        actions = [_random_actions(envs, seed) for seed in range(ACTION_BATCHES)]
        for action in actions:
            envs.step(action)
        steps, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            for i in range(CLOCK_CHUNK):
                envs.step(actions[(steps + i) % ACTION_BATCHES])
            steps += CLOCK_CHUNK
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
