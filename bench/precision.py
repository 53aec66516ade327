"""Compare learning in bfloat16 and in float32: several seeds of each, curves and final scores.

    python bench/precision.py cartpole [--seeds 1 2 3 4 5] [-- --train.total-timesteps 500000 ...]

Each seed is trained twice with the game's defaults, on one thread; options after `--` go to both.
The first table has the score in training over the episodes that ended in each tenth of the steps.
The second has the score of the last policy over 100 episodes that are not used in training,
evaluated in float32. A CPU without bfloat16 emulates it, with the same rounding, but more slowly.
"""

from __future__ import annotations

import statistics
import sys

from timing import describe, make_parser, parse_with_flags

PARTS = 10  # equal parts of a training run
KINDS = ("float32", "bfloat16")


def train(game: str, kind: str, seed: int, flags: list[str]) -> tuple[list[float], float]:
    """Train and evaluate; return the mean score of each part, and that of the last policy."""
    from pufferenv import games
    from pufferlib.cli.configure import split_settings
    from pufferlib.config.resolve import Layer
    from pufferlib.ppo.trainer import Trainer
    from pufferlib.run import defaults
    from pufferlib.run.evaluate import evaluate, main_field

    own = [f"--train.seed={seed}", f"--train.precision={kind}", "--train.threads=1"]
    settings, unknown = split_settings([*flags, *own, "--train.device=cpu", "--vec.num-threads=1"])
    if unknown:
        raise SystemExit(f"{unknown[0]} is not an option; see puffer train {game} --help")
    loaded = games.load(game)
    own_layers = defaults.own_layers(game, loaded)
    config = defaults.configure(game, loaded, own_layers, [Layer("--", settings)])
    trainer = Trainer(loaded, config.env, config.vec, config.train, config.policy)
    field, total = main_field(trainer.env.game_spec), trainer.train.total_timesteps
    if field is None:
        raise SystemExit(f"{game} has no log fields, so there is no score to compare")
    sums, episodes = [0.0] * PARTS, [0.0] * PARTS
    while not trainer.finished:
        part = min(PARTS - 1, PARTS * trainer.agent_steps // total)
        metrics = trainer.update()
        if metrics["env/episodes"]:
            sums[part] += metrics["env/episodes"] * metrics[f"env/{field}"]
            episodes[part] += metrics["env/episodes"]
    curve = [a / b if b else float("nan") for a, b in zip(sums, episodes, strict=True)]
    last = evaluate(trainer.policy, trainer.env.game_spec, episodes=100, seed=2**32 - 1)
    trainer.close()
    return curve, last.fields[field].mean


def spread(values: list[float]) -> str:
    """Format mean, minimum and maximum."""
    return f"{statistics.mean(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    """Train with each seed and precision, printing progress; print both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("game")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    given, flags = parse_with_flags(parser)
    describe()
    curves: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    ends: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in given.seeds:
        for kind in KINDS:
            curve, end = train(given.game, kind, seed, flags)
            curves[kind].append(curve)
            ends[kind].append(end)
            print(f"seed {seed}, {kind}: {end:.4g}", file=sys.stderr, flush=True)
    head = "| --- " * (1 + len(KINDS)) + "|"
    print(f"\n| steps | {' | '.join(KINDS)} |\n{head}")
    for part in range(PARTS):
        cells = [spread([curve[part] for curve in curves[kind]]) for kind in KINDS]
        print(f"| {part / PARTS:.0%} to {(part + 1) / PARTS:.0%} | {' | '.join(cells)} |")
    print(f"\n| seed | {' | '.join(KINDS)} |\n{head}")
    for i, seed in enumerate(given.seeds):
        print(f"| {seed} | {' | '.join(f'{ends[kind][i]:.4g}' for kind in KINDS)} |")
    print(f"| mean | {' | '.join(f'{statistics.mean(ends[kind]):.4g}' for kind in KINDS)} |")


if __name__ == "__main__":
    main()
