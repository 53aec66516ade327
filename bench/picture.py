"""Draw the dashboard of a finished run into an SVG, such as the image in the README.

    python bench/picture.py runs/breakout/RUN docs/dashboard.svg [--at 0.5]

--at picks the line of the run's metrics.jsonl, as a share of its lines; the dashboard's own code
draws it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from rich.console import Console

from pufferlib.run.dashboard import LiveDisplay


def main() -> None:
    """Read the run, display one moment of it and save the display."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("svg", type=Path)
    parser.add_argument("--at", type=float, default=0.5)
    given = parser.parse_args()
    lines = [json.loads(line) for line in (given.run / "metrics.jsonl").read_text().splitlines()]
    moment = lines[int(given.at * (len(lines) - 1))]
    seen: dict[str, object] = {}
    for line in lines[: lines.index(moment) + 1]:
        seen |= {key: value for key, value in line.items() if key.startswith(("env/", "eval/"))}
    total = lines[-1]["agent_steps"]
    with open(os.devnull, "w") as nowhere:
        console = Console(record=True, width=100, height=30, file=nowhere, color_system="truecolor")
        display = LiveDisplay(console, str(given.run), "cpu, 2 torch threads", total)
        display.update(seen | moment)
        display.close()  # prints the last display
        console.save_svg(str(given.svg), title=f"puffer train {given.run.parent.name}")


if __name__ == "__main__":
    main()
