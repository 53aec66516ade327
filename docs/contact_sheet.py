"""Draw docs/contact_sheet.png: every game at two sizes, and as one of its agents sees it.

    python docs/contact_sheet.py [--output docs/contact_sheet.png]

Needs Pillow (pip install 'pufferenv[render]'). The games are played by the scripts below, which
act on observations alone, so that the sheet is the same whenever the drawings are.

Letters in shapes: A agents, H, W height and width of a picture in pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

import pufferenv
from pufferenv import games
from pufferenv.drawing.caption import caption
from pufferenv.drawing.renderer import Renderer

WIDTH = 600  # of a picture at 1x, in pixels
SIDE = 168  # of an agent's view, and of the small grey picture, which is shown at twice its size
GAP, CAPTION = 8, 24  # pixels
OUTPUT = Path(__file__).parent / "contact_sheet.png"

Picture = npt.NDArray[np.uint8]  # (H, W, 3)
Script = Callable[[pufferenv.PufferVectorEnv, npt.NDArray[Any], int], Any]


# --- scripts: env, observations (A, ...), step -> actions -----------------------------------------


def go_to_target(_env: Any, obs: npt.NDArray[Any], _step: int) -> npt.NDArray[Any]:
    """squared: the row first, then the column."""
    (row, column), (y, x) = (np.argwhere(obs[0] == value)[0] for value in (1, 2))
    return np.array([1 if y > row else 2 if y < row else 3 if x > column else 4], np.int32)


def balance(_env: Any, obs: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """cartpole: push to the side to which the pole falls, while the cart wanders."""
    x, x_dot, theta, theta_dot = obs[0]
    wanted = 1.2 * np.sin(step / 60)
    return np.array([0.05 * (x - wanted) + 0.1 * x_dot + theta + 0.3 * theta_dot > 0], np.int32)


def return_ball(_env: Any, obs: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """breakout: meet the ball with all parts of the paddle in turn."""
    away = obs[0, 5] + 0.15 * np.sin(step / 17)
    return np.array([0 if abs(away) < 0.05 else 1 if away < 0 else 2], np.int32)


def eat(env: pufferenv.PufferVectorEnv, obs: npt.NDArray[Any], _step: int) -> npt.NDArray[Any]:
    """snake: go where there is space, and food is near."""
    turns = np.zeros(len(obs), np.int32)
    for a in np.flatnonzero(env.alive):
        window = obs[a]
        food = np.argwhere(window == 2)

        def worth(turn: int, window: Any = window, food: Any = food) -> float:
            y, x = ((4, 5), (5, 4), (5, 6))[turn]  # straight on, left, right
            if window[y, x] < 0:
                return -np.inf
            near = min(np.abs(food - (y, x)).sum(1), default=12)
            rivals = sum(
                window[at] == -2 and at != (5, 5)
                for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1))
            )
            return float(3 * space(window, (y, x)) - near - 40 * rivals + 0.5 * (turn == 0))

        turns[a] = max(range(3), key=worth)
    return turns


def space(window: npt.NDArray[Any], start: tuple[int, int], most: int = 30) -> int:
    """Count the free cells that can be reached from a free one, up to `most`."""
    reached, todo = {start}, [start]
    while todo and len(reached) < most:
        y, x = todo.pop()
        for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if at not in reached and min(at) >= 0 and max(at) < len(window) and window[at] >= 0:
                reached.add(at)
                todo.append(at)
    return min(most, len(reached))


def compass(direction: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Return the moves (A,) of tag and royale that are nearest to directions (A, 2)."""
    eighths = np.arctan2(direction[:, 1], direction[:, 0]) / (np.pi / 4)
    return np.asarray(1 + np.rint(eighths) % 8, np.int32)


def hunt_or_flee(_env: Any, obs: npt.NDArray[Any], _step: int) -> npt.NDArray[Any]:
    """tag: hunters go to the nearest prey, prey goes away from the nearest hunter."""
    return compass(obs[:, 4:6] * obs[:, :1] - (obs[:, :1] < 0) * 0.3 * obs[:, 1:3])


def fight(env: pufferenv.PufferVectorEnv, obs: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
    """royale: go to the nearest player and attack; an agent that sees nobody goes to the middle."""
    assert env.action_masks is not None
    other = obs[:, 11:15]
    seen = other[:, 2:3] > 0
    move = compass(np.where(seen, other[:, :2], -obs[:, 3:5]))
    near = other[:, 2] > 0.7
    legal = env.action_masks[:, 9:]
    attack = np.where(near & legal[:, 1], 1, np.where(seen[:, 0] & legal[:, 2], 2, 0))
    return np.stack([move, attack], 1).astype(np.int32)


def at_random(env: pufferenv.PufferVectorEnv, _obs: Any, step: int) -> Any:
    """Any other game."""
    if step == 0:
        env.action_space.seed(0)
    return env.action_space.sample()


class Scene(NamedTuple):
    """How a game is played before it is drawn, and what of it is shown at 2x.

    at: place of the part that is shown at 2x: (0, 0) is the top left of the picture, (1, 1) the
        bottom right.
    """

    script: Script = at_random
    steps: int = 20
    seed: int = 1
    at: tuple[float, float] = (0, 0)
    config: Mapping[str, float] | None = None


SCENES = {
    "breakout": Scene(return_ball, 1000, 2, (0, 0.25)),
    "cartpole": Scene(balance, 140, 1, (0.6, 0.75)),
    "memory": Scene(steps=0, seed=1, at=(0.5, 0.95)),
    "probe": Scene(steps=20, config={"die": 0.2, "spawn": 0.3}),
    "royale": Scene(fight, 25, 3, (0.5, 0.25)),
    "snake": Scene(eat, 400, 2, (0.5, 0.5)),
    "squared": Scene(go_to_target, 4, 6, (1, 0.4)),
    "tag": Scene(hunt_or_flee, 45, 1, (1, 0.95)),
}


# --- the sheet ------------------------------------------------------------------------------------


def card(name: str) -> Picture:
    """Play a game and return its part of the sheet: 1x, a part of 2x, and what an agent sees."""
    scene = SCENES.get(name, Scene())
    env = pufferenv.make(name, 1, seed=scene.seed, config=scene.config)
    obs, _ = env.reset()
    for step in range(scene.steps):
        obs = env.step(scene.script(env, obs, step))[0]
    drawing, packed = games.drawing(env.game), env.game_spec.packed
    agent = [int(np.argmax(env.alive))]
    once, twice = (
        Renderer(drawing, packed, scale * WIDTH).frames(env._engine, [0])[0] for scale in (1, 2)
    )
    seen = np.empty((1, SIDE, SIDE, 3), np.uint8)
    drawing.render(env._engine, [0], packed, seen, agent)
    grey = np.empty((1, SIDE // 2, SIDE // 2, 1), np.uint8)
    drawing.render(env._engine, [0], packed, grey, agent)
    small = grey[0].repeat(2, 0).repeat(2, 1).repeat(3, 2)

    height, column = len(once), 2 * SIDE + GAP
    whole = canvas(height, WIDTH + GAP + column)
    whole[:, :WIDTH] = once
    whole[:SIDE, WIDTH + GAP : WIDTH + GAP + SIDE] = seen[0]
    whole[:SIDE, WIDTH + 2 * GAP + SIDE :] = small
    rest = height - SIDE - GAP
    top, left = (
        round(share * (size - part))
        for share, size, part in zip(scene.at[::-1], twice.shape, (rest, column), strict=False)
    )
    whole[SIDE + GAP :, WIDTH + GAP :] = twice[top : top + rest, left : left + column]
    return titled(f"{name}: {env.game.doc}", whole)


def canvas(height: int, width: int) -> Picture:
    """Return an empty part of the sheet, whose colour lets the pictures' edges be seen."""
    return np.full((height, width, 3), 0x40, np.uint8)


def titled(title: str, picture: Picture) -> Picture:
    """Write a line above a picture."""
    line = np.empty((CAPTION, picture.shape[1], 3), np.uint8)
    caption(title, line)
    return np.concatenate([line, picture])


def sheet(cards: list[Picture]) -> Picture:
    """Put cards into two columns, each into the one that is shorter so far."""
    columns: list[list[Picture]] = [[], []]
    for one in sorted(cards, key=len, reverse=True):
        min(columns, key=lambda column: sum(map(len, column))).append(one)
    width = cards[0].shape[1]
    height = max(sum(len(one) + GAP for one in column) for column in columns) - GAP
    whole = canvas(height, 2 * width + GAP)
    for left, column in zip((0, width + GAP), columns, strict=True):
        top = 0
        for one in column:
            whole[top : top + len(one), left : left + width] = one
            top += len(one) + GAP
    return whole


def main() -> None:
    """Play all games that draw, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=OUTPUT)
    given = parser.parse_args()
    whole = sheet([card(name) for name in games.names() if games.load(name).draws])
    image = Image.fromarray(whole).quantize(128, dither=Image.Dither.NONE)
    image.save(given.output, optimize=True)
    print(f"{given.output}: {image.width} x {image.height}, {given.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
