"""What several tests share: test games built on demand, networks with and without autograd."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy.typing as npt
import torch

from pufferenv import games
from pufferenv.engine._engine import Game
from pufferlib.fused.network import FusedNetwork
from pufferlib.ops.output import Output
from pufferlib.ppo.trainer import Trainer
from tests.support.paths import GAME_HEADERS


@cache
def load_game(name: str, debug: bool = False) -> Game:
    """A game of tests/game_headers, built if it changed and loaded."""
    return games.load(GAME_HEADERS / f"{name}.h", debug=debug)


def short_episodes(game: str) -> dict[str, int]:
    """The config of a game of the ocean package that truncates long episodes at 50 steps."""
    fields = [field.name for field in games.load(game).config_fields]
    return {"max_steps": 50} if "max_steps" in fields else {}


def go_back_both_ways(wanted: Output, found: Output, fused: FusedNetwork) -> None:
    """Hold what a network gave without autograd against what it gave with it, and go back from both
    with the same random gradient."""
    gradient, loss = fused.gradient(), torch.zeros(())
    for part in Output._fields:
        want, got, into = (getattr(o, part) for o in (wanted, found, gradient))
        assert (want is None) == (got is None) == (into is None)
        if want is None:
            continue
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
        given = torch.randn(want.shape)
        if part == "log_std":
            into.add_(given)  # which is added up
        else:
            into.copy_(given)
        loss = loss + (want * given).sum()
    loss.backward()
    fused.backward()


def learned_from(trainer: Trainer) -> dict[str, npt.NDArray[Any]]:
    """What a batch's slots are learned from, beside what was seen and done: name -> (B, H)."""
    names, batch = ("logprob", "value", "advantage", "target", "reset"), trainer.batch
    return {name: batch.pool[name][batch.rows] for name in names}
