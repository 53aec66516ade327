"""Make the font of the drawings, pufferenv/drawing/font.bin, from DejaVu Sans Bold.

    python docs/make_font.py [DejaVuSans-Bold.ttf]

Needs Pillow. The glyphs of ASCII 32 to 126 are drawn large; each pixel of the atlas is then the
distance to the nearest point of the outline. pufferenv/drawing/font.py describes the file.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

EM = 48  # pixels of the atlas per em
REACH = 6  # pixels of the atlas, from the outline to the least and the greatest value
FINE = 16  # pixels of the large glyphs per pixel of the atlas
ATLAS_WIDTH = 512
FONT = Path("/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf")
OUTPUT = Path(__file__).parent.parent / "pufferenv" / "drawing" / "font.bin"


def outline(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Return x, y (points, 2) of the edges between pixels that are in a glyph and others."""
    y, x = np.nonzero(inside[:, 1:] != inside[:, :-1])
    v, u = np.nonzero(inside[1:] != inside[:-1])
    return np.concatenate([np.stack([x + 1, y + 0.5], 1), np.stack([u + 0.5, v + 1], 1)]).astype(
        np.float32
    )


def distances(font: ImageFont.FreeTypeFont, char: str) -> tuple[npt.NDArray[np.uint8], int, int]:
    """Return a glyph's distances (H, W), 128 on its outline, and left and top from the pen."""
    left, top, right, bottom = font.getbbox(char, anchor="ls")
    first_x, first_y = left // FINE - REACH, top // FINE - REACH
    width = -(-right // FINE) + REACH - first_x
    height = -(-bottom // FINE) + REACH - first_y
    large = Image.new("L", (int(width) * FINE, int(height) * FINE), 0)
    pen = (-first_x * FINE, -first_y * FINE)
    ImageDraw.Draw(large).text(pen, char, 255, font, anchor="ls")
    inside = np.asarray(large) >= 128
    points = outline(inside)
    values = np.zeros((int(height), int(width)), np.uint8)
    for j in range(values.shape[0]):
        y = (j + 0.5) * FINE
        for i in range(values.shape[1]):
            x = (i + 0.5) * FINE
            least = np.sqrt(np.min((points[:, 0] - x) ** 2 + (points[:, 1] - y) ** 2)) / FINE
            signed = least if inside[int(y), int(x)] else -least
            values[j, i] = np.clip(np.rint(128 + signed * 127 / REACH), 0, 255)
    return values, int(first_x), int(first_y)


def main() -> None:
    """Write the file, with glyphs on shelves of equal height."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("font", nargs="?", type=Path, default=FONT)
    font = ImageFont.truetype(str(parser.parse_args().font), EM * FINE)
    glyphs, shelves, x, y, shelf = b"", [], 0, 0, 0
    for char in map(chr, range(32, 127)):
        advance = font.getlength(char) / (EM * FINE)
        if char == " ":
            glyphs += struct.pack("<4i3f", 0, 0, 0, 0, 0, 0, advance)
            continue
        values, left, top = distances(font, char)
        height, width = values.shape
        if x + width > ATLAS_WIDTH:
            x, y, shelf = 0, y + shelf, 0
        shelf = max(shelf, height)
        glyphs += struct.pack("<4i3f", x, y, width, height, left / EM, top / EM, advance)
        shelves.append((x, y, values))
        x += width
    atlas = np.zeros((y + shelf, ATLAS_WIDTH), np.uint8)
    for at_x, at_y, values in shelves:
        atlas[at_y : at_y + values.shape[0], at_x : at_x + values.shape[1]] = values
    header = struct.pack("<2i2f", ATLAS_WIDTH, atlas.shape[0], EM, REACH)
    OUTPUT.write_bytes(zlib.compress(header + glyphs + atlas.tobytes(), 9))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes, atlas of {ATLAS_WIDTH} x {atlas.shape[0]}")


if __name__ == "__main__":
    main()
