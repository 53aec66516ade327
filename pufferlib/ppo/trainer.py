"""Start here: the training loop. One `update` collects a batch of full rows and learns from it.

Data flows through these files, in this order:

* `collector.py` acts and steps the envs until enough rows are full; `observations.py` reads the
  agents' observations, `recurrent_state.py` their recurrent states, and a backend acts;
* `bootstrap.py` fills in the value after the last transition of each row;
* `batch.py` takes the full rows, re-evaluates slots that older weights wrote, and computes
  advantages; `minibatch.py` holds some of its sequences (rows or single steps), gathered;
* `learner.py` is PPO's epochs: minibatches, gradients, clipping, optimizer steps (`optimizer.py`);
* `backend.py` is the interface to the policy; `backend_factory.py` chooses its implementation:
  `autograd_backend.py` or `pufferlib/fused/backend.py`.

A CPU run with the same seed and thread count gives the same results bit for bit.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pufferenv.engine._engine import mix_seed
from pufferenv.game_spec import GameLike, GameSpec
from pufferenv.row_env import RowEnv
from pufferlib.config.batch_sizes import resolve_sizes
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.ops.sample import Sampler
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.policies.normalization import ReturnNorm
from pufferlib.ppo.backend_factory import (
    choose_precision,
    make_backend,
    make_thread_pool,
    train_chunk_steps,
)
from pufferlib.ppo.batch import Batch
from pufferlib.ppo.bootstrap import Bootstrap
from pufferlib.ppo.collector import Collector
from pufferlib.ppo.learner import Learner
from pufferlib.ppo.observations import Observations
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.ppo.recurrent_state import RecurrentState
from pufferlib.ppo.schedules import scheduled
from pufferlib.runtime import affinity, allocator, thread_count
from pufferlib.runtime.device import page_locked, pick_device
from pufferlib.runtime.timer import Timer

STREAMS = 2**40  # seeds of sampler and shuffle follow those of up to 2**40 envs


class Trainer:
    """Trains one policy on one game.

    `game`: a name, a path of a header, a loaded Game, or a GameSpec, which has its config; `env` is
    the game's config otherwise. Call `update` until `finished`; `state` and `load_state` carry a
    run over an interruption. Raises ValueError for sizes that do not fit.
    """

    def __init__(
        self,
        game: GameLike | GameSpec,
        env: Mapping[str, Any],
        vec: VecOptions,
        train: TrainOptions,
        policy: PolicyOptions,
    ) -> None:
        self.device = pick_device(train.device)
        allocator.keep_freed()

        # Choose the number of threads by measuring products of about a minibatch's size; the exact
        # size is known once there is an env. Threads share chunks of work, or torch's operators.
        steps = train.minibatch_size or max(1, vec.num_envs * train.horizon // 4)
        self._torch_threads = torch.get_num_threads()
        self.threads = thread_count.choose(
            train.threads, steps, policy.hidden_size, train_chunk_steps(policy, self.device)
        )

        # Make the policy; it decides how many threads share its work, and in which precision.
        self.env = self._open_env(game, env, vec, train)
        self.spec = PolicySpec.of(self.env.game_spec)
        made = make_policy(policy, self.spec, norm_obs=train.norm_obs, seed=train.seed)
        self.policy = made.to(self.device)
        self.sizes = resolve_sizes(train, self.env.num_agents, self.policy.state_size > 0)
        self.thread_pool = make_thread_pool(self.policy, self.threads.value)
        self.precision = choose_precision(
            train.precision, self.policy, self.device, steps, policy.hidden_size
        )
        self.train = train = dataclasses.replace(train, precision=self.precision.value)
        self.optimizer = Optimizer(self.policy, train, self.thread_pool)

        # Sampler and shuffle have separate random streams, which do not depend on the number of
        # envs.
        sampler_seed, shuffle_seed = (int(s) for s in mix_seed(train.seed, 2, STREAMS))
        synchronize = torch.cuda.synchronize if self.device.type == "cuda" else None
        self.timer = Timer(synchronize=synchronize)

        # Make the memory for acting, the batch, and the backend that reads and writes both.
        self.sampler = Sampler(self.env, sampler_seed)
        self.states = RecurrentState.of(self.policy, self.env, self.device)
        observations = Observations(self.env, pinned=self.device.type == "cuda")
        self.batch = Batch(
            self.env,
            self.states,
            self.sizes,
            train,
            self.sampler.head_sizes,
            self.timer,
            self.device,
        )
        self.backend = make_backend(
            self.policy,
            train,
            self.sampler,
            observations,
            self.states,
            self.batch,
            self.optimizer,
            self.thread_pool,
            self.timer,
            self.device,
        )
        bootstrap = Bootstrap(
            self.env, self.backend, observations, self.states, self.timer, self.device
        )
        self.collector = Collector(
            self.env,
            self.backend,
            bootstrap,
            observations,
            self.states,
            self.timer,
            vec.num_groups,
            vec.asynchronous,
        )
        self.learner = Learner(
            self.policy, self.backend, self.batch, self.optimizer, train, self.timer, shuffle_seed
        )

        # Count over the whole run, across interruptions.
        self.return_norm = ReturnNorm(self.env.num_agents, train.gamma)
        self.updates = 0
        self.trained_steps = 0
        self.lost_steps = 0  # dropped when this run was interrupted, or in interrupted updates
        self._started, self._uptime = time.perf_counter(), 0.0
        self.timer.enter("log")

    def _open_env(
        self,
        game: GameLike | GameSpec,
        env: Mapping[str, Any],
        vec: VecOptions,
        train: TrainOptions,
    ) -> RowEnv:
        """Open the envs with the pool that they write to.

        Unless the user chose the number of threads that step them, each of these is pinned to its
        own core.
        """
        before = affinity.thread_ids()
        opened = RowEnv(
            game,
            vec.num_envs,
            horizon=train.horizon,
            batch_rows=train.batch_size // train.horizon or None,
            num_threads=min(vec.num_threads or self.threads.value, vec.num_envs),
            seed=train.seed,
            debug=vec.debug,
            check=vec.debug,
            allocate=page_locked if self.device.type == "cuda" else None,
            config=env,
        )
        if not vec.num_threads:
            affinity.pin_apart(affinity.thread_ids() - before)
        return opened

    @property
    def version(self) -> int:
        """Number of the current weights: 1, and one more after each update."""
        return self.updates + 1

    @property
    def agent_steps(self) -> int:
        """Transitions that agents lived through since the run first began."""
        return self.collector.agent_steps

    @property
    def dropped(self) -> int:
        """Transitions in the pool that have not been trained on; ending the run now loses them."""
        return self.agent_steps - self.trained_steps - self.lost_steps

    @property
    def finished(self) -> bool:
        """Whether agents lived through `total_timesteps` transitions."""
        return self.agent_steps >= self.train.total_timesteps

    @property
    def uptime(self) -> float:
        """Seconds that this run has taken, without those between interruption and resuming."""
        return self._uptime + time.perf_counter() - self._started

    def update(self) -> dict[str, float]:
        """Collect a batch, learn from it, return flat metrics.

        Raise TrainingDiverged before a NaN or an infinity reaches the weights: weights and state()
        are then those of the last finite gradient step. On a GPU, where checks wait for the end of
        the update, they are not to be saved. Raise RuntimeError if a parameter of the policy was
        replaced since the trainer was made.
        """
        # Weights may have been changed in place since the last update.
        self.optimizer.check(self.policy)
        self.optimizer.sync_copy()
        self.timer.enter("other")

        # An interrupted update left advantages in place of its rows' rewards: drop these rows.
        if self.batch.loaded:
            self.batch.release()
            self.lost_steps += self.sizes.batch_size

        # Collect.
        before, steps_before = self.agent_steps, self.collector.steps
        self._collect()

        # Compute advantages.
        scale = self.train.reward_scale
        if self.train.norm_return:
            scale /= self.return_norm.deviation
        self.timer.enter("advantage")
        self.batch.load(self.backend, self.version, scale)

        # Learn, with step size and entropy bonus as scheduled.
        train, progress = self.train, before / self.train.total_timesteps
        learning_rate = scheduled(train.lr_schedule, train.learning_rate, train.lr_final, progress)
        entropy = scheduled(train.lr_schedule, train.ent_coef, train.ent_final, progress)
        self.optimizer.learning_rate = learning_rate
        self.learner.train = dataclasses.replace(train, ent_coef=entropy)
        with self.thread_pool.on_first_core():
            losses = self.learner.learn(
                f"update {self.updates + 1}, after {self.agent_steps} agent steps"
            )

        # Free the rows, and report.
        self.batch.release()
        self.updates += 1
        self.trained_steps += self.sizes.batch_size
        rows = self._row_metrics(steps_before, self.agent_steps - before)
        logs = {k: v[0] for k, v in self.env.log().items()}
        seconds = self.timer.take()
        self.timer.enter("log")
        return {
            "agent_steps": self.agent_steps,
            "updates": self.updates,
            "uptime": self.uptime,
            "sps": self.sizes.batch_size / sum(seconds.values()),  # trained transitions
            "learning_rate": learning_rate,
            **{f"env/{name}": value for name, value in logs.items()},
            **losses,
            **rows,
            **{f"time/{name}": value for name, value in seconds.items()},
        }

    def _collect(self) -> None:
        """Act and step until a batch is full; fill in the bootstrap values."""
        engine, arrays = self.env.engine, self.env.arrays
        self.backend.sync_weights()
        while engine.num_full < self.sizes.batch_rows:
            acted = arrays["alive"].copy() if self.train.norm_return else None
            stepped = self.collector.step(self.version)
            if acted is not None:
                acted[: stepped.start] = acted[stepped.stop :] = False
                over = arrays["life_start"] | ~arrays["alive"]
                self.return_norm.update(arrays["reward"], acted, over)
        self.collector.finish()

    def _row_metrics(self, steps_before: float, agent_steps: int) -> dict[str, float]:
        engine = self.env.engine
        steps = self.collector.steps - steps_before
        return {
            "rows/density": self.batch.density,
            "rows/carried": self.batch.carried,
            "rows/age": self.batch.age,
            **({"rows/live": agent_steps / steps} if steps else {}),
            "rows/open": engine.num_open,
            "rows/abandoned": engine.num_abandoned,
            "rows/full": engine.num_full,
            "rows/dropped": self.dropped,
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that resuming needs: tensors by name, and a dict that JSON can hold.

        Names begin with `policy.`, `optimizer.` and `random.`. Open rows and episodes are not
        included: a resumed run begins new ones.
        """
        tensors = {f"policy.{k}": v.detach() for k, v in self.policy.state_dict().items()}
        tensors |= {f"optimizer.{k}": v.detach() for k, v in self.optimizer.tensors().items()}
        tensors["random.shuffle"] = self.learner.shuffle.get_state()
        tensors["random.counts"] = torch.from_numpy(self.sampler.counts.astype(np.int64))
        meta = {
            "agent_steps": self.agent_steps,
            "trained_steps": self.trained_steps,
            "lost_steps": self.lost_steps + self.dropped,
            "updates": self.updates,
            "uptime": self.uptime,
            "returns": self.return_norm.state(),
        }
        return tensors, meta

    def load_state(self, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
        """Continue from the `state()` of a trainer with the same options, in new episodes.

        Raise ValueError, with nothing changed, if names or shapes are not this trainer's.
        """
        parts: dict[str, dict[str, Tensor]] = {"policy": {}, "optimizer": {}, "random": {}}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            if part not in parts:
                raise ValueError(f"state has {name}, which no trainer has")
            parts[part][key] = value
        counts = self.sampler.counts
        _same_shapes("policy", parts["policy"], self.policy.state_dict())
        wanted = {
            "shuffle": self.learner.shuffle.get_state(),
            "counts": torch.from_numpy(counts.view(np.int64)),
        }
        _same_shapes("random", parts["random"], wanted)
        steps, trained, lost, updates = (
            int(meta[k]) for k in ("agent_steps", "trained_steps", "lost_steps", "updates")
        )
        uptime, returns = float(meta["uptime"]), dict(meta["returns"])
        self.optimizer.load(parts["optimizer"])
        self.policy.load_state_dict(parts["policy"])
        self.optimizer.sync_copy()
        self.learner.shuffle.set_state(parts["random"]["shuffle"].cpu())
        counts[:] = parts["random"]["counts"].cpu().numpy()
        self.collector.agent_steps, self.trained_steps = steps, trained
        self.lost_steps, self.updates = lost, updates
        self._uptime, self._started = uptime, time.perf_counter()
        self.return_norm.load(returns)
        self.batch.loaded = False
        self.collector.reset(int(mix_seed(self.train.seed, 1, STREAMS + 2 + self.updates)[0]))

    def close(self) -> None:
        """Stop the threads, and restore torch's number of threads; may be called twice."""
        self.thread_pool.close()
        self.env.close()
        torch.set_num_threads(self._torch_threads)


def _same_shapes(part: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    if given.keys() != wanted.keys():
        different = ", ".join(sorted(given.keys() ^ wanted.keys()))
        raise ValueError(f"only one of state and trainer has {part} {different}")
    for name, value in wanted.items():
        if given[name].shape != value.shape:
            raise ValueError(
                f"state has {part}.{name} of shape {tuple(given[name].shape)}, "
                f"the trainer {tuple(value.shape)}"
            )
