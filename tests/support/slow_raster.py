"""A readable rasterizer: each pixel is the mean of SAMPLES x SAMPLES points. Shapes, no text."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from pufferenv.drawing._drawing import DisplayList
from tests.support.display_lists import DISC, END, FILL, LINE, NIGHT, RECT, RING

SAMPLES = 16

Floats = npt.NDArray[np.float64]


def raster(shown: DisplayList, width: int, height: int) -> Floats:
    """Return the picture of a list (H, W, 3) of float64, 0 to 255."""
    image = np.tile(_rgb(NIGHT), (height, width, 1))
    x0, y0, view_width, view_height = shown.view
    scale = min(width / view_width, height / view_height)
    left = np.floor((width - view_width * scale) / 2 + 0.5)
    top = np.floor((height - view_height * scale) / 2 + 0.5)
    grid = (np.arange(SAMPLES) + 0.5) / SAMPLES
    px = (np.arange(width)[:, None] + grid).ravel()
    py = (np.arange(height)[:, None] + grid).ravel()
    x, y = np.meshgrid((px - left) / scale + x0, (py - top) / scale + y0)
    seen = (px >= left) & (px < left + np.ceil(view_width * scale - 0.01))
    rows = (py >= top) & (py < top + np.ceil(view_height * scale - 0.01))
    i, words = 0, shown.words
    while words[i] & 255 != END:
        size, colour = int(words[i] >> 8), int(words[i + 1])
        args = words[i + 2 : i + size].view(np.float32).astype(np.float64)
        if (inside := _inside(int(words[i] & 255), args, x, y)) is not None:
            inside = inside & seen & rows[:, None]
            cover = inside.reshape(height, SAMPLES, width, SAMPLES).mean((1, 3))
            weight = cover[:, :, None] * (colour & 255) / 255
            image += (_rgb(colour) - image) * weight
        i += size
    return image


def _rgb(colour: int) -> Floats:
    return np.array([colour >> 24, colour >> 16 & 255, colour >> 8 & 255], np.float64)


def _inside(op: int, args: Floats, x: Floats, y: Floats) -> npt.NDArray[np.bool_] | None:
    """Return which points a shape covers; None: the command is not a shape."""
    if op == RECT:
        left, top, width, height, radius = args
        radius = min(radius, width / 2, height / 2)
        dx = np.abs(x - left - width / 2) - (width / 2 - radius)
        dy = np.abs(y - top - height / 2) - (height / 2 - radius)
        corner = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) <= radius
        return corner & (np.maximum(dx, dy) <= radius)
    if op == DISC:
        return np.hypot(x - args[0], y - args[1]) <= args[2]
    if op == RING:
        distance = np.hypot(x - args[0], y - args[1])
        return (distance >= args[2]) & (distance <= args[2] + args[3])
    if op == LINE:
        points = args[1:].reshape(-1, 2)
        inside = np.hypot(x - points[0, 0], y - points[0, 1]) <= args[0] / 2
        for (ax, ay), (bx, by) in itertools.pairwise(points):
            square = max((bx - ax) ** 2 + (by - ay) ** 2, 1e-30)
            at = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square, 0, 1)
            near = np.hypot(x - ax - at * (bx - ax), y - ay - at * (by - ay)) <= args[0] / 2
            inside |= near
        return inside
    if op == FILL:
        points = args.reshape(-1, 2)
        winding = np.zeros(x.shape)
        for (ax, ay), (bx, by) in zip(points, np.roll(points, -1, 0), strict=True):
            if ay == by:
                continue
            right = ax + (y - ay) * (bx - ax) / (by - ay) <= x
            crossed = (np.minimum(ay, by) <= y) & (y < np.maximum(ay, by))
            winding += np.sign(by - ay) * (right & crossed)
        return winding != 0
    return None
