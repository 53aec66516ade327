"""The baseline trainers of bench/padded.py learn from what they collect."""

import math
import sys

import numpy as np
import pytest

from pufferlib.config.options import PolicyOptions, TrainOptions, VecOptions
from tests.support.paths import ROOT

BENCH = str(ROOT / "bench")


@pytest.mark.parametrize(("name", "game"), [("PlainTrainer", "cartpole"), ("PaddedTrainer", "tag")])
def test_a_plain_buffer_is_learned_from_whole(name, game, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    kind = getattr(__import__("padded"), name)
    train = TrainOptions(horizon=8, minibatch_size=64, device="cpu", threads=1)
    trainer = kind(game, {}, VecOptions(num_envs=16, num_threads=1), train, PolicyOptions())
    before = [p.detach().clone() for p in trainer.policy.parameters()]
    for update in (1, 2):
        metrics, buffer = trainer.update(), trainer.collector.buffer
        assert trainer.updates == update and metrics["loss/grad_norm"] > 0
        assert math.isfinite(metrics["loss/loss"])
        live = buffer["live"]
        assert live.any() and np.isfinite(buffer["logprob"]).all()
        assert (buffer["logprob"][live] < 0).any()
    after = list(trainer.policy.parameters())
    assert all((a != b).any() for a, b in zip(after, before, strict=True))
    trainer.close()
    sys.modules.pop("padded")
