"""GifEncoder: an animated GIF of few colours, written while its frames come in.

The format: "Graphics Interchange Format, Version 89a", CompuServe, 1990. Games draw flat shapes, so
one palette of 63 colours fits a whole clip, without dither (255 where there are shades). It is made
of the first frames, which are kept until there are PALETTE_FRAMES of them. A later frame with
colours that are too far from all of the palette gets a palette of its own, which the following
frames keep. Of each frame only the rectangle that changed is written, and in it only the pixels
that changed; the others are transparent. Pillow compresses (LZW).
Letters in shapes: H, W height and width in pixels, n pixels or colours.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]  # (H, W, 3)
Colours = npt.NDArray[np.uint8]  # (n, 3)

FEW_BITS, MANY_BITS = 6, 8  # of a palette, whose last index means a transparent pixel
FEW_COLOURS = 5000  # of frames for which FEW_BITS suffice
PALETTE_FRAMES = 24  # frames that are kept to make the first palette of
NEAR = 40  # the largest difference of a channel to the palette that a pixel may have ...
MOST_FAR = 1 / 1000  # ... but for this share of the pixels that changed
LEAST_DELAY = 2  # hundredths of a second; browsers show a frame of less for a tenth


class GifEncoder:
    """Encodes frames (H, W, 3) of RGB and hands the bytes to `write`."""

    def __init__(self, write: Callable[[bytes], Any], width: int, height: int, fps: float) -> None:
        self._write, self._size, self._fps = write, (width, height), fps
        self._kept: list[Frame] = []  # until the palette is made
        self._palette: Palette | None = None
        self._table = b""  # the local colour table that the next frames have; b"": the global one
        self._shown: Frame | None = None  # the last frame
        self._waiting: tuple[bytes, int] | None = None  # the last frame, and its transparent index
        self._count = 0  # frames added
        self._begun_at = 0  # hundredths of a second: when the last frame appeared

    def add(self, frame: Frame) -> None:
        """Append a frame; one that would be shown for less than LEAST_DELAY is left out."""
        if self._palette is not None:
            self._encode(frame)
            return
        self._kept.append(frame.copy())
        if len(self._kept) == PALETTE_FRAMES:
            self._begin()

    def close(self) -> None:
        """Write the last frame and the end of the file."""
        if self._palette is None and self._kept:
            self._begin()
        if self._waiting is not None:
            self._finish(max(LEAST_DELAY, self._time(self._count) - self._begun_at))
        if self._shown is not None:  # also after an interrupt between two frames
            self._write(b"\x3b")

    def _begin(self) -> None:
        """Make the palette and encode the frames that were kept."""
        palette = self._palette = Palette(self._kept)
        (width, height), bits = self._size, palette.bits
        self._write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF0 | bits - 1, 0, 0))
        self._write(palette.table)
        self._write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0")  # repeat for ever
        kept, self._kept = self._kept, []
        for frame in kept:
            self._encode(frame)

    def _encode(self, frame: Frame) -> None:
        assert self._palette is not None
        now = self._time(self._count)
        self._count += 1
        if self._shown is None:
            changed = np.ones(frame.shape[:2], bool)
        elif now - self._begun_at < LEAST_DELAY:
            return  # the frame before this one is still to be seen
        else:
            changed = _differs(frame, self._shown)
            if not changed.any():
                return  # the frame before this one stays
            self._finish(now - self._begun_at)
        self._begun_at = now
        rows, columns = (np.flatnonzero(changed.any(axis)) for axis in (1, 0))
        top, left = int(rows[0]), int(columns[0])
        part = np.s_[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        mask, pixels = changed[part], frame[part]
        new = pixels[mask]  # (n, 3)
        if self._shown is not None and self._palette.far(new) > max(8, MOST_FAR * new.size):
            self._palette = Palette([frame])
            self._table = self._palette.table
        index = np.full(mask.shape, self._palette.clear, np.uint8)
        index[mask] = self._palette.index(new)
        height, width = mask.shape
        flags = 0x80 | self._palette.bits - 1 if self._table else 0
        descriptor = b"\x2c" + struct.pack("<HHHHB", left, top, width, height, flags)
        self._waiting = descriptor + self._table + _compressed(index), self._palette.clear
        self._shown = frame.copy()

    def _finish(self, delay: int) -> None:
        """Write the waiting frame, now that it is known how long it is to be seen."""
        assert self._waiting is not None
        data, clear = self._waiting
        # Disposal 1: the next frame lies above this one. A delay has 16 bits.
        control = struct.pack("<BHB", 1 << 2 | 1, min(delay, 0xFFFF), clear)
        self._write(b"\x21\xf9\x04" + control + b"\0" + data)
        self._waiting = None

    def _time(self, frame: int) -> int:
        """Return when a frame appears, in hundredths of a second."""
        return round(100 * frame / self._fps)


class Palette:
    """At most 2^bits - 1 colours that stand for all colours of some frames."""

    bits: int
    clear: int  # the index of a transparent pixel, above those of the colours
    colours: Colours
    table: bytes  # as a GIF has it: 2^bits colours of 3 bytes

    def __init__(self, frames: Sequence[Frame]) -> None:
        codes, counts = _colours(frames)
        self.bits = FEW_BITS if len(codes) <= FEW_COLOURS else MANY_BITS
        self.clear = 2**self.bits - 1
        self.colours = _chosen(codes, counts, self.clear)
        padded = np.zeros((2**self.bits, 3), np.uint8)
        padded[: len(self.colours)] = self.colours
        self.table = padded.tobytes()
        # The index of every colour, found when the colour first occurs. `clear`: not yet.
        self._index = np.full(2**24, self.clear, np.uint8)

    def index(self, pixels: Colours) -> npt.NDArray[np.uint8]:
        """Map pixels (n, 3) to the indices (n,) of the nearest colours."""
        codes = _codes(pixels)
        index = self._index[codes]
        unknown = np.unique(codes[index == self.clear])
        if unknown.size:
            self._index[unknown] = self._nearest(_channels(unknown))
            index = self._index[codes]
        return index

    def _nearest(self, colours: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
        best = np.full(len(colours), 2**30, np.int32)
        index = np.zeros(len(colours), np.uint8)
        for i, own in enumerate(self.colours.astype(np.int32)):
            distance = ((colours - own) ** 2).sum(1, dtype=np.int32)
            closer = distance < best
            best[closer], index[closer] = distance[closer], i
        return index

    def far(self, pixels: Colours) -> int:
        """Return how many of the pixels (n, 3) have no colour that is near."""
        found = self.colours[self.index(pixels)].astype(np.int16)
        return int((np.abs(found - pixels) > NEAR).any(1).sum())


def _colours(frames: Sequence[Frame]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the colours of frames, (n,) 0xRRGGBB, and how often each occurs.

    Of all frames but the first, the pixels that differ from the frame before count.
    """
    parts = [_codes(frames[0].reshape(-1, 3))]
    for last, frame in pairwise(frames):
        parts.append(_codes(frame[_differs(frame, last)]))
    return np.unique(np.concatenate(parts), return_counts=True)


def _chosen(codes: npt.NDArray[np.int32], counts: npt.NDArray[np.int64], most: int) -> Colours:
    """Choose at most `most` of the colours `codes` (n,).

    The most frequent colour is the first. Each next one is the colour that would be shown worst by
    those before it: with the largest squared distance to them, times the square root of its count.
    """
    channels, weights = _channels(codes), np.sqrt(counts)
    chosen = [int(weights.argmax())]
    distance = np.full(len(codes), np.inf)
    while len(chosen) < min(most, len(codes)):
        others = ((channels - channels[chosen[-1]]) ** 2).sum(1)
        np.minimum(distance, others, out=distance)
        chosen.append(int((distance * weights).argmax()))
    return np.asarray(channels[chosen], np.uint8)


def _codes(pixels: Colours) -> npt.NDArray[np.int32]:
    """Return pixels (n, 3) as numbers (n,) 0xRRGGBB."""
    wide = pixels.astype(np.int32)
    return np.asarray(wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2])


def _channels(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return numbers (n,) 0xRRGGBB as channels (n, 3)."""
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], 1)


def _differs(frame: Frame, other: Frame) -> npt.NDArray[np.bool_]:
    """Return the pixels (H, W) that differ between two frames."""
    # A reduction over an axis of three is many times slower.
    differs = frame != other
    return np.asarray(differs[:, :, 0] | differs[:, :, 1] | differs[:, :, 2])


def _compressed(index: npt.NDArray[np.uint8]) -> bytes:
    """Return indices (H, W) as the LZW data of a GIF, with its code size and its end."""
    from PIL import GifImagePlugin, Image

    data = b"".join(GifImagePlugin.getdata(Image.fromarray(index)))
    return data[10:]  # after an image descriptor, which a part of a picture does not have
