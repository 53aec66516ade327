"""The same-step tables of docs/design.md: the game `script` plays every line of them."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from pufferenv import RowEnv
from tests.support.games import load_game
from tests.support.paths import ROOT

DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
HORIZON = 3
DONE = {"LIVE": 0, "TERMINAL": 1, "TRUNCATED": 2}
END = {"goes on": 0, "is terminated": 1, "is truncated": 2}
FATE = {  # the agent's fate in the table: script's action for it
    "survives": 0,
    "dies": 1,
    "is cut (`puf_cut`)": 2,
    "dies and respawns": 3,
    "stays dead": 0,
    "spawns": 4,
    "spawns and dies": 5,
}
SAME_ROW, ABANDONED = "same row, slot `t + 1`", "row abandoned"


class TableLine(NamedTuple):
    """One line of a table, with the case that the game reproduces: fate, end, absent or not."""

    fate: int
    end: int
    absent: bool
    cells: tuple[str, ...]  # the cells after "the agent" and "the episode"

    @property
    def afterwards(self) -> str:
        """The part of the last cell that applies to this case."""
        text = self.cells[-1]
        if not self.end:
            return text
        _, present, absent = re.split("in the next episode: |; absent: ", text)
        return absent if self.absent else present


def lines(first_cell: str) -> list[TableLine]:
    """Return the lines of the table in which some line begins with `first_cell`."""
    (table,) = (t for t in re.findall(r"(?:^\|.*\n)+", DESIGN, re.M) if f"\n| {first_cell} |" in t)
    found = []
    for row in table.splitlines()[2:]:
        agent, episode, *cells = (cell.strip() for cell in row.strip("|").split(" | "))
        for fate in [name for name in FATE if name in re.split(r", or |, ", agent)]:
            for name, end in END.items():
                if episode == name or (end and episode == "is terminated or truncated"):
                    ways = (False, True) if end else (False,)
                    found += [TableLine(FATE[fate], end, absent, tuple(cells)) for absent in ways]
    return found


def step(env: RowEnv, fate: int = 0, end: int = 0, absent: bool = False) -> None:
    """Step one env of two agents; `fate` and `absent` are agent 1's."""
    env.arrays["action"][:] = [[0, end, 0], [fate, 0, absent]]
    env.step()


def rows_of_two_agents() -> RowEnv:
    env = RowEnv(load_game("script"), 1, horizon=HORIZON, batch_rows=2, check=True, agents=2)
    env.reset()
    return env


@pytest.mark.parametrize("last", [False, True], ids=["", "last slot"])
@pytest.mark.parametrize("line", lines("survives"), ids=str)
def test_an_agent_that_was_alive(line: TableLine, last: bool) -> None:
    env = rows_of_two_agents()
    for _ in range(HORIZON - 1 if last else 0):
        step(env)
    arrays, engine = env.arrays, env.engine
    slot = int(arrays["slot"][1])
    step(env, line.fate, line.end, line.absent)
    done, final, _ = line.cells
    assert arrays["pool_done"].reshape(-1)[slot] == DONE[done]
    finals = arrays["final_slot"][: engine.num_final].tolist()
    assert (slot in finals) == (final == "yes")
    alive = SAME_ROW in line.afterwards
    assert alive == bool(arrays["alive"][1]) == (ABANDONED not in line.afterwards)
    assert engine.num_abandoned == (0 if last or alive else 1)
    assert engine.num_full == (2 if last else 0)  # agent 0's row too
    if alive and not last:
        assert arrays["slot"][1] == slot + 1
    elif alive:
        assert arrays["slot"][1] % HORIZON == 0
        assert arrays["slot"][1] // HORIZON not in engine.batch().tolist()


@pytest.mark.parametrize("line", lines("stays dead"), ids=str)
def test_an_agent_that_was_dead(line: TableLine) -> None:
    env = rows_of_two_agents()
    slot = int(env.arrays["slot"][1])
    step(env, FATE["dies"])
    finals = env.engine.num_final
    step(env, line.fate, line.end, line.absent)
    spawned = line.afterwards.startswith("takes a row by rule 3")
    assert spawned != line.afterwards.startswith("none")
    assert bool(env.arrays["alive"][1]) == spawned
    assert env.engine.num_abandoned == (0 if spawned else 1)
    assert env.engine.num_final == finals + (line.end == END["is truncated"])  # agent 0's
    if spawned:
        assert env.arrays["slot"][1] == slot + 1  # the row that was abandoned, its next slot


def test_the_tables_have_all_that_a_game_can_do() -> None:
    alive = {(line.fate, line.end, line.absent) for line in lines("survives")}
    dead = {(line.fate, line.end, line.absent) for line in lines("stays dead")}
    ends = [(0, False), *((end, absent) for end in (1, 2) for absent in (False, True))]
    assert alive == {(fate, *end) for fate in range(4) for end in ends}
    assert dead == {(fate, *end) for fate in (0, 4, 5) for end in ends}
