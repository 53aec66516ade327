"""PPO: collect full rows, learn from them, again. One `update` is one batch.

What happens in an update, in order: act and step until a batch of rows is full; fill in the values
at the ends; re-evaluate carried-over slots; advantages; epochs of shuffled minibatches of whole
rows; free the rows. A CPU run is reproduced bit for bit by its seed and thread count.
"""

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.engine._engine import mix_seed
from pufferenv.game_spec import GameLike, GameSpec
from pufferenv.row_env import RowEnv
from pufferlib.config.batch_sizes import resolve_sizes
from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from pufferlib.fused import precision
from pufferlib.fused.factory import FUSED_NAMES, TRAIN_CHUNK_STEPS, can_fuse
from pufferlib.kernels import _kernels
from pufferlib.ops.ppo_loss import LossStats
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.policies.normalization import ObservationNorm, ReturnNorm
from pufferlib.ppo.batch import Batch
from pufferlib.ppo.collector import Collector
from pufferlib.ppo.learner import Learner
from pufferlib.ppo.optimizer import Optimizer
from pufferlib.ppo.schedules import scheduled
from pufferlib.runtime import affinity, allocator, thread_count
from pufferlib.runtime.thread_pool import ThreadPool
from pufferlib.runtime.timer import Timer

OBSERVED = 2048  # steps at a time that statistics of observations are gathered of
STREAMS = 2**40  # seeds of sampler and shuffle come after those of 2**40 envs


class TrainingDiverged(RuntimeError):
    """A loss, gradient or weight is NaN or infinite: the weights are of no use any more."""


class Trainer:
    """Trains one policy on one game. `game`: a name, a path of a header, or a loaded Game.

    `env` is the game's config. `update` until `finished`; `state` and `load_state` carry a run
    over an interruption. Raises ValueError for sizes that do not fit.
    """

    learner_class = Learner

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
        steps = train.minibatch_size or max(1, vec.num_envs * train.horizon // 4)  # or about that
        by_parts = self.device.type == "cpu" and policy.name in FUSED_NAMES and not policy.path
        size, part = policy.hidden_size, TRAIN_CHUNK_STEPS if by_parts else 0
        self._torch_threads = torch.get_num_threads()
        self.threads = thread_count.choose(train.threads, steps, size, part)
        env_threads = vec.num_threads or self.threads.value
        before = affinity.thread_ids()
        self.env = RowEnv(
            game,
            vec.num_envs,
            horizon=train.horizon,
            batch_rows=train.batch_size // train.horizon or None,
            num_threads=min(env_threads, vec.num_envs),
            seed=train.seed,
            debug=vec.debug,
            check=vec.debug,
            allocate=page_locked if self.device.type == "cuda" else None,
            config=env,
        )
        if not vec.num_threads:
            affinity.pin_apart(affinity.thread_ids() - before)
        self.sizes = resolve_sizes(train, self.env.num_agents)
        self.spec = PolicySpec.of(self.env.game_spec)
        made = make_policy(policy, self.spec, norm_obs=train.norm_obs, seed=train.seed)
        self.policy = made.to(self.device)
        self.thread_pool = ThreadPool(self.threads.value if can_fuse(self.policy) else 1)
        if self.thread_pool.size > 1:
            torch.set_num_threads(1)  # what is shared is whole parts of the work, not operators
        self.precision = precision.choose(
            train.precision, self.policy, self.device, steps, policy.hidden_size
        )
        self.train = train = dataclasses.replace(train, precision=self.precision.value)
        self.optimizer = Optimizer(self.policy, train, self.thread_pool)
        synchronize = torch.cuda.synchronize if self.device.type == "cuda" else None
        self.timer = Timer(synchronize=synchronize)
        sampler, shuffle = (int(s) for s in mix_seed(train.seed, 2, STREAMS))
        self.shuffle = torch.Generator().manual_seed(shuffle)
        self.collector = Collector(
            self.env,
            self.policy,
            self.device,
            sampler,
            self.timer,
            vec.num_groups,
            vec.asynchronous,
            self.thread_pool,
        )
        self.batch = Batch(self.collector, self.sizes, train, self.device)
        self.learner = self.learner_class(
            self.policy,
            self.optimizer,
            self.batch,
            train,
            self.collector.head_sizes,
            self.timer,
            self.thread_pool,
        )
        self.collector.networks = [hand.network for hand in self.learner.hands]
        self.collector.runner = self.learner.runner
        self.collector.policy = self.learner.policy
        self.return_norm = ReturnNorm(self.env.num_agents, train.gamma)
        self.updates = 0
        self.trained_steps = 0
        self.lost_steps = 0  # dropped at earlier ends of this run, or in updates broken off
        self._started, self._uptime = time.perf_counter(), 0.0
        self.timer.enter("log")

    @property
    def version(self) -> int:
        """Of the weights: 1, and one more after each update."""
        return self.updates + 1

    @property
    def agent_steps(self) -> int:
        """Transitions that agents lived through, those of the resumed run included."""
        return self.collector.agent_steps

    @property
    def dropped(self) -> int:
        """Transitions that wait in the pool: what ending the run now would lose."""
        return self.agent_steps - self.trained_steps - self.lost_steps

    @property
    def finished(self) -> bool:
        """Whether `total_timesteps` have been lived through."""
        return self.agent_steps >= self.train.total_timesteps

    @property
    def uptime(self) -> float:
        """Seconds that this run has gone on, those before it was resumed included."""
        return self._uptime + time.perf_counter() - self._started

    def update(self) -> dict[str, float]:
        """Collect a batch, learn from it, return flat metrics.

        Raise TrainingDiverged before a NaN or an infinity reaches the weights; weights and
        state() are then those of the last sound gradient step, on a GPU not to be saved. Raise
        RuntimeError if the policy's parameters are not those that it had when this was made.
        """
        self.optimizer.check(self.policy)
        self.optimizer.renew()
        self.timer.enter("other")
        if self.batch.loaded:  # an update was broken off, and left advantages for rewards
            self.batch.release()
            self.lost_steps += self.sizes.batch_size
        before, steps_before = self.agent_steps, self.collector.steps
        self._collect()
        scale = self.train.reward_scale
        if self.train.norm_return:
            scale /= self.return_norm.deviation
        self.timer.enter("advantage")
        self.batch.load(self.learner.evaluator, self.version, scale)
        train, progress = self.train, before / self.train.total_timesteps
        learning_rate = scheduled(train.lr_schedule, train.learning_rate, train.lr_final, progress)
        entropy = scheduled(train.lr_schedule, train.ent_coef, train.ent_final, progress)
        self.optimizer.learning_rate = learning_rate
        self.learner.train = dataclasses.replace(train, ent_coef=entropy)
        with self.thread_pool.on_first_core():
            losses = self._learn()
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
        """Act and step until a batch is full, and fill in the values at the ends."""
        engine, arrays = self.env.engine, self.env.arrays
        self.collector.renew()
        while engine.num_full < self.sizes.batch_rows:
            acted = arrays["alive"].copy() if self.train.norm_return else None
            stepped = self.collector.step(self.version)
            if acted is not None:
                acted[: stepped.start] = acted[stepped.stop :] = False
                over = arrays["life_start"] | ~arrays["alive"]
                self.return_norm.update(arrays["reward"], acted, over)
        self.collector.finish()

    def _learn(self) -> dict[str, float]:
        """Train on the batch for some epochs; return means over all gradient steps."""
        train, timer, sizes = self.train, self.timer, self.sizes
        stats: list[LossStats] = []
        norms: list[float | Tensor] = []
        self.optimizer.zero_grad()  # what an update that was broken off has left
        if self.policy.norm is not None:
            self._observe(self.policy.norm)
        for _ in range(train.update_epochs):
            order = torch.randperm(sizes.batch_rows, generator=self.shuffle)
            for part in torch.split(order, sizes.minibatch_rows):
                stats.append(self.learner.minibatch(part))
                self._require_finite("loss", stats[-1].loss)
                timer.enter("optimizer")
                norms.append(self.optimizer.clip())
                self._require_finite("gradient", norms[-1])
                self.optimizer.step()
            timer.enter("other")
            if (
                train.target_kl
                and _mean(stats[-sizes.minibatches :], "approx_kl") > train.target_kl
            ):
                break
        if self.policy.norm is not None:
            self.policy.norm.publish()
        self._require_finite(
            "weights", torch.stack(torch._foreach_norm(self._weights())).sum(), now=True
        )
        means = {f"loss/{name}": _mean(stats, name) for name in LossStats._fields}
        means["loss/grad_norm"] = float(sum(norms) / len(norms))
        means["loss/explained_variance"] = self._explained_variance()
        return means

    def _observe(self, norm: ObservationNorm) -> None:
        """Gather the statistics of a batch's observations."""
        self.timer.enter("copy")
        sizes = self.sizes
        at_once = min(sizes.minibatch_rows, max(1, OBSERVED // sizes.horizon))
        seen = self.policy.parts
        for begin in range(0, sizes.batch_rows, at_once):
            part = slice(begin, begin + at_once)
            norm.update(seen.numbers(self.batch.observations(part, seen.flat)))

    def _weights(self) -> list[Tensor]:
        return [parameter.detach() for parameter in self.policy.parameters()]

    def _require_finite(self, name: str, value: Any, *, now: bool = False) -> None:
        """Raise TrainingDiverged for NaN or infinity; on a GPU only where waiting is cheap."""
        if self.device.type == "cuda" and not now:
            return
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"{name} is {float(value)} in update {self.updates + 1}, after "
                f"{self.agent_steps} agent steps: the weights are not saved. vec.debug=true finds "
                "NaN in the game's observations and rewards; where there is none, a lower "
                "train.learning_rate or train.reward_scale (returns of order 1) often helps"
            )

    def _explained_variance(self) -> float:
        """Share of the value targets' variance that the acting values foresaw; without any, 0."""
        names = ("advantage", "target")  # what acting did not foresee of the target, and that
        columns = (self.batch.pool[name] for name in names)
        missed, variance = (_kernels.moments(c, self.batch.rows)[1] ** 2 for c in columns)
        return 1 - missed / variance if variance > 0 else 0.0

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
        """Return all that resuming needs: tensors by name, and a JSON-able dict.

        Names begin with `policy.`, `optimizer.` and `random.`. Open rows and episodes are not in
        it: a resumed run begins new ones.
        """
        tensors = {f"policy.{k}": v.detach() for k, v in self.policy.state_dict().items()}
        tensors |= {f"optimizer.{k}": v.detach() for k, v in self.optimizer.tensors().items()}
        tensors["random.shuffle"] = self.shuffle.get_state()
        tensors["random.counts"] = torch.from_numpy(self.collector.counts.astype(np.int64))
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
        """Go on from `state()` of a trainer with the same options, in new episodes.

        Raise ValueError, with nothing changed, where names or shapes are not this trainer's.
        """
        parts: dict[str, dict[str, Tensor]] = {"policy": {}, "optimizer": {}, "random": {}}
        for name, value in tensors.items():
            part, _, key = name.partition(".")
            if part not in parts:
                raise ValueError(f"state has {name}, which no trainer has")
            parts[part][key] = value
        counts = self.collector.counts
        _same_shapes("policy", parts["policy"], self.policy.state_dict())
        wanted = {
            "shuffle": self.shuffle.get_state(),
            "counts": torch.from_numpy(counts.view(np.int64)),
        }
        _same_shapes("random", parts["random"], wanted)
        steps, trained, lost, updates = (
            int(meta[k]) for k in ("agent_steps", "trained_steps", "lost_steps", "updates")
        )
        uptime, returns = float(meta["uptime"]), dict(meta["returns"])
        self.optimizer.load(parts["optimizer"])
        self.policy.load_state_dict(parts["policy"])
        self.optimizer.renew()
        self.shuffle.set_state(parts["random"]["shuffle"].cpu())
        counts[:] = parts["random"]["counts"].cpu().numpy()
        self.collector.agent_steps, self.trained_steps = steps, trained
        self.lost_steps, self.updates = lost, updates
        self._uptime, self._started = uptime, time.perf_counter()
        self.return_norm.load(returns)
        self.batch.loaded = False
        self.collector.reset(int(mix_seed(self.train.seed, 1, STREAMS + 2 + self.updates)[0]))

    def close(self) -> None:
        """Stop the threads, and give torch back those that it had; twice is fine."""
        self.thread_pool.close()
        self.env.close()
        torch.set_num_threads(self._torch_threads)


def pick_device(name: str) -> torch.device:
    """Return this device, for `auto` a GPU if there is one. Raise ValueError if it is not there."""
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise ValueError(
            "train.device='cuda': torch finds no GPU here; take auto or cpu, or install torch "
            "for your driver: https://pytorch.org/get-started/locally"
        )
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def page_locked(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Memory of the pool that a GPU can copy from while the program goes on."""
    size = max(1, math.prod(shape) * dtype.itemsize)
    memory = torch.zeros(size, dtype=torch.uint8, pin_memory=True).numpy()
    return memory[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


def _same_shapes(part: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    if given.keys() != wanted.keys():
        different = ", ".join(sorted(given.keys() ^ wanted.keys()))
        raise ValueError(f"state and trainer do not both have: {part} {different}")
    for name, value in wanted.items():
        if given[name].shape != value.shape:
            raise ValueError(
                f"state has {part}.{name} of shape {tuple(given[name].shape)}, "
                f"the trainer {tuple(value.shape)}"
            )


def _mean(stats: list[LossStats], name: str) -> float:
    return sum(float(getattr(stat, name)) for stat in stats) / len(stats)
