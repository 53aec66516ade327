"""Every option of a training run, declared once: default, range or choices, one line of help.

To add an option, add it to its table here: the command line, `--help`, config files and checks
read these tables, and nothing else lists an option. This file imports neither torch nor the
engine, so that `puffer --help` is quick. A game declares its own options (`env.*`) in its header.
"""

import dataclasses

from pufferlib.config.networks import NETWORKS, RECURRENT
from pufferlib.config.section import Section, option


@dataclasses.dataclass(frozen=True)
class VecOptions(Section):
    """How many envs there are, and on how many threads they step."""

    num_envs: int = option(1024, "envs that step together", min=1, max=2**24)
    num_threads: int = option(
        0, "threads that step envs; auto: as many as torch's", min=0, max=256, auto=True
    )
    # On the CPU 1 is right; groups are there so that a GPU can see one while another one steps.
    num_groups: int = option(1, "groups of envs that act and step in turn", min=1, max=4)
    backend: str = option(
        "auto",
        "where envs written in Python play; auto: processes where there is more than one core",
        choices=("auto", "serial", "threads", "processes"),
    )
    timeout: float = option(
        300.0,
        "wrapped envs in worker processes: seconds that one may take to be made, reset or stepped; "
        "0: any",
        min=0,
    )
    asynchronous: bool = option(
        False,
        "wrapped envs: whichever group has stepped acts next, so that none waits for a slow one; "
        "results then depend on timing",
    )
    debug: bool = option(
        False, "check the game and the rows in every step; names the game, env, agent and step"
    )


@dataclasses.dataclass(frozen=True)
class PolicyOptions(Section):
    """Which network plays."""

    name: str = option(
        "auto",
        f"network; auto: cnn for images, else mlp; {' and '.join(RECURRENT)} remember",
        choices=("auto", *NETWORKS),
    )
    hidden_size: int = option(128, "units of each hidden layer", min=1, max=65536)
    num_layers: int = option(
        2, "hidden layers; of lstm and mingru: recurrent layers", min=1, max=64
    )
    activation: str = option(
        "relu", "between layers", choices=("relu", "tanh", "gelu", "silu", "elu")
    )
    path: str = option("", "your own network instead, as my_file.py:MyPolicy")


@dataclasses.dataclass(frozen=True)
class TrainOptions(Section):
    """How the policy learns."""

    total_timesteps: int = option(
        10_000_000, "agent steps to train for, in whole batches", min=1, max=10**15
    )
    seed: int = option(1, "seed of games, weights, sampling and shuffling", min=0, max=2**63 - 1)
    device: str = option(
        "auto",
        "where the policy runs; auto: a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = option(
        0,
        "torch's threads; auto: what is fastest, measured at the start",
        min=0,
        max=256,
        auto=True,
    )
    precision: str = option(
        "auto",
        "what matrix products take; auto: bfloat16 where the CPU has it and it pays, measured at "
        "the start",
        choices=("auto", "float32", "bfloat16"),
    )

    horizon: int = option(64, "steps of one row", min=1, max=65536)
    batch_size: int = option(
        0, "steps of one update, a multiple of horizon; 0: one row per agent", min=0, max=2**31
    )
    minibatch_size: int = option(
        0,
        "steps of one gradient step, a multiple of horizon that divides the batch; "
        "0: about a quarter of the batch",
        min=0,
        max=2**31,
    )
    update_epochs: int = option(2, "times each row is trained on per update", min=1, max=1000)

    optimizer: str = option(
        "adam", "muon: for hidden matrices, adam for the rest", choices=("adam", "muon")
    )
    learning_rate: float = option(2.5e-3, "step size at the start", min=0, max=100)
    lr_schedule: str = option(
        "linear", "how the step size falls", choices=("linear", "cosine", "constant")
    )
    lr_final: float = option(
        0.0, "step size at the end, as a part of that at the start", min=0, max=1
    )
    adam_beta1: float = option(0.9, "decay of Adam's mean of gradients", min=0, max=0.99999)
    adam_beta2: float = option(0.999, "decay of Adam's mean of squares", min=0, max=0.9999999)
    adam_eps: float = option(1e-8, "added to Adam's root of squares", min=1e-16, max=1)
    muon_momentum: float = option(0.95, "decay of Muon's momentum", min=0, max=0.99999)
    weight_decay: float = option(
        0.0, "part of each weight lost per unit of step size", min=0, max=1
    )
    max_grad_norm: float = option(0.5, "gradients are scaled down to this norm; 0: never", min=0)

    gamma: float = option(0.99, "discount per step", min=0, max=1)
    gae_lambda: float = option(0.95, "weight of longer returns in the advantage", min=0, max=1)
    rho_clip: float = option(1.0, "upper bound of V-trace's rho, for carried-over steps", min=0)
    c_clip: float = option(1.0, "upper bound of V-trace's c, for carried-over steps", min=0)
    norm_adv: bool = option(True, "advantages of a minibatch get mean 0 and deviation 1")
    reward_scale: float = option(1.0, "rewards are multiplied by this before anything else")
    reward_clip: float = option(0.0, "scaled rewards are clipped to [-this, this]; 0: never", min=0)

    clip_coef: float = option(0.2, "PPO's bound on the change of an action's odds", min=0, max=100)
    vf_coef: float = option(0.5, "weight of the value loss", min=0)
    vf_clip_coef: float = option(0.0, "bound on the change of a value; 0: none", min=0)
    ent_coef: float = option(0.01, "weight of the entropy bonus at the start", min=0)
    ent_final: float = option(
        1.0, "that at the end, as a part of it; falls as the step size does", min=0, max=1
    )
    target_kl: float = option(
        0.0, "an update stops early at this mean KL divergence; 0: never", min=0
    )

    norm_obs: bool = option(False, "observations get running mean 0 and deviation 1")
    norm_return: bool = option(False, "rewards are divided by the running deviation of returns")

    checkpoint_interval: float = option(
        60.0, "seconds between checkpoints; 0: only the last", min=0
    )
    eval_interval: float = option(
        30.0, "seconds between evaluations that choose the best policy; 0: none", min=0
    )
    eval_episodes: int = option(100, "episodes of one evaluation", min=1, max=10**7)


SECTIONS: dict[str, type[Section]] = {
    cls.section(): cls for cls in (VecOptions, TrainOptions, PolicyOptions)
}
