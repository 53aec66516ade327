"""VideoWriter: frames into a GIF, WebP, MP4 or PNG file, one after the other.

A file is written under a temporary name in its folder and renamed when it is complete. What is
already written is never lost: a `with` block that ends by an exception or Ctrl-C leaves a complete
clip of the frames up to there. No display is needed. GIF and PNG need pillow, WebP and MP4 need av;
both come with the extra `render`.
Letters in shapes: H, W height and width of a frame in pixels.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pufferenv.drawing.gif import GifEncoder

Frame = npt.NDArray[np.uint8]  # (H, W, 3)

MOST_FPS = 240
CRF = 20  # of x264: quality, 0 (lossless) to 51


class VideoError(OSError):
    """A video file cannot be written; the message names it and the reason."""


class Encoder(Protocol):
    """Writes the frames of one kind of file."""

    def add(self, frame: Frame) -> None:
        """Append a frame (H, W, 3)."""

    def close(self) -> None:
        """Complete the file."""


class VideoWriter:
    """Writes frames (H, W, 3) of RGB to `path`, whose suffix is one of ENCODERS.

    fps: frames per second; a GIF counts in 1/100 s and shows a frame for 2/100 at least, so that
        from 50 fps on it leaves frames out; it lasts as long as it should.
    A .png holds one picture, the frame that was added last.

    A context manager. At its end the file appears under its name, in place of an older one; without
    a frame there is no file. Raises ValueError for an unknown suffix, an impossible size or rate
    and frames of another shape, ImportError for a missing package, and VideoError for a file that
    cannot be written, of which nothing is left.
    """

    path: Path
    width: int  # pixels
    height: int
    fps: float
    frames: int  # added so far
    complete = False  # the file is there, under its name

    def __init__(self, path: str | os.PathLike[str], width: int, height: int, fps: float) -> None:
        self.path = Path(path)
        make = _encoder_class(self.path)
        if not (isinstance(fps, (int, float)) and 0 < fps <= MOST_FPS):
            raise ValueError(f"fps={fps!r} is outside (0, {MOST_FPS}]: frames per second")
        if width < 1 or height < 1:
            raise ValueError(f"a video of {width} x {height} pixels has no pixel")
        self.width, self.height, self.fps, self.frames = width, height, fps, 0
        check_path(self.path)
        self._part = self.path.with_name(f".{self.path.name}.part")
        self._encoder: Encoder | None = None
        with self._explained():
            self._encoder = make(self._part, width, height, fps)

    def add(self, frame: Frame) -> None:
        """Append a frame, uint8 (H, W, 3)."""
        shape = (self.height, self.width, 3)
        if not isinstance(frame, np.ndarray) or frame.shape != shape or frame.dtype != np.uint8:
            given = getattr(frame, "shape", type(frame).__name__), getattr(frame, "dtype", "")
            raise ValueError(
                f"a frame of {self.path} is {given[1]} {given[0]}; it must be uint8 {shape}"
            )
        if self._encoder is None:
            raise ValueError(f"{self.path} is closed: no frame can be added")
        with self._explained(keep=True):
            self._encoder.add(np.ascontiguousarray(frame))
        self.frames += 1

    def close(self) -> None:
        """Complete the file and give it its name. A second call does nothing."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            return
        with self._explained():
            encoder.close()
            if self.frames:
                os.replace(self._part, self.path)
                self.complete = True
            else:
                self._part.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _explained(self, *, keep: bool = False) -> Iterator[None]:
        """Turn an error of the disk or of an encoder into a VideoError; remove what was written.

        keep: not after Ctrl-C, so that the file can be completed.
        """
        try:
            yield
        except BaseException as error:
            if keep and not isinstance(error, Exception):
                raise
            encoder, self._encoder = self._encoder, None
            if encoder is not None:
                with contextlib.suppress(Exception):
                    encoder.close()
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            if isinstance(error, ImportError) or not isinstance(error, Exception):
                raise
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise VideoError(f"{self.path} cannot be written: {why}") from error


class Gif:
    """An animated GIF that repeats for ever; gif.py has the format."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        _import("PIL", "pillow", path)
        self._file = path.open("wb")
        self._encoder = GifEncoder(self._file.write, width, height, fps)

    def add(self, frame: Frame) -> None:
        """Append a frame."""
        self._encoder.add(frame)

    def close(self) -> None:
        """Complete the file."""
        try:
            self._encoder.close()
        finally:
            self._file.close()


class Picture:
    """A PNG of the frame that was added last."""

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self._pillow = _import("PIL.Image", "pillow", path)
        self._file, self._last = path.open("wb"), np.empty(0, np.uint8)

    def add(self, frame: Frame) -> None:
        """Keep a frame."""
        self._last = frame.copy()

    def close(self) -> None:
        """Write the last frame."""
        with self._file:
            if self._last.size:
                self._pillow.fromarray(self._last).save(self._file, "PNG", optimize=True)


class Stream:
    """A video stream, encoded by FFmpeg's libraries through PyAV."""

    container: str  # FFmpeg's name of the format
    codec: str
    pixels: str  # FFmpeg's name of the format of pixels
    container_options: dict[str, str]
    codec_options: dict[str, str]

    def __init__(self, path: Path, width: int, height: int, fps: float) -> None:
        self._av = _import("av", "av", path)
        rate = Fraction(fps).limit_denominator(1001)
        self._out = self._av.open(
            str(path), "w", format=self.container, options=self.container_options
        )
        try:
            stream = self._stream = self._out.add_stream(
                self.codec, rate=rate, options=self.codec_options
            )
        except BaseException:
            self._out.close()
            raise
        self._sides(width, height)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, self.pixels
        stream.codec_context.time_base = self._time_base = 1 / rate
        self._count = 0

    def _sides(self, width: int, height: int) -> None:
        self._width, self._height = width, height

    def add(self, frame: Frame) -> None:
        """Append a frame."""
        down, across = self._height - frame.shape[0], self._width - frame.shape[1]
        if down or across:
            frame = np.pad(frame, ((0, down), (0, across), (0, 0)), mode="edge")
        picture = self._converted(self._av.VideoFrame.from_ndarray(frame, format="rgb24"))
        picture.pts, picture.time_base = self._count, self._time_base
        self._count += 1
        self._out.mux(self._stream.encode(picture))

    def _converted(self, picture: Any) -> Any:
        return picture.reformat(format=self.pixels)

    def close(self) -> None:
        """Encode what the codec still holds and complete the file."""
        try:
            if self._count:
                self._out.mux(self._stream.encode(None))
        finally:
            self._out.close()


class Mp4(Stream):
    """H.264 that every browser plays: 4:2:0, even sides, and the index at the file's beginning.

    A side that is odd is one pixel longer: the last row or column is repeated.
    """

    container, codec, pixels = "mp4", "libx264", "yuv420p"
    container_options = {"movflags": "+faststart"}  # noqa: RUF012
    codec_options = {"crf": str(CRF), "preset": "medium"}  # noqa: RUF012

    def _sides(self, width: int, height: int) -> None:
        self._width, self._height = width + width % 2, height + height % 2
        context = self._stream.codec_context
        # ITU-R BT.709, which players assume for large videos only, so that the file names it.
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1  # 16 to 235

    def _converted(self, picture: Any) -> Any:
        return picture.reformat(format=self.pixels, dst_colorspace="ITU709", dst_color_range="MPEG")


class WebP(Stream):
    """An animated WebP that repeats for ever, without loss: flat shapes take no more room so."""

    container, codec, pixels = "webp", "libwebp_anim", "bgra"
    container_options = {"loop": "0"}  # noqa: RUF012
    codec_options = {"lossless": "1", "quality": "50", "compression_level": "2"}  # noqa: RUF012


ENCODERS: dict[str, Callable[[Path, int, int, float], Encoder]] = {
    ".gif": Gif,
    ".webp": WebP,
    ".mp4": Mp4,
    ".png": Picture,
}


def suffixes() -> str:
    """Return the suffixes of the files that can be written, for messages."""
    return ", ".join(ENCODERS)


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file that cannot be made: its suffix, its folder or its package."""
    path = Path(path)
    _encoder_class(path)
    _import(*PACKAGES[path.suffix.lower()], path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise ValueError(f"{path} cannot be written: there is no folder {path.parent}")


PACKAGES = {".gif": ("PIL", "pillow"), ".png": ("PIL", "pillow"), ".webp": ("av", "av")}
PACKAGES[".mp4"] = PACKAGES[".webp"]


def _encoder_class(path: Path) -> Callable[[Path, int, int, float], Encoder]:
    found = ENCODERS.get(path.suffix.lower())
    if found is None:
        given = f"the suffix {path.suffix}" if path.suffix else "no suffix"
        raise ValueError(f"{path} has {given}: the name of a video must end in {suffixes()}")
    return found


def _import(module: str, package: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{path} needs {package}, which is not installed ({error}): run "
            "`pip install 'pufferenv[render]'`"
        ) from None
