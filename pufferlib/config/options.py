"""Every option of a training run, declared once: default, range or choices, one line of help.

To add an option, add it to its table here: the command line, `--help`, config files and checks
read these tables, and nothing else lists an option. This file imports neither torch nor the
engine, so that `puffer --help` is quick. A game declares its own options (`env.*`) in its header.
"""

import dataclasses

from pufferenv.external.backends.registry import BACKENDS
from pufferlib.config.networks import ACTIVATIONS, NETWORKS, RECURRENT
from pufferlib.config.section import Section, option


@dataclasses.dataclass(frozen=True)
class VecOptions(Section):
    """The envs: their number, and how and where they are stepped."""

    num_envs: int = option(1024, "number of envs", min=1, max=2**24)
    num_threads: int = option(
        0, "threads that step the envs; auto: as many as torch uses", min=0, max=256, auto=True
    )
    # On a CPU use one group. With more, a GPU can run the policy for one group while others step.
    num_groups: int = option(1, "groups of envs that take turns acting and stepping", min=1, max=4)
    backend: str = option(
        "auto",
        "where Python envs run; auto: in processes if there is more than one core",
        choices=("auto", *BACKENDS),
    )
    timeout: float = option(
        300.0,
        "seconds that a Python env in a worker process may take to be created, reset or stepped; "
        "0: no limit",
        min=0,
    )
    asynchronous: bool = option(
        False,
        "Python envs: the group that finishes first acts next, so that no group waits for a "
        "slow env; results then depend on timing",
    )
    debug: bool = option(
        False, "check the game and the rows in every step; errors name game, env, agent and step"
    )


@dataclasses.dataclass(frozen=True)
class PolicyOptions(Section):
    """The network of the policy."""

    name: str = option(
        "auto",
        f"network; auto: cnn for images, otherwise mlp; {' and '.join(RECURRENT)} are recurrent",
        choices=("auto", *NETWORKS),
    )
    hidden_size: int = option(128, "units per hidden layer", min=1, max=65536)
    num_layers: int = option(
        2,
        f"hidden layers; in {' and '.join(RECURRENT)} all but the first are recurrent",
        min=1,
        max=64,
    )
    conv_filters: int = option(
        32,
        "filters of the first convolution of an image of 36 pixels or more; the second and the "
        "third have twice as many",
        min=1,
        max=4096,
    )
    activation: str = option(
        "relu",
        "activation function of the hidden layers",
        choices=tuple(ACTIVATIONS),
    )
    path: str = option("", "your own network instead, such as my_file.py:MyPolicy")


@dataclasses.dataclass(frozen=True)
class TrainOptions(Section):
    """How the policy is trained and how often it is saved and evaluated."""

    total_timesteps: int = option(
        10_000_000, "agent steps to train for, rounded up to whole batches", min=1, max=10**15
    )
    seed: int = option(1, "seed of games, weights, sampling and shuffling", min=0, max=2**63 - 1)
    device: str = option(
        "auto",
        "device of the policy; auto: a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )
    threads: int = option(
        0,
        "torch's threads; auto: the fastest number, measured at the start",
        min=0,
        max=256,
        auto=True,
    )
    precision: str = option(
        "auto",
        "number format of matrix products; auto: bfloat16 if this CPU has it and it is faster, "
        "measured at the start",
        choices=("auto", "float32", "bfloat16"),
    )

    horizon: int = option(64, "steps per row", min=1, max=65536)
    batch_size: int = option(
        0, "steps per update, a multiple of horizon; 0: one row per agent", min=0, max=2**31
    )
    minibatch_size: int = option(
        0,
        "steps per gradient step, a multiple of horizon that divides the batch; "
        "0: about a quarter of the batch",
        min=0,
        max=2**31,
    )
    update_epochs: int = option(2, "passes over each batch", min=1, max=1000)
    shuffle: str = option(
        "rows",
        "what a minibatch is drawn from: whole rows, or single steps, which costs more time and "
        f"depends less on what happened to be consecutive; {' and '.join(RECURRENT)} keep rows",
        choices=("rows", "steps"),
    )

    optimizer: str = option(
        "adam", "muon: Muon for hidden matrices, Adam for the rest", choices=("adam", "muon")
    )
    learning_rate: float = option(2.5e-3, "learning rate at the start", min=0, max=100)
    lr_schedule: str = option(
        "linear", "how the learning rate decays", choices=("linear", "cosine", "constant")
    )
    lr_final: float = option(
        0.0, "learning rate at the end, as a fraction of that at the start", min=0, max=1
    )
    adam_beta1: float = option(0.9, "decay rate of Adam's mean of gradients", min=0, max=0.99999)
    adam_beta2: float = option(
        0.999, "decay rate of Adam's mean of squared gradients", min=0, max=0.9999999
    )
    adam_eps: float = option(1e-8, "term added to Adam's denominator", min=1e-16, max=1)
    muon_momentum: float = option(0.95, "momentum of Muon", min=0, max=0.99999)
    weight_decay: float = option(
        0.0, "decoupled weight decay, multiplied by the learning rate", min=0, max=1
    )
    max_grad_norm: float = option(
        0.5, "gradients with a larger norm are scaled down to this norm; 0: never", min=0
    )

    gamma: float = option(0.99, "discount factor per step", min=0, max=1)
    gae_lambda: float = option(0.95, "lambda of generalized advantage estimation", min=0, max=1)
    rho_clip: float = option(1.0, "upper bound of V-trace's rho, for carried-over slots", min=0)
    c_clip: float = option(1.0, "upper bound of V-trace's c, for carried-over slots", min=0)
    norm_adv: bool = option(
        True, "normalize the advantages of a minibatch to mean 0 and standard deviation 1"
    )
    reward_scale: float = option(1.0, "factor that all rewards are multiplied by first")
    reward_clip: float = option(
        0.0, "scaled rewards are clipped to [-this, this]; 0: no clipping", min=0
    )

    clip_coef: float = option(0.2, "PPO's clip range of the probability ratio", min=0, max=100)
    vf_coef: float = option(0.5, "weight of the value loss", min=0)
    vf_clip_coef: float = option(0.0, "clip range of a value's change; 0: no clipping", min=0)
    ent_coef: float = option(0.01, "weight of the entropy bonus at the start", min=0)
    ent_final: float = option(
        1.0,
        "weight of the entropy bonus at the end, as a fraction of that at the start; "
        "it decays with the schedule of the learning rate",
        min=0,
        max=1,
    )
    target_kl: float = option(
        0.0, "an update stops after an epoch whose mean KL divergence is larger; 0: never", min=0
    )

    norm_obs: bool = option(
        False,
        "normalize observations to running mean 0 and standard deviation 1, and clip them to "
        "10, integers to 100",
    )
    norm_return: bool = option(False, "divide rewards by the running standard deviation of returns")

    checkpoint_interval: float = option(
        60.0, "seconds between checkpoints; 0: only at the end", min=0
    )
    eval_interval: float = option(
        30.0, "seconds between evaluations, which select the best policy; 0: none", min=0
    )
    eval_episodes: int = option(100, "episodes per evaluation", min=1, max=10**7)
    video_interval: float = option(
        0.0,
        "seconds between clips of the policy, in videos/ of the run's folder and in the loggers; "
        "0: none",
        min=0,
    )


SECTIONS: dict[str, type[Section]] = {
    cls.section(): cls for cls in (VecOptions, TrainOptions, PolicyOptions)
}
