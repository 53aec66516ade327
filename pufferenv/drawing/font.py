"""Reads the font of all drawings, font.bin.

docs/make_font.py makes it from DejaVu Sans Bold, whose licence is in FONT_LICENSE.txt. Compressed
with zlib, in little-endian order: width and height of the atlas (int32), pixels per em and reach
(float32), 95 records of GLYPH, and the atlas (height, width) of distances (uint8). raster.h
describes them.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

GLYPH = np.dtype(
    [(name, "<i4") for name in ("x", "y", "width", "height")]
    + [(name, "<f4") for name in ("left", "top", "advance")]
)
HEADER = np.dtype([("width", "<i4"), ("height", "<i4"), ("em", "<f4"), ("reach", "<f4")])
GLYPHS = 95  # ASCII 32 to 126


class Font(NamedTuple):
    """Glyphs of ASCII 32 to 126 as signed distances, 128 on the outline and above it inside."""

    em: float  # pixels of the atlas per em
    reach: float  # pixels of the atlas from the outline to the greatest distance
    glyphs: npt.NDArray[np.void]  # (95,) of GLYPH
    distances: npt.NDArray[np.uint8]  # (height, width)


def read_font() -> Font:
    """Read the font that is installed with this package."""
    data = zlib.decompress(Path(__file__).with_name("font.bin").read_bytes())
    header = np.frombuffer(data, HEADER, 1)[0]
    glyphs = np.frombuffer(data, GLYPH, GLYPHS, HEADER.itemsize)
    atlas = np.frombuffer(data, np.uint8, offset=HEADER.itemsize + glyphs.nbytes)
    shape = int(header["height"]), int(header["width"])
    return Font(float(header["em"]), float(header["reach"]), glyphs, atlas.reshape(shape))
