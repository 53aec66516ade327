"""What replays cost: the time that an evaluation takes with and without recording, and file sizes.

    python bench/replay.py [--rounds 5] [--episodes 100] [--games breakout royale]

Evaluations have a policy of the default network with random weights, sampled, on one core, and as
many envs as episodes. Their time is that of the processor, without the start.

    cost      of recording each step, of the time of an evaluation
    made      milliseconds per replay: one run of its env without a policy, and compression
    bytes     of the file of the longest episode; of 10,000 steps of breakout with random actions
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from timing import cores, describe, make_parser, pin, rounds

from pufferenv import games
from pufferenv.game_spec import GameSpec
from pufferlib.config.options import PolicyOptions
from pufferlib.policies.base import PolicySpec
from pufferlib.policies.factory import make_policy
from pufferlib.run.evaluate import Evaluator
from pufferlib.run.replay import Replay, checkpoints, encode
from pufferlib.run.replay_recorder import ReplayRecorder


def evaluation(spec: GameSpec, episodes: int, kept: list[ReplayRecorder] | None) -> float:
    """Return the seconds of processor time of an evaluation; add its recorder to `kept`."""
    policy = make_policy(PolicyOptions(), PolicySpec.of(spec), seed=1)
    with Evaluator(policy, spec, episodes=episodes) as run:
        if kept is not None:
            kept.append(run.record("bench"))
        begin = time.process_time()
        run.finish()
        return time.process_time() - begin


def longest_breakout() -> int:
    """Return the bytes of 10,000 steps of random actions, which cannot be compressed further."""
    choices = np.random.default_rng(0).integers(0, 3, (10_000, 1, 1), np.int32)
    axes = np.zeros((10_000, 1, 0), np.float32)
    hashes = np.random.default_rng(1).integers(0, 2**64, len(checkpoints(10_000)), np.uint64)
    spec = GameSpec.of("breakout")
    source, config, log = spec.game.source, dict(spec.config), {"score": 0.0}
    replay = Replay(spec.name, source, config, 0, 0, 0, 0, (3,), choices, axes, hashes, log, "")
    return len(encode(replay))


def measured(game: str, episodes: int, count: int) -> list[str]:
    """Return a row of the table."""
    spec, kept = GameSpec.of(game), list[ReplayRecorder]()
    cases: list[tuple[str, Callable[[], float]]] = [
        ("plain", lambda: evaluation(spec, episodes, None)),
        ("recorded", lambda: evaluation(spec, episodes, kept)),
    ]
    figures = rounds(cases, count)
    extra = [r / p - 1 for p, r in zip(figures["plain"], figures["recorded"], strict=True)]
    recorder = kept[-1]
    episode = max(recorder.episodes, key=lambda episode: episode.end)
    times = []
    for _ in range(count):
        begin = time.process_time()
        (replay,) = recorder.replays([episode])
        size = len(encode(replay))
        times.append(time.process_time() - begin)
    return [
        game,
        f"{statistics.median(figures['plain']):.2f} s",
        f"{100 * statistics.median(extra):.1f} %",
        f"{1000 * statistics.median(times):.1f} ms",
        f"{replay.steps} x {replay.num_agents}",
        f"{size:,}",
    ]


def main() -> None:
    """Print the table."""
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--games", nargs="+", default=games.names())
    args = parser.parse_args()
    describe()
    pin(cores()[0] if cores() else None)
    torch.set_num_threads(1)
    header = ["game", "evaluation", "cost", "made", "steps x agents", "bytes"]
    for row in [header, *(measured(game, args.episodes, args.rounds) for game in args.games)]:
        print(f"{row[0]:<10} " + " ".join(f"{cell:>14}" for cell in row[1:]), flush=True)
    print(f"breakout, 10,000 steps of random actions: {longest_breakout():,} bytes")


if __name__ == "__main__":
    main()
