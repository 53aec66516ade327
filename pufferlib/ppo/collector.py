"""Acting: observations out of the pool, actions, log-probabilities and values into it.

The pool is the engine's; everything here is a view of it. `V` at the ends of lives and rows is
filled in as docs/design.md, "Values at the ends", defines it. Letters: A agents, N of them act,
R rows, H horizon, F final slots, S entries of a recurrent state, *O one observation.
"""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pufferenv.row_env import RowEnv
from pufferlib.fused.eager import EagerRunner
from pufferlib.fused.network import AGENT_GRANULARITY, FusedNetwork
from pufferlib.kernels import _kernels
from pufferlib.kernels._kernels import SampleParams
from pufferlib.ops.output import Output
from pufferlib.policies.base import Policy
from pufferlib.runtime import allocator
from pufferlib.runtime.graph import EAGER, Executor, Graph, GraphInput
from pufferlib.runtime.tensors import as_array
from pufferlib.runtime.thread_pool import LaunchPlan, ThreadPool
from pufferlib.runtime.timer import Timer

Agents = slice | npt.NDArray[np.int32]  # consecutive ones, or these (N,), ascending
Stepped = TypeVar("Stepped")
LEAST = 256  # agents that a further thread is worth waking for
WAIT = 16  # of so many agents one has a final observation before they are evaluated
AT_ONCE = 8192  # agents that a CPU acts for at a time, if by autograd's operators
LOOKED_AT = 1024  # that it evaluates at a time: what is made of more need not be kept
STEPPED = 2048  # that step, on a CPU, before it looks how many final observations wait
LAYOUTS = 32  # numbers of live agents that it is noted for how they act
REMEMBERED = 16  # of them
UNUSED = 0  # version of a slot that nobody has acted on since its row was free


class Collector:
    """Steps the envs of a RowEnv with a policy. `counts` (A,) uint64 keys the sampler's draws.

    The envs are `num_groups` groups, as equal as possible, that act and step in turn: results
    depend on their number, never on timing. On a CPU a group steps STEPPED agents at a time; where
    agents die, that says too which row a life is written to. Groups of envs that step apart
    (wrapped ones) do so while others act. `asynchronous`: of these whichever has stepped acts next,
    out of turn. With `networks`, the policy without autograd, each thread of `thread_pool` acts for
    a share of the agents. Raises ValueError for more groups than envs, and where there is nobody to
    overtake.
    """

    def __init__(
        self,
        env: RowEnv,
        policy: Policy,
        device: torch.device,
        seed: int,
        timer: Timer,
        num_groups: int = 1,
        asynchronous: bool = False,
        thread_pool: ThreadPool | None = None,
    ) -> None:
        self.env, self.policy, self.device, self.timer = env, policy, device, timer
        self.thread_pool = thread_pool or ThreadPool(1)
        self.networks: list[FusedNetwork] = []
        self.runner: EagerRunner | None = None  # of the first network
        self.seed = seed
        if num_groups > env.num_envs:
            raise ValueError(
                f"vec.num_groups={num_groups} is more than vec.num_envs={env.num_envs}: "
                "a group has at least one env"
            )
        if asynchronous and (num_groups == 1 or not env.is_async):
            raise ValueError(
                f"vec.asynchronous=true with vec.num_groups={num_groups} of {env.game.name}: it "
                "needs a wrapped env, of which several groups can overtake each other"
            )
        self.asynchronous = asynchronous
        self._under_way: list[tuple[int, int]] = []  # groups that step, the one sent first first
        bounds = [env.num_envs * g // num_groups for g in range(num_groups + 1)]
        self.groups = [slice(*ends) for ends in itertools.pairwise(bounds)]  # of envs
        agents, pool = env.num_agents, env.arrays
        self.counts = np.zeros(agents, np.uint64)
        self.agent_steps = 0  # transitions that agents lived through
        self.steps = 0.0  # of every env, on average
        self._pool = torch.from_numpy(pool["pool_observation"])  # (R, H, *O)
        self._finals = torch.from_numpy(pool["final_observation"])  # (F, *O)
        self._next_value = pool["pool_next_value"].reshape(-1)  # by slot
        pin = device.type == "cuda"
        self._obs = torch.from_numpy(np.zeros((agents, *env.obs_shape), env.obs_dtype))
        if pin:
            self._obs = self._obs.pin_memory()
        self.head_sizes = np.array([head.n for head in env.heads], np.int32) if env.heads else None
        slots = (env.num_rows * env.horizon, math.prod(env.obs_shape))
        self._slots = self._pool.view(slots).numpy()  # (S, F)
        self.sampling = self._sampler_arguments()
        self.who = np.zeros(agents, np.int32)  # those who act, if these are not all
        self._some_states: Tensor | None = None  # (A, S) of them
        self._grain = AGENT_GRANULARITY * -(
            -agents // (AGENT_GRANULARITY * LAYOUTS)
        )  # of those who live, to act for
        self._turn = functools.lru_cache(maxsize=len(self.groups))(self._make_turn)
        self._live_turn = functools.lru_cache(maxsize=REMEMBERED)(self._make_live_turn)
        self.state = policy.initial_state(agents)  # (A, S) after each agent's last step
        initial = policy.initial_state(1)
        self._initial = None if initial is None else initial[0]  # (S,)
        self.row_state: Tensor | None = None  # (R, S) before slot 0 of each row
        self._final_state: Tensor | None = None  # (F, S) that the final observation is seen with
        if self.state is not None:
            used = min(env.batch_rows + agents, env.num_rows)  # by agents that never die
            self.row_state = self._states(env.num_rows, used)
            self._final_state = self._states(len(self._finals), 0)
            self._some_states = self._states(agents, 0)

    def _states(self, count: int, usual: int) -> Tensor:
        """Make room for so many states, of which so many will surely be used."""
        shape = (count, self.policy.state_size)
        on_cpu = self.device.type == "cpu"
        return allocator.zeros(shape, usual) if on_cpu else torch.zeros(shape, device=self.device)

    def _sampler_arguments(self) -> dict[str, Any]:
        """Return what the sampling pass is given in every step."""
        env, pool = self.env, self.env.arrays
        slots = env.num_rows * env.horizon
        given: dict[str, Any] = {
            "slot": pool["slot"],
            "bootstrap_slot": pool["bootstrap_slot"],
            "counts": self.counts,
            "seed": self.seed,
            "pool_logprob": pool["pool_logprob"].reshape(slots),
            "pool_value": pool["pool_value"].reshape(slots),
            "pool_next_value": self._next_value,
            "pool_version": pool["pool_version"].reshape(slots),
        }
        if env.heads:
            given["sizes"] = self.head_sizes
            given["action"] = pool["action"]
            given["pool_action"] = pool["pool_action"].reshape(slots, -1)
        if env.axes:
            given["low"], given["high"], given["axis"] = env.low, env.high, pool["axis"]
            given["pool_axis"] = pool["pool_axis"].reshape(slots, -1)
        if "pool_mask" in pool:
            given["pool_mask"] = pool["pool_mask"].reshape(slots, -1)
        return given

    def reset(self, seed: int) -> None:
        """Begin new episodes in envs made afresh, with an empty pool."""
        self.env.reset(seed)
        versions = self.env.arrays["pool_version"]
        versions[versions[:, 0] != UNUSED] = UNUSED  # rows that were ever used, no others
        self._under_way = []

    @torch.no_grad()
    def step(self, version: int) -> slice:
        """Act by the present weights for whoever is to act, and step -> the agents that stepped.

        Those are all of them; where several groups step apart, those of one group.
        """
        if self.env.is_async and len(self.groups) > 1:
            self._spare_finals()
            stepped = self._step_apart(version)
        else:
            at_once = self.env.num_envs if self.env.is_async else -(-STEPPED // self.env.env_agents)
            for group in self.groups:
                self._act(group, version)
                for part in self._parts(group.stop - group.start, at_once):
                    self._spare_finals()
                    envs = group.start + part.start, group.start + part.stop
                    self._step(functools.partial(self.env.step, *envs))
            stepped = slice(0, self.env.num_envs)
        self.steps += (stepped.stop - stepped.start) / self.env.num_envs
        agents = self.env.env_agents
        return slice(stepped.start * agents, stepped.stop * agents)

    def _spare_finals(self) -> None:
        """Evaluate final observations where many wait: those of all agents need much memory."""
        agents = self.env.num_agents
        most = min(agents, max(LEAST, agents // WAIT))
        if self.device.type == "cpu":
            most = min(most, LOOKED_AT)
        if self.env.engine.num_final > most:
            self.evaluate_finals()

    def _step_apart(self, version: int) -> slice:
        """Have every group act that does not step, then end the step of one -> its envs."""
        for group in self.groups:
            if (group.start, group.stop) not in self._under_way:
                self._act(group, version)
                self.timer.enter("env")
                self.env.send(group.start, group.stop)
                self._under_way.append((group.start, group.stop))
        wanted = self._under_way if self.asynchronous else self._under_way[:1]
        stepped = self._step(lambda: self.env.receive(wanted))
        self._under_way.remove(stepped)
        return slice(*stepped)

    def renew(self) -> None:
        """Take note of changed weights, before acting by them without autograd."""
        for network in self.networks:
            network.sync_weights()

    def _act(self, group: slice, version: int) -> None:
        """Act once for every live agent of these envs."""
        engine, timer = self.env.engine, self.timer
        timer.enter("copy")
        first = engine.lattice(group.start, group.stop)
        live = None if first >= 0 else engine.live(group.start, group.stop)
        if live is not None and not len(live):
            return
        everyone = slice(group.start * self.env.env_agents, group.stop * self.env.env_agents)
        agents = everyone if live is None else live
        count = _count(agents)
        if self.networks:
            self._act_fused(first, agents, version)
        else:
            obs, state = self._observations(first, agents), self._begin(agents)
            for part in self._parts(count, AT_ONCE):
                own = None if state is None else state[part]
                self._act_some(obs[part], own, _within(agents, part), version)
        self.agent_steps += count

    def _parts(self, count: int, at_once: int) -> list[slice]:
        """Split so many agents, or what they see, into what a CPU does at once; a GPU does all."""
        return parts(count, at_once if self.device.type == "cpu" else count)

    def _act_some(self, obs: Tensor, state: Tensor | None, agents: Agents, version: int) -> None:
        """Act for these agents by the policy itself."""
        self.timer.enter("forward")
        output, new = self.policy(obs, state)
        self.timer.enter("sample")
        self.sample(EAGER, output, agents, version=version)
        if new is not None:
            self._keep(agents, new)

    def _act_fused(self, first: int, agents: Agents, version: int) -> None:
        """Act for these agents, each thread for some; new states take the old ones' place."""
        n, state = _count(agents), self._begin(agents)
        if isinstance(agents, slice):
            turn = self._turn(agents.start, agents.stop)
            turn.seen.bind(self._slots, first, self.env.horizon)
        else:
            self._observations(first, agents)
            self.who[:n] = agents
            share = -(-n // self._hands(n))
            turn = self._live_turn(*(-(-some // self._grain) * self._grain for some in (share, n)))
        for params, place in zip(turn.params, turn.places, strict=True):
            acting = min(max(n - place.start, 0), place.stop - place.start)
            params.set(version=version, num_acting=acting)
        self.timer.enter("forward")
        with (
            self.thread_pool.on_first_core()
        ):  # but not while envs step, which may start threads of their own
            seconds = self.thread_pool.run(turn.work)
        self.timer.reassign(seconds)
        if state is not None and not isinstance(agents, slice):
            cast(Tensor, self.state)[self._index(agents)] = state

    def _hands(self, count: int) -> int:
        """Return how many threads act for so many agents."""
        return max(1, min(len(self.networks), count // LEAST))

    def _make_turn(self, begin: int, end: int) -> "Turn":
        """Note how all of these agents act once."""
        n = end - begin
        seen = GraphInput(n, self._slots.shape[1], self._obs.dtype)
        state = None if self.state is None else self.state[begin:end]
        return Turn(self, seen, state, -(-n // self._hands(n)), begin)

    def _make_live_turn(self, share: int, count: int) -> "Turn":
        """Note how the first `count` who live act once, each thread for `share` of them.

        Past the last of them it is acted in vain: so there are few numbers to note it for.
        """
        seen = GraphInput(min(count, len(self._obs)), self._slots.shape[1], self._obs.dtype)
        seen.bind(self._obs[: seen.shape[0]].view(seen.shape).numpy())
        return Turn(self, seen, self._some_states, share, None)

    def _step(self, step: Callable[[], Stepped]) -> Stepped:
        """Step some envs; whose life was cut short leaves the state that it was cut with."""
        engine = self.env.engine
        self.timer.enter("env")
        finals = engine.num_final
        stepped = step()
        self.timer.enter("other")
        if self.state is not None and self._final_state is not None and engine.num_final > finals:
            new_finals = slice(finals, engine.num_final)
            who = torch.from_numpy(self.env.arrays["final_agent"][new_finals]).to(self.device)
            self._final_state[new_finals] = self.state[who.long()]
        return stepped

    @torch.no_grad()
    def finish(self) -> None:
        """Fill in every next_value that a batch taken now needs."""
        self.evaluate_finals()
        waiting = self.env.arrays["bootstrap_slot"]
        for part in self._parts(len(waiting), LOOKED_AT):
            self.timer.enter("copy")
            some = (part.start + np.flatnonzero(waiting[part] >= 0)).astype(np.int32)
            if not len(some):
                continue
            obs = self._observations(-1, some)
            state = None if self.state is None else self._gathered(some)
            self._foresee(waiting[some], obs, state)
            waiting[some] = -1
        self.timer.enter("other")

    @torch.no_grad()
    def evaluate_finals(self) -> None:
        """Fill in next_value of lives that were cut short; free the final slots."""
        count = self.env.engine.num_final
        if not count:
            return
        slots = self.env.arrays["final_slot"]
        for part in self._parts(count, LOOKED_AT):
            state = None if self._final_state is None else self._final_state[part]
            self._foresee(slots[part], self._finals[part].to(self.device), state)
        self.env.engine.clear_finals()
        self.timer.enter("other")

    def _foresee(self, slots: npt.NDArray[Any], obs: Tensor, state: Tensor | None) -> None:
        """Make the values of n observations the next_value of as many slots; no state is new."""
        self.timer.enter("forward")
        if self.runner is None:
            self._next_value[slots] = as_array(self.policy(obs, state)[0].value.cpu())
            return
        for part in parts(len(slots), self.runner.network.chunk_size):
            output, _ = self.runner.evaluate(obs[part], None if state is None else state[part])
            self._next_value[slots[part]] = as_array(output.value)

    def _observations(self, first: int, agents: Agents) -> Tensor:
        """Return what the agents see, on the device.

        A slice of agents: their slots are a lattice that begins at `first`, on the CPU a view.
        """
        if isinstance(agents, slice):
            step = self._pool.stride()
            shape = (agents.stop - agents.start, *self._pool.shape[2:])
            view = self._pool.as_strided(shape, (step[0], *step[2:]), first * step[1])
            if self.device.type == "cpu":
                return view
            staged = self._obs[agents].copy_(view)
        else:
            staged = self._obs[: len(agents)]
            slots = self.env.arrays["slot"][agents]
            _kernels.gather_slots(self.env.arrays["pool_observation"], slots, staged.numpy())
        return staged.to(self.device, non_blocking=True)

    def _gathered(self, agents: npt.NDArray[np.int32]) -> Tensor:
        """Return the states of these agents, in memory that is used again."""
        state = cast(Tensor, self._some_states)[: len(agents)]
        return torch.index_select(cast(Tensor, self.state), 0, self._index(agents), out=state)

    def _begin(self, agents: Agents) -> Tensor | None:
        """Return the state (N, S) to act from: the initial one where a life begins.

        Rows of which slot 0 is acted on now remember it.
        """
        if self.state is None or self.row_state is None or self._initial is None:
            return None
        state = self.state[agents] if isinstance(agents, slice) else self._gathered(agents)
        life_start, slot = self.env.arrays["life_start"], self.env.arrays["slot"]
        if self.device.type == "cpu":
            _kernels.init_states(
                state=state.numpy(),
                **({"first": agents.start} if isinstance(agents, slice) else {"agents": agents}),
                life_start=life_start,
                slot=slot,
                initial=self._initial.numpy(),
                row_state=self.row_state.numpy(),
                horizon=self.env.horizon,
            )
            return state
        life_start, slot = life_start[agents], slot[agents]
        state[self._index(np.flatnonzero(life_start))] = self._initial
        at_start = np.flatnonzero(slot % self.env.horizon == 0)
        rows = self._index(slot[at_start] // self.env.horizon)
        self.row_state[rows] = state[self._index(at_start)]
        return state

    def _keep(self, agents: Agents, state: Tensor) -> None:
        if len(state) == self.env.num_agents:
            self.state = state
        else:
            where = agents if isinstance(agents, slice) else self._index(agents)
            cast(Tensor, self.state)[where] = state

    def sample(self, do: Executor, output: Output, agents: Agents, **options: Any) -> None:
        do.call(
            _kernels.sample,
            values=output.value.cpu().numpy(),
            logits=_rows(output.logits),
            mean=_rows(output.mean),
            log_std=_rows(output.log_std),
            **({"first": agents.start} if isinstance(agents, slice) else {"agents": agents}),
            **options,
            **self.sampling,
        )

    def _index(self, numbers: npt.NDArray[Any]) -> Tensor:
        """Make an index on the device of integers on the CPU."""
        return torch.from_numpy(numbers.astype(np.int64)).to(self.device)


class Turn:
    """How some agents act once, noted: each thread for `share` of them, so many at a time as stay
    in a core's cache. `first`: the first of them; None: those in `who`, as many as there are."""

    def __init__(
        self,
        collector: Collector,
        seen: GraphInput,
        state: Tensor | None,
        share: int,
        first: int | None,
    ) -> None:
        self.seen, count = seen, seen.shape[0]
        shares = list(zip(collector.networks, parts(count, share), strict=False))
        places = [
            slice(share.start + part.start, share.start + part.stop)
            for network, share in shares
            for part in parts(share.stop - share.start, network.chunk_size)
        ]
        self.places = places
        self.params = [SampleParams() for _ in places]
        tracks: list[list[tuple[str, Graph]]] = [[] for _ in shares]
        for place, params in zip(places, self.params, strict=True):
            i = place.start // share
            forward, sample = Graph(), Graph()
            own = None if state is None else state[place]
            output = collector.networks[i].record_act(
                forward, seen.rows(place.start, place.stop), own
            )
            if first is None:
                who: Agents = collector.who[place]
            else:
                who = slice(first + place.start, first + place.stop)
            collector.sample(sample, output, who, params=params)
            tracks[i] += [("forward", forward), ("sample", sample)]
        self.work = LaunchPlan(tracks)


def parts(count: int, at_once: int) -> list[slice]:
    """Split so many things into parts of at most `at_once`."""
    return [slice(b, min(b + at_once, count)) for b in range(0, count, at_once)]


def _rows(part: Tensor | None) -> npt.NDArray[Any] | None:
    """Return what a network says, (N, C) or (X,), with contiguous rows, copied where it must be."""
    if part is None:
        return None
    part = part.cpu()
    return (part if part.stride(-1) == 1 else part.contiguous()).numpy()


def _count(agents: Agents) -> int:
    return agents.stop - agents.start if isinstance(agents, slice) else len(agents)


def _within(agents: Agents, place: slice) -> Agents:
    """Return those of the agents at these places."""
    if isinstance(agents, slice):
        return slice(agents.start + place.start, agents.start + place.stop)
    return agents[place]
