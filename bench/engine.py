"""Cost of the engine in ns per agent step, compared with a bare C loop over the same slots.

    python bench/engine.py [--envs 1024] [--horizon 64] [--rounds 5] [--games squared breakout]

bench/bare.c includes the game's header and is compiled like a game. It steps the same envs with the
same actions and writes observations, rewards and dones into the same slots; the program first
checks that both loops write the same bytes. The engine prefetches the slots of later envs, so the
bare loop is measured both with and without prefetching. The engine (mode ROWS) is measured twice:
stepped by a loop in C, like the bare loop, and from Python. Its time includes events, logs, final
observations, rows and batches.
"""

from __future__ import annotations

import argparse
import ctypes
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from timing import cores, describe, make_parser, pin, rounds, table

from pufferenv import RowEnv
from pufferenv.engine._engine import compiled, mix_seed
from pufferenv.engine.arrays import own_memory
from pufferenv.toolchain.incremental import compiler
from pufferenv.toolchain.targets import ROOT, header_of

SETS = 64  # sets of random actions, used in turn
LINES_AHEAD = 12  # PUF_LINES_AHEAD_ in pufferenv/contract/game.c
Actions = npt.NDArray[np.int32]  # (SETS, envs, heads)


class Engine:
    """A RowEnv with one thread, stepped from Python or, if `library` is given, by a loop in C."""

    def __init__(self, env: RowEnv, actions: Actions, library: ctypes.CDLL | None = None) -> None:
        self.env, self.actions, self.library, self.time = env, actions, library, 0

    def run(self, steps: int) -> None:
        if self.library is None:
            self._run_in_python(steps)
        else:
            at = self.env.engine.addresses
            self.library.engine_run(
                *(ctypes.c_void_p(at[name]) for name in ("engine", "step", "release")),
                self.actions.ctypes.data_as(ctypes.c_void_p),
                *map(ctypes.c_int64, (SETS, self.time, steps)),
            )
        self.time += steps

    def _run_in_python(self, steps: int) -> None:
        engine, to, actions = self.env.engine, self.env.arrays["action"], self.actions
        for now in range(self.time, self.time + steps):
            np.copyto(to, actions[now % SETS])
            engine.step()
            engine.clear_finals()
            if engine.num_full >= self.env.batch_rows:
                engine.batch()
                engine.release()


class Bare:
    """bench/bare.c, compiled for one game."""

    def __init__(self, env: RowEnv, actions: Actions) -> None:
        rows = (2 * env.num_envs, env.horizon)
        self.arrays = {
            name: self._memory((*rows, *env.arrays[name].shape[2:]), env.arrays[name].dtype)
            for name in ("pool_observation", "pool_reward", "pool_done")
        }
        self.actions = actions
        with tempfile.TemporaryDirectory() as folder:
            self.library = ctypes.CDLL(str(self._compile(env.game.name, Path(folder))))
        self.library.bare_new.restype = ctypes.c_void_p
        self.loop = self.library.bare_new(
            ctypes.c_int64(env.num_envs),
            ctypes.c_int64(env.horizon),
            env.game_spec.packed,
            mix_seed(0, env.num_envs).ctypes.data_as(ctypes.c_void_p),
            self._at("pool_observation"),
            ctypes.c_size_t(self.arrays["pool_observation"][0, 0].nbytes),
            self._at("pool_reward"),
            self._at("pool_done"),
        )
        if not self.loop:
            raise MemoryError(f"no bare loop for {env.game.name}")

    def run(self, steps: int, ahead: int = 0) -> None:
        self.library.bare_run(
            ctypes.c_void_p(self.loop),
            self.actions.ctypes.data_as(ctypes.c_void_p),
            *map(ctypes.c_int64, (SETS, steps, ahead)),
        )

    @staticmethod
    def _memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Allocate memory as the engine does: aligned, on huge pages."""
        return own_memory(int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)

    def _at(self, name: str) -> ctypes.c_void_p:
        return self.arrays[name].ctypes.data_as(ctypes.c_void_p)

    @staticmethod
    def _compile(game: str, folder: Path) -> Path:
        library = folder / "bare.so"
        flags = str(compiled()["flags"]).split()
        header = f'-DPUF_GAME="{header_of(game)}"'
        source = str(ROOT / "bench" / "bare.c")
        command = [*compiler(), *flags, f"-I{ROOT}", header, "-shared", source, "-o", str(library)]
        subprocess.run([*command, "-lm"], check=True)
        return library


class Prefetching:
    """A bare loop that prefetches the slots of later envs, as the engine does."""

    def __init__(self, bare: Bare) -> None:
        lines = bare.arrays["pool_observation"][0, 0].nbytes // 64 + 1
        self.bare, self.ahead = bare, max(1, LINES_AHEAD // lines)

    def run(self, steps: int) -> None:
        self.bare.run(steps, self.ahead)


def check_same(engine: Engine, bare: Bare) -> None:
    """Run both loops over two rows; exit unless they wrote the same bytes."""
    env = engine.env
    for loop in (engine, bare):
        loop.run(2 * env.horizon - 1)
    for name, wrote in bare.arrays.items():
        if env.arrays[name][: 2 * env.num_envs, :-1].tobytes() != wrote[:, :-1].tobytes():
            raise SystemExit(f"{env.game.name}: engine and bare loop differ in {name!r}")


def measure(loop: Engine | Bare | Prefetching, envs: int, steps: int) -> float:
    """Return nanoseconds per step of one env."""
    begin = time.perf_counter()
    loop.run(steps)
    return (time.perf_counter() - begin) * 1e9 / (steps * envs)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--envs", type=int, default=1024, help="default 1024")
    parser.add_argument("--horizon", type=int, default=64, help="slots of a row (default 64)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--steps", type=int, default=4096, help="steps per measurement")
    parser.add_argument("--games", nargs="+", default=["squared", "breakout"])
    args = parser.parse_args()
    describe()
    pin(cores()[0] if cores() else None)
    rng = np.random.default_rng(0)
    for game in args.games:
        with RowEnv(game, 1, horizon=1) as one:
            if one.num_agents != 1 or one.axes:
                raise SystemExit(
                    f"{game}: the bare loop supports only games with one agent and discrete heads"
                )
            choices = [head.n for head in one.heads]
        actions = rng.integers(0, choices, (SETS, args.envs, len(choices))).astype(np.int32)
        compare(game, args, actions)


def compare(game: str, args: argparse.Namespace, actions: Actions) -> None:
    """Print the time per step of the engine, from C and from Python, and of the bare loop."""
    envs = [RowEnv(game, args.envs, horizon=args.horizon, seed=0) for _ in range(2)]
    bare = Bare(envs[0], actions)
    loops: dict[str, Engine | Bare | Prefetching] = {
        "bare loop": bare,
        "bare loop with prefetch": Prefetching(bare),
        "engine": (engine := Engine(envs[0], actions, bare.library)),
        "engine, from Python": Engine(envs[1], actions),
    }
    check_same(engine, bare)
    cases = [(name, partial(measure, loop, args.envs, args.steps)) for name, loop in loops.items()]
    figures = rounds(cases, args.rounds)
    for name in list(loops)[2:]:
        for other in list(loops)[:2]:
            pairs = zip(figures[name], figures[other], strict=True)
            figures[f"{name} minus {other}"] = [ours - theirs for ours, theirs in pairs]
    table(f"{game}, {args.envs} envs, horizon {args.horizon}, ns/step", figures)


if __name__ == "__main__":
    main()
