"""Train a Gymnasium env with another trainer until it reaches a bar: one run of bench/learning.py.

    python bench/learning_peers.py sb3 CartPole-v1 --seed 1 --bar 475 --window 100 --run FOLDER

`sb3` is stable-baselines3's PPO with the settings that RL Baselines3 Zoo has tuned for the env
(hyperparams/ppo.yml). `cleanrl` is a loop in the style of CleanRL, with the settings of its ppo.py
or, for continuous actions, ppo_continuous_action.py. Both use one torch thread. A run ends when the
mean return of the last episodes, at least `window` of them, reaches the bar, or at the number of
steps that the settings are made for. After each update it appends to FOLDER/metrics.jsonl a line
like those of `puffer train`: agent_steps, uptime (seconds since all is imported), env/episodes and
env/score.
Needs `pip install -e '.[sb3]'`.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from peer_loops import Recipe, Report, cleanrl, sb3_callback
from recent import RecentScore
from timing import make_parser

DISCRETE = Recipe(
    envs=4,
    steps=128,
    one_trunk=False,
    learning_rate=2.5e-4,
    clip_value=True,
)
CONTINUOUS = DISCRETE._replace(
    envs=1,
    steps=2048,
    epochs=10,
    minibatches=32,
    learning_rate=3e-4,
    ent_coef=0.0,
    total=1_000_000,
)
CLEANRL = {
    "CartPole-v1": ("plain", DISCRETE),
    "Acrobot-v1": ("plain", DISCRETE),
    "Hopper-v5": ("normalized", CONTINUOUS),
}


class Zoo(NamedTuple):
    """The tuned settings of one env: those of PPO itself, and what is around it."""

    envs: int
    total: int  # steps
    settings: dict[str, Any]  # of stable_baselines3.PPO
    normalize: bool = False  # observations and rewards, by VecNormalize
    linear: tuple[str, ...] = ()  # settings that decay linearly to 0


ZOO = {
    "CartPole-v1": Zoo(
        envs=8,
        total=100_000,
        settings={
            "n_steps": 32,
            "batch_size": 256,
            "gae_lambda": 0.8,
            "gamma": 0.98,
            "n_epochs": 20,
            "ent_coef": 0.0,
            "learning_rate": 0.001,
            "clip_range": 0.2,
        },
        linear=("learning_rate", "clip_range"),
    ),
    "Acrobot-v1": Zoo(
        envs=16,
        total=1_000_000,
        settings={
            "n_steps": 256,
            "gae_lambda": 0.94,
            "gamma": 0.99,
            "n_epochs": 4,
            "ent_coef": 0.0,
        },
        normalize=True,
    ),
    "Hopper-v5": Zoo(  # tuned for Hopper-v3
        envs=1,
        total=1_000_000,
        settings={
            "batch_size": 32,
            "n_steps": 512,
            "gamma": 0.999,
            "learning_rate": 9.80828e-05,
            "ent_coef": 0.00229519,
            "clip_range": 0.2,
            "n_epochs": 5,
            "gae_lambda": 0.99,
            "max_grad_norm": 0.7,
            "vf_coef": 0.835671,
            "policy_kwargs": {
                "log_std_init": -2,
                "ortho_init": False,
                "activation_fn": "ReLU",
                "net_arch": {"pi": [256, 256], "vf": [256, 256]},
            },
        },
        normalize=True,
    ),
}


def sb3(name: str, seed: int, report: Report) -> None:
    """Train with stable-baselines3's PPO and the tuned settings of this env."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import VecNormalize

    zoo = ZOO[name]
    settings = dict(zoo.settings)
    for key in zoo.linear:
        settings[key] = lambda left, first=settings[key]: left * first
    if kwargs := settings.get("policy_kwargs"):
        settings["policy_kwargs"] = {
            **kwargs,
            "activation_fn": getattr(torch.nn, kwargs["activation_fn"]),
        }
    env = make_vec_env(name, zoo.envs, seed=seed)
    if zoo.normalize:
        env = VecNormalize(env, gamma=settings["gamma"])
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", **settings)
    model.learn(zoo.total, callback=sb3_callback(report))


class Log:
    """Writes a line of metrics per update, and ends training when the bar is reached."""

    def __init__(self, file: Path, bar: float, window: int) -> None:
        self.begin = time.perf_counter()
        self.file, self.bar, self.recent = file, bar, RecentScore(window)

    def __call__(self, steps: int, ended: list[tuple[float, float]]) -> bool:
        """Append the line; return whether the bar is reached."""
        count = sum(count for count, _ in ended)
        mean = sum(count * score for count, score in ended) / count if count else None
        line = {
            "agent_steps": steps,
            "uptime": time.perf_counter() - self.begin,
            "env/episodes": count,
            "env/score": mean,
        }
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        recent = self.recent.add(count, mean or 0.0)
        return recent is not None and recent >= self.bar


def main() -> None:
    """Train once."""
    parser = make_parser(__doc__)
    parser.add_argument("trainer", choices=("sb3", "cleanrl"))
    parser.add_argument("env", choices=ZOO)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bar", type=float, required=True, help="mean return to reach")
    parser.add_argument("--window", type=int, default=100, help="episodes in that mean")
    parser.add_argument("--run", type=Path, required=True, help="folder of metrics.jsonl")
    given = parser.parse_args()
    import torch

    if given.trainer == "sb3":
        import stable_baselines3  # noqa: F401 - before the clock of Log starts

    torch.set_num_threads(1)
    given.run.mkdir(parents=True)
    log = Log(given.run / "metrics.jsonl", given.bar, given.window)
    if given.trainer == "sb3":
        sb3(given.env, given.seed, log)
    else:
        kind, recipe = CLEANRL[given.env]
        cleanrl(kind, recipe._replace(env=given.env), given.seed, log)


if __name__ == "__main__":
    main()
