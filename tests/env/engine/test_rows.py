"""Rows compared with a model in plain Python that follows docs/design.md, "Rows", literally.

The game `script` does what its actions say, so the model knows every life before the engine does.
Each value written while acting is unique to (env, agent, life, step). After each step every slot,
row and count must equal the model's, and each batch must hold exactly the transitions that
happened, in order.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pufferenv.engine import _engine
from pufferenv.engine._engine import LIVE, TERMINAL, TRUNCATED
from tests.support.games import load_game


def unique_value(tag: int, agent: int, life: int, age: int) -> float:
    """Return a number, exact in float32, that is different for every observation (small cases)."""
    return float((tag % 13) * 262144 + agent * 32768 + life * 256 + age)


@dataclass
class Agent:
    alive: bool = False
    life: int = 0
    age: int = 0
    row: int = -1
    place: int = -1  # of the current observation, in the row


@dataclass
class Model:
    """Lives, rows and batches of E envs of n agents, recorded step by step."""

    tags: list[int]
    num_agents: int
    horizon: int
    num_rows: int
    free: set[int] = field(default_factory=set)
    abandoned: list[tuple[int, int]] = field(default_factory=list)  # row, slots used
    full: list[int] = field(default_factory=list)
    agents: list[list[Agent]] = field(default_factory=list)
    slots: dict[tuple[int, int], dict] = field(default_factory=dict)  # (row, place) -> transition
    lived: int = 0

    def begin(self) -> None:
        self.free = set(range(self.num_rows))
        self.agents = [[Agent() for _ in range(self.num_agents)] for _ in self.tags]
        for env in self.agents:
            for agent in env:
                agent.alive, agent.life = True, 1
        for env in self.agents:
            for agent in env:
                self.take(agent, spawned=False)

    def take(self, agent: Agent, spawned: bool) -> None:
        if spawned and self.abandoned:
            agent.row, agent.place = self.abandoned.pop(0)
        else:
            agent.row, agent.place = min(self.free), 0
            self.free.remove(agent.row)

    def observation(self, e: int, a: int) -> tuple[int, int, int, int]:
        agent = self.agents[e][a]
        return (self.tags[e], a, agent.life, agent.age)

    def step(self, begin: int, end: int, actions: np.ndarray) -> None:
        closed: list[tuple[int, int, int, bool]] = []
        for e in range(begin, end):
            closed += self.play(e, actions[e])
        for e, a, used, lives in closed:  # rows close in env order, then agent order
            agent = self.agents[e][a]
            if used == self.horizon:
                self.full.append(agent.row)
            elif not lives:
                self.abandoned.append((agent.row, used))
        for e in range(begin, end):
            for a in range(self.num_agents):
                agent = self.agents[e][a]
                ended = [c for c in closed if c[:2] == (e, a)]
                if not agent.alive:
                    agent.row = agent.place = -1
                elif not ended:
                    self.take(agent, spawned=True)
                elif ended[0][2] == self.horizon:
                    self.take(agent, spawned=False)
                else:
                    agent.place = ended[0][2]

    def play(self, e: int, actions: np.ndarray) -> list[tuple[int, int, int, bool]]:
        """Step one env; return (env, agent, slots used, lives on) of agents that had a row."""
        over = int(actions[0, 1])
        had = [agent.alive for agent in self.agents[e]]
        dones = []
        for a, agent in enumerate(self.agents[e]):
            fate = int(actions[a, 0])
            if not agent.alive:
                dones.append(LIVE)
                if fate in (4, 5):
                    agent.life, agent.age, agent.alive = agent.life + 1, 0, fate == 4
                continue
            done = {1: TERMINAL, 2: TRUNCATED, 3: TERMINAL}.get(fate, LIVE)
            dones.append(done or over)
            self.slots[agent.row, agent.place] = {
                "obs": self.observation(e, a),
                "reward": 1000.0 * a + agent.age,
                "done": dones[-1],
                "who": (e, a),
            }
            self.lived += 1
            agent.age += 1
            final = self.observation(e, a)  # the final observation of a cut life
            self.slots[agent.row, agent.place]["final"] = final
            if fate in (1, 2):
                agent.alive = False
            if fate == 3:
                agent.life, agent.age = agent.life + 1, 0
        if over:
            for a, agent in enumerate(self.agents[e]):
                agent.alive = not actions[a, 2]
                if agent.alive:
                    agent.life, agent.age = agent.life + 1, 0
        return [
            (e, a, agent.place + 1, agent.alive) for a, agent in enumerate(self.agents[e]) if had[a]
        ]


class Driver:
    """The engine beside the model, with a policy whose value identifies the observation."""

    def __init__(self, envs, agents, horizon, batch_rows, threads=1):
        self.game = load_game("script")
        total = envs * agents
        self.horizon, self.batch_rows, self.total = horizon, batch_rows, total
        self.num_rows = batch_rows + 2 * total
        seeds = np.arange(1, envs + 1, dtype=np.uint64)
        self.engine = _engine.Engine(
            self.game,
            self.game.pack({"agents": agents}),
            envs,
            mode=_engine.ROWS,
            seeds=seeds,
            num_threads=threads,
            horizon=horizon,
            num_rows=self.num_rows,
            batch_rows=batch_rows,
            num_finals=2 * total,
            check=True,
        )
        self.model = Model([int(s) for s in seeds], agents, horizon, self.num_rows)
        self.model.begin()
        self.trained = 0

    def flat(self, name):
        return self.engine.arrays[name].reshape(self.num_rows * self.horizon, -1).squeeze(-1)

    def values_of(self, observations):
        values = [unique_value(*map(int, o)) for o in observations.reshape(-1, 4)]
        return np.array(values, np.float32)

    def act(self, envs=None):
        """Write the value of each live agent's observation, also to the bootstrap slot."""
        arrays = self.engine.arrays
        observations = arrays["pool_observation"].reshape(-1, 4)
        for a in self.engine.live_agents() if envs is None else self.engine.live_agents(*envs):
            value = self.values_of(observations[arrays["slot"][a]])[0]
            self.flat("pool_value")[arrays["slot"][a]] = value
            if arrays["bootstrap_slot"][a] >= 0:
                self.flat("pool_next_value")[arrays["bootstrap_slot"][a]] = value
                arrays["bootstrap_slot"][a] = -1

    def evaluate_finals(self):
        count = self.engine.num_final
        arrays = self.engine.arrays
        values = self.values_of(arrays["final_observation"][:count])
        self.flat("pool_next_value")[arrays["final_slot"][:count]] = values
        self.engine.clear_finals()

    def step(self, actions, groups=1):
        envs, agents = actions.shape[:2]
        bounds = np.linspace(0, envs, min(groups, envs) + 1).astype(int)
        for begin, end in itertools.pairwise(bounds.tolist()):
            self.act((begin, end))
            self.engine.arrays["action"][:] = actions.reshape(envs * agents, 3)
            if 2 * self.total - self.engine.num_final < self.total:
                self.evaluate_finals()
            self.engine.step(begin, end)
            self.model.step(begin, end, actions)
            self.compare()
            while self.engine.num_full >= self.batch_rows:
                self.take_batch()

    def compare(self):
        model, arrays = self.model, self.engine.arrays
        assert self.engine.num_full == len(model.full)
        assert self.engine.num_abandoned == len(model.abandoned)
        assert self.engine.num_free == len(model.free)
        for e, env in enumerate(model.agents):
            for a, agent in enumerate(env):
                index = e * model.num_agents + a
                assert arrays["alive"][index] == agent.alive
                if agent.alive:
                    slot = agent.row * self.horizon + agent.place
                    assert arrays["slot"][index] == slot
                    seen = arrays["pool_observation"].reshape(-1, 4)[slot]
                    assert tuple(seen) == model.observation(e, a)
                    assert arrays["life_start"][index] == (agent.age == 0)

    def take_batch(self):
        self.act()  # writes values of first observations in new rows; acting again changes nothing
        self.evaluate_finals()
        rows = self.engine.batch()
        assert rows.tolist() == self.model.full[: self.batch_rows]
        arrays = self.engine.arrays
        for row in rows.tolist():
            expected = [self.model.slots.pop((row, t)) for t in range(self.horizon)]
            seen = arrays["pool_observation"][row]
            assert [tuple(o) for o in seen.tolist()] == [x["obs"] for x in expected]
            assert arrays["pool_reward"][row].tolist() == [x["reward"] for x in expected]
            assert arrays["pool_done"][row].tolist() == [x["done"] for x in expected]
            self.check_successors(row, expected)
            self.trained += self.horizon
        self.engine.release()
        self.model.free |= set(rows.tolist())
        self.model.full = self.model.full[self.batch_rows :]

    def check_successors(self, row, expected):
        arrays = self.engine.arrays
        for t, x in enumerate(expected):
            same_segment = t + 1 < self.horizon and not arrays["pool_segment_start"][row, t + 1]
            continues = t + 1 < self.horizon and expected[t + 1]["who"] == x["who"]
            if same_segment:
                assert continues
            if x["done"] == TRUNCATED or (x["done"] == LIVE and t + 1 == self.horizon):
                assert arrays["pool_next_value"][row, t] == unique_value(*x["final"])
            elif x["done"] == LIVE:
                assert same_segment
                assert arrays["pool_value"][row, t + 1] == unique_value(*x["final"])

    def conserved(self):
        assert self.trained + len(self.model.slots) == self.model.lived


def script(fate=None, end=0, absent=(), envs=1, agents=3):
    """Return one step's actions: {agent: fate} in every env, the episode's end, the next absent."""
    actions = np.zeros((envs, agents, 3), np.int32)
    for agent, value in (fate or {}).items():
        actions[:, agent, 0] = value
    actions[:, 0, 1] = end
    for agent in absent:
        actions[:, agent, 2] = 1
    return actions


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_every_transition_is_in_exactly_one_slot_and_rows_follow_the_model(data):
    envs = data.draw(st.integers(1, 4), "envs")
    agents = data.draw(st.integers(1, 5), "agents")
    horizon = data.draw(st.integers(1, 8), "horizon")
    batch_rows = data.draw(st.integers(1, 2 * envs * agents), "batch_rows")
    groups = data.draw(st.integers(1, 3), "groups")
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "lives"))
    calm = data.draw(st.floats(0.2, 0.98), "calm")
    ends = data.draw(st.floats(0.0, 0.4), "ends")
    driver = Driver(envs, agents, horizon, batch_rows, threads=data.draw(st.integers(1, 2)))
    starved = 0
    for _ in range(40):
        actions = np.zeros((envs, agents, 3), np.int32)
        shaken = rng.random((envs, agents)) > calm
        actions[..., 0] = np.where(shaken, rng.integers(0, 6, (envs, agents)), 0)
        actions[:, 0, 1] = np.where(rng.random(envs) < ends, rng.integers(1, 3, envs), 0)
        actions[..., 2] = rng.random((envs, agents)) < 0.2
        starved = 0 if any(a.alive for env in driver.model.agents for a in env) else starved + 1
        if starved >= horizon:  # legal for one horizon only
            actions[..., 0], actions[..., 1], actions[..., 2] = 4, 0, 0
        driver.step(actions, groups)
    driver.conserved()


def test_a_spawned_agent_takes_the_row_abandoned_longest_at_its_first_unused_slot():
    driver = Driver(1, 3, 8, 1)
    driver.step(script({1: 1}))  # agent 1 dies after one step, agent 2 after two
    driver.step(script({2: 1}))
    driver.step(script({0: 0, 1: 4, 2: 4}))
    slots = driver.engine.arrays["slot"]
    assert slots.tolist() == [3, 8 + 1, 16 + 2]
    assert driver.engine.arrays["pool_segment_start"][1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


def test_death_in_the_last_slot_fills_the_row():
    driver = Driver(1, 3, 2, 3)
    driver.step(script())
    driver.step(script({1: 1}))
    assert driver.engine.num_abandoned == 0
    assert driver.trained == 6  # all three rows were full, one of them by a death


def test_death_with_episode_end_is_terminal_for_the_dead_and_truncated_for_the_others():
    driver = Driver(1, 3, 4, 3)
    driver.step(script({1: 1}, end=TRUNCATED))
    assert driver.engine.arrays["pool_done"][:3, 0].tolist() == [TRUNCATED, TERMINAL, TRUNCATED]
    assert driver.engine.num_final == 2


def test_death_and_respawn_when_the_episode_is_truncated_leaves_no_trace_of_the_new_life():
    driver = Driver(1, 2, 4, 2)
    driver.step(script({1: 3}, end=TRUNCATED, agents=2))
    arrays = driver.engine.arrays
    assert arrays["pool_done"][:2, 0].tolist() == [TRUNCATED, TERMINAL]
    assert driver.engine.num_final == 1
    assert arrays["final_agent"][0] == 0
    assert arrays["pool_observation"][1, 1].tolist()[2:] == [3, 0]  # life 2 was never seen


def test_spawn_and_death_in_one_step_is_no_transition():
    driver = Driver(1, 2, 4, 2)
    driver.step(script({1: 1}, agents=2))
    before = driver.model.lived
    driver.step(script({1: 5}, agents=2))
    assert driver.model.lived == before + 1  # agent 0's
    assert driver.engine.num_abandoned == 1


def test_truncation_in_a_full_row_has_its_final_observation_and_a_new_row():
    driver = Driver(1, 2, 1, 2)
    driver.step(script(end=TRUNCATED, agents=2))
    assert driver.trained == 2  # checked against the final observation in take_batch


def test_population_that_changes_between_episodes():
    driver = Driver(2, 3, 4, 2)
    driver.step(script(end=TERMINAL, absent=(1, 2), envs=2))
    assert driver.engine.live_agents().tolist() == [0, 3]
    assert driver.engine.num_abandoned == 4
    driver.step(script(end=TERMINAL, envs=2))
    assert driver.engine.num_abandoned == 0
    driver.conserved()


def test_nobody_alive_is_legal_for_a_horizon_and_an_error_after_it():
    driver = Driver(1, 2, 3, 2)
    driver.step(script({0: 1, 1: 1}, agents=2))
    driver.step(script(agents=2))
    driver.step(script(agents=2))
    with pytest.raises(RuntimeError, match=r"no agent of 1 envs .* more than 3 steps"):
        driver.step(script(agents=2))


def test_fixed_population_is_a_lattice_and_alternates_between_two_blocks_of_rows():
    driver = Driver(4, 1, 2, 4)
    starts = []
    for _ in range(20):
        starts.append(driver.engine.uniform_first_slot())
        driver.step(script(envs=4, agents=1))
    assert starts == [0, 1, 8, 9] * 5


def test_a_step_without_room_says_what_to_do():
    driver = Driver(2, 1, 1, 2)
    driver.engine.arrays["action"][:] = 0
    driver.engine.step()
    driver.engine.arrays["bootstrap_slot"][:] = -1
    driver.engine.step()
    driver.engine.arrays["bootstrap_slot"][:] = -1
    with pytest.raises(RuntimeError, match=r"0 rows are free and 2 agents step: 4 rows are full"):
        driver.engine.step()


def test_a_step_without_final_slots_says_what_to_do():
    driver = Driver(1, 2, 8, 2)
    driver.engine.arrays["action"][:, 1] = TRUNCATED
    driver.engine.step()
    driver.engine.step()
    with pytest.raises(RuntimeError, match="0 final slots are free and 2 agents step: evaluate"):
        driver.engine.step()
