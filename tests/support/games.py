"""Helpers for tests: build test games on demand, compare fused networks with autograd."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy.typing as npt
import torch

from pufferenv import games
from pufferenv.engine._engine import Game
from pufferlib.fused.eager import EagerRunner
from pufferlib.ops.output import Output
from pufferlib.ppo.trainer import Trainer
from tests.support.paths import GAME_HEADERS


@cache
def load_game(name: str, debug: bool = False) -> Game:
    """Load a game of tests/game_headers, which is built if it changed."""
    return games.load(GAME_HEADERS / f"{name}.h", debug=debug)


def short_episodes(game: str) -> dict[str, int]:
    """Return the config of an ocean game that truncates long episodes at 50 steps."""
    fields = [field.name for field in games.load(game).config_fields]
    return {"max_steps": 50} if "max_steps" in fields else {}


def compare_with_autograd(wanted: Output, found: Output, fused: EagerRunner) -> None:
    """Assert that the fused outputs equal autograd's, and run both backward passes.

    `wanted` has autograd's outputs and `found` the fused ones. Both backward passes start from the
    same random gradient.
    """
    gradient, loss = fused.gradient(), torch.zeros(())
    for part in Output._fields:
        want, got, into = (getattr(o, part) for o in (wanted, found, gradient))
        assert (want is None) == (got is None) == (into is None)
        if want is None:
            continue
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
        given = torch.randn(want.shape)
        if part == "log_std":
            into.add_(given)  # this gradient accumulates
        else:
            into.copy_(given)
        loss = loss + (want * given).sum()
    loss.backward()
    fused.backward()


def training_columns(trainer: Trainer) -> dict[str, npt.NDArray[Any]]:
    """Return the columns that a batch is trained on, beside observations and actions: (B, H)."""
    names, batch = ("logprob", "value", "advantage", "target", "reset"), trainer.batch
    return {name: batch.columns[name][batch.rows] for name in names}
