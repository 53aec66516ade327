"""Speed of training relative to the limit set by its matrix products, for each kind of policy.

    python bench/roofline.py [breakout] [--rounds 5] [--seconds 3] [--policies mlp lstm mingru]
                             [--precisions float32 bfloat16] [-- --train.update-epochs 3 ...]

Each figure is printed by `puffer bench train GAME` in its own process, on one pinned core with one
thread; policies take turns. It prints the steps per second of the training loop, those of a loop
that computes only the products (timed between updates, in the same process, with the same shapes),
and the ratio. With two precisions each policy runs in both, and the program also prints the speed
of the second relative to the first, and how fast its products must be for a ratio of 1.5. (A CPU
without bfloat16 computes these products in float32, which measures the time of everything else.)
Options after `--` go to the command.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from timing import cores, describe, make_parser, parse_with_flags, pin, table

PUFFER = [sys.executable, "-m", "pufferlib", "bench", "train"]
ALONE = ["--train.device=cpu", "--train.threads=1", "--vec.num-threads=1"]
TARGET = 1.5  # speed of the second precision relative to the first


def report(words: list[str], policy: str, precision: str) -> dict[str, Any]:
    """Run the command with this policy; return its report."""
    own = [f"--policy.name={policy}", f"--train.precision={precision}"]
    command = [*PUFFER, *words, *ALONE, *own, "--json"]
    answer: dict[str, Any] = json.loads(subprocess.check_output(command))
    return answer


def needed(first: dict[str, Any], second: dict[str, Any]) -> float:
    """Return the speed of the second's products, relative to the first's, that TARGET requires."""
    beside = 1 / second["steps_per_second"] - 1 / second["roofline"]
    left = 1 / (TARGET * first["steps_per_second"]) - beside
    return 1 / first["roofline"] / left if left > 0 else float("inf")


def main() -> None:
    """Measure the policies in turn; print speeds, limits and ratios."""
    parser = make_parser(__doc__)
    parser.add_argument("game", nargs="?", default="breakout")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--policies", nargs="+", default=["mlp", "lstm", "mingru"])
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--core", type=int, help="pin to this logical core; default: the first")
    given, flags = parse_with_flags(parser)
    describe()
    pin(given.core if given.core is not None else next(iter(cores()), None))
    words = [given.game, "--seconds", str(given.seconds), *flags]
    kinds = [(policy, kind) for policy in given.policies for kind in given.precisions]
    found: dict[str, list[dict[str, Any]]] = {" ".join(kind): [] for kind in kinds}
    for _ in range(given.rounds):
        for kind, reports in zip(kinds, found.values(), strict=True):
            reports.append(report(words, *kind))
    print(f"\n{'operations per step, thousand':<30} {'act':>9} {'epoch':>9} {'epochs':>9}")
    for policy, reports in found.items():
        flops = reports[0]["flops_per_step"]
        shown = f"{flops['act'] / 1e3:9.1f} {flops['update_epoch'] / 1e3:9.1f}"
        print(f"{policy:<30} {shown} {flops['update_epochs']:9}")
    for title, key, scale, digits in (
        ("thousand agent steps per second", "steps_per_second", 1e-3, 1),
        ("roofline, thousand per second", "roofline", 1e-3, 1),
        ("speed, % of the roofline", "reached", 100, 1),
    ):
        values = {p: [r[key] * scale for r in reports] for p, reports in found.items()}
        table(title, values, digits)
    table(
        "GEMM, GFLOP/s of all products",
        {p: [r["gemm_gflops"]["all"] for r in reports] for p, reports in found.items()},
        0,
    )
    if len(given.precisions) == 2:
        first, second = given.precisions
        pairs = {
            policy: list(zip(found[f"{policy} {first}"], found[f"{policy} {second}"], strict=True))
            for policy in given.policies
        }
        ratios = {
            policy: [b["steps_per_second"] / a["steps_per_second"] for a, b in each]
            for policy, each in pairs.items()
        }
        table(f"{second} relative to {first}", ratios)
        speeds = {policy: [needed(*pair) for pair in each] for policy, each in pairs.items()}
        table(f"speed of the products required for {TARGET}", speeds)


if __name__ == "__main__":
    main()
