"""Speed of the examples on our envs relative to their framework's own envs.

    python bench/examples.py {sb3,torchrl,single_file} [--envs 64] [--timesteps 16384] [--rounds 5]
                             [--processes]

Trains cartpole with the example's own `train`, on our env and on Gymnasium's CartPole-v1 in the
framework's vector env, in turn, on one pinned core. The speed includes learning; the ratio is
computed per round. --processes adds the framework's vector env with one forked process per env, on
the same core.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gymnasium.vector import AutoresetMode
from timing import cores, describe, make_parser, pin, rounds, table

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

Case = tuple[str, Callable[[], Any]]  # name, function that makes the env
Train = Callable[[Any, int, int], float]


def sb3(envs: int, processes: bool) -> tuple[Train, list[Case]]:
    """stable-baselines3: DummyVecEnv, as its make_vec_env makes it."""
    import sb3_ppo
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from pufferlib import sb3

    cases: list[Case] = [
        ("ours", partial(sb3.make, "cartpole", envs)),
        ("DummyVecEnv", partial(make_vec_env, "CartPole-v1", envs)),
    ]
    if processes:
        options = {"vec_env_cls": SubprocVecEnv, "vec_env_kwargs": {"start_method": "fork"}}
        cases.append(("SubprocVecEnv", partial(make_vec_env, "CartPole-v1", envs, **options)))
    return sb3_ppo.train, cases


def torchrl(envs: int, processes: bool) -> tuple[Train, list[Case]]:
    """torchrl: SerialEnv over its GymEnv."""
    import torchrl_ppo
    from torchrl.envs import GymEnv, ParallelEnv, SerialEnv

    from pufferlib import torchrl

    one = partial(GymEnv, "CartPole-v1", categorical_action_encoding=True)
    cases: list[Case] = [
        ("ours", partial(torchrl.make, "cartpole", envs)),
        ("SerialEnv", partial(SerialEnv, envs, one)),
    ]
    if processes:
        cases.append(("ParallelEnv", partial(ParallelEnv, envs, one, mp_start_method="fork")))
    return torchrl_ppo.train, cases


def single_file(envs: int, processes: bool) -> tuple[Train, list[Case]]:
    """The single file: Gymnasium's SyncVectorEnv, as make_vec makes it."""
    import single_file_ppo
    from gymnasium import make_vec

    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    ours = partial(make_vec, "pufferenv:puffer/cartpole-v0", envs, copy=False, **mode)
    sync = partial(make_vec, "CartPole-v1", envs, "sync", vector_kwargs=mode)
    cases: list[Case] = [("ours", ours), ("SyncVectorEnv", sync)]
    if processes:
        parallel = partial(make_vec, "CartPole-v1", envs, "async", vector_kwargs=mode)
        cases.append(("AsyncVectorEnv", parallel))
    return single_file_ppo.train, cases


def rate(train: Train, make: Callable[[], Any], timesteps: int) -> float:
    """Return thousand env steps per second, including learning but not making the env."""
    env = make()
    begin = time.perf_counter()
    train(env, timesteps, 1)
    seconds = time.perf_counter() - begin
    if not getattr(env, "is_closed", False):  # torchrl's collector closes its env
        env.close()
    return timesteps / seconds / 1e3


def main() -> None:
    examples = {"sb3": sb3, "torchrl": torchrl, "single_file": single_file}
    parser = make_parser(__doc__)
    parser.add_argument("example", choices=examples)
    parser.add_argument("--envs", type=int, default=64, help="default 64")
    parser.add_argument("--timesteps", type=int, default=16_384, help="env steps per run")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--processes", action="store_true", help="also one process per env")
    args = parser.parse_args()
    describe()
    allowed = cores()
    pin(allowed[0] if allowed else None)
    torch.set_num_threads(1)
    train, cases = examples[args.example](args.envs, args.processes)
    for _, make in cases:
        rate(train, make, args.timesteps // 5)  # warm up
    measures = [(name, partial(rate, train, make, args.timesteps)) for name, make in cases]
    figures = rounds(measures, args.rounds)
    table(f"{args.example}, {args.envs} envs, thousand steps/s", figures)
    for name, _ in cases[1:]:
        ratios = [a / b for a, b in zip(figures["ours"], figures[name], strict=True)]
        print(f"ours / {name}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
