"""Speed of drawing: frames per second of every game, pixels as observations, sizes of clips.

    python bench/draw.py [--rounds 5] [--seconds 0.3] [--width 600] [--side 84] [--games snake tag]

Everything runs on one core. Envs are played at random for STEPS steps first, so that the pictures
show what a game looks like later, too.

    frames    RGB arrays, --width pixels wide, as `render_mode="rgb_array"` returns them
    list      microseconds of writing a display list, with the call from Python and a copy
    grey, RGB pictures of --side x --side pixels that PufferVectorEnv.step writes into the slots of
              PIXEL_ENVS envs: a step of the game, its list and its picture, per live agent

Then it writes clips of SECONDS seconds of breakout: bytes and the time it takes, from frames that
are drawn already. A terminal gets the characters that changed, with 24 bits of colour.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from timing import cores, describe, make_parser, pin, rate, rounds, table

import pufferenv
from pufferenv import games
from pufferenv.drawing import terminal
from pufferenv.drawing.renderer import Renderer
from pufferenv.drawing.video import VideoWriter

STEPS = 60
ENVS = 16  # whose frames are drawn in turn
PIXEL_ENVS = 64
SECONDS = 10
COLUMNS, ROWS = 80, 25  # of the terminal


def played(game: str, num_envs: int, steps: int, **config: int) -> pufferenv.PufferVectorEnv:
    """Return envs of a game on one thread, after `steps` steps of random actions."""
    env = pufferenv.make(game, num_envs, num_threads=1, seed=1, copy=False, **config)
    env.reset()
    env.action_space.seed(1)
    for _ in range(steps):
        env.step(env.action_space.sample())
    return env


def in_turn(call: Callable[[int], object], count: int) -> Callable[[], None]:
    """Return a function that calls `call` with 0, 1, ..., count - 1, 0, ..."""
    at = 0

    def step() -> None:
        nonlocal at
        call(at)
        at = (at + 1) % count

    return step


def frames_and_lists(names: list[str], width: int, count: int, seconds: float) -> None:
    """Print frames per second, and microseconds per list, of each game."""
    frames, lists = [], []
    for name in names:
        env = played(name, ENVS, STEPS)
        renderer = Renderer(games.drawing(env.game), env.game_spec.packed, width)
        title = f"{name} {renderer.width} x {renderer.height}"

        def frame(k: int, renderer: Renderer = renderer, engine: object = env._engine) -> object:
            return renderer.frames(engine, [k])

        def written(k: int, renderer: Renderer = renderer, engine: object = env._engine) -> object:
            return renderer.lists(engine, [k])

        draw, write = in_turn(frame, ENVS), in_turn(written, ENVS)
        frames.append((title, lambda draw=draw: rate(draw, seconds)))
        lists.append((name, lambda write=write: 1e6 / rate(write, seconds)))
    table("frames/s", rounds(frames, count), 0)
    table("list, us", rounds(lists, count), 1)


def pixels(names: list[str], side: int, count: int, seconds: float) -> None:
    """Print pictures per second of each game, observed in place of its own observation."""
    cases = []
    for name in names:
        for channels, kind in ((1, "grey"), (3, "RGB")):
            env = played(name, PIXEL_ENVS, STEPS, pixels=side, pixel_channels=channels)
            actions = [env.action_space.sample() for _ in range(64)]

            def measure(
                env: pufferenv.PufferVectorEnv = env, actions: list[object] = actions
            ) -> float:
                pictures, begin, k = 0, time.perf_counter(), 0
                while (passed := time.perf_counter() - begin) < seconds:
                    env.step(actions[k % len(actions)])
                    pictures, k = pictures + int(np.count_nonzero(env.alive)), k + 1
                return pictures / passed

            cases.append((f"{name} {kind}", measure))
    table(f"{side} x {side}/s", rounds(cases, count), 0)


def clips(width: int, count: int) -> None:
    """Print the sizes of clips of breakout, and the seconds it takes to encode one."""
    env = played("breakout", 1, STEPS)
    renderer = Renderer(games.drawing(env.game), env.game_spec.packed, width)
    shown = []
    for _ in range(round(SECONDS * renderer.pace)):
        env.step(env.action_space.sample())
        shown.append(renderer.frames(env._engine, [0])[0])
    sizes: dict[str, float] = {}

    def clip(path: Path) -> float:
        begin = time.perf_counter()
        with VideoWriter(path, renderer.width, renderer.height, renderer.pace) as writer:
            for frame in shown:
                writer.add(frame)
        passed = time.perf_counter() - begin
        sizes[path.suffix] = path.stat().st_size / 1e3
        return passed

    def text() -> float:
        begin = time.perf_counter()
        encoder = terminal.Encoder(terminal.TRUECOLOR)
        fitted = (terminal.fitted(frame, COLUMNS, ROWS) for frame in shown)
        size = sum(len(encoder.changes(each, COLUMNS, ROWS)) for each in fitted)
        sizes["terminal"] = size / 1e3 / len(shown)
        return time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"clip{suffix}") for suffix in (".gif", ".mp4", ".webp")]
        cases = [(path.suffix, lambda path=path: clip(path)) for path in paths]
        figures = rounds([*cases, ("terminal", text)], count)
    table(f"{len(shown)} frames of {renderer.width} x {renderer.height}, s", figures)
    for name, size in sizes.items():
        print(f"{name}: {size:.1f} kB{' a frame' if name == 'terminal' else ''}")


def main() -> None:
    """Print the machine and all figures."""
    drawn = [name for name in games.names() if games.load(name).draws]
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("--side", type=int, default=84)
    parser.add_argument("--games", nargs="+", choices=drawn, default=drawn)
    parser.add_argument("--no-clips", action="store_true", help="do not write clips")
    args = parser.parse_args()
    describe()
    pin(cores()[0] if cores() else None)
    frames_and_lists(args.games, args.width, args.rounds, args.seconds)
    pixels(args.games, args.side, args.rounds, args.seconds)
    if not args.no_clips:
        clips(args.width, args.rounds)


if __name__ == "__main__":
    main()
