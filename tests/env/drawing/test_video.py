"""VideoWriter: the frames, sizes and times that are read back, interrupts, and what is refused."""

import sys

import av
import numpy as np
import pytest
from PIL import Image

from pufferenv.drawing import gif, video
from pufferenv.drawing.gif import GifEncoder, Palette
from pufferenv.drawing.video import VideoError, VideoWriter

NIGHT, RED, YELLOW = (11, 16, 32), (255, 93, 108), (255, 212, 92)
FPS = 15
SUFFIXES = list(video.ENCODERS)


def moving_square(count, width=64, height=40):
    """Return frames in which a yellow square moves by two pixels per frame."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = NIGHT
    frames[:, :10] = RED
    for i, frame in enumerate(frames):
        x = 2 * i % (width - 16)
        frame[20:36, x : x + 16] = YELLOW
    return frames


def write(path, frames, fps=FPS):
    with VideoWriter(path, frames.shape[2], frames.shape[1], fps) as writer:
        for frame in frames:
            writer.add(frame)
    return path


def read(path):
    """Return the frames (n, H, W, 3) of a file and the seconds that each is shown."""
    if path.suffix == ".mp4":
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            found = list(file.decode(stream))
            times = [float(frame.pts * stream.time_base) for frame in found]
            times.append(float((stream.start_time + stream.duration) * stream.time_base))
            images = np.stack([frame.to_ndarray(format="rgb24") for frame in found])
        return images, np.diff(times)
    images, delays = [], []
    with Image.open(path) as file:
        for i in range(getattr(file, "n_frames", 1)):
            file.seek(i)
            images.append(np.asarray(file.convert("RGB")))
            delays.append(file.info.get("duration", 0) / 1000)
    return np.stack(images), np.array(delays)


@pytest.mark.parametrize(
    ("suffix", "most", "mean"), [(".gif", 0, 0), (".webp", 0, 0), (".mp4", 40, 4)]
)
def test_every_frame_is_read_back_in_its_place_at_its_time(suffix, most, mean, tmp_path):
    frames = moving_square(40)
    found, delays = read(write(tmp_path / f"x{suffix}", frames))
    assert found.shape == frames.shape
    difference = abs(found.astype(int) - frames)
    assert difference.max() <= most and difference.mean(axis=(1, 2, 3)).max() <= mean
    assert abs(delays - 1 / FPS).max() <= 0.01
    assert sum(delays) == pytest.approx(len(frames) / FPS, abs=0.006)


def test_a_picture_is_the_last_frame(tmp_path):
    frames = moving_square(5)
    found, _ = read(write(tmp_path / "x.png", frames))
    assert np.array_equal(found, frames[-1:])


def test_a_gif_and_a_webp_repeat_for_ever(tmp_path):
    for name in ("x.gif", "x.webp"):
        with Image.open(write(tmp_path / name, moving_square(3))) as file:
            assert file.info["loop"] == 0


def test_an_mp4_can_be_played_from_its_beginning_and_names_its_colours(tmp_path):
    content = write(tmp_path / "x.mp4", moving_square(5)).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(tmp_path / "x.mp4")) as file:
        context = file.streams.video[0].codec_context
        assert (context.name, context.pix_fmt, context.colorspace) == ("h264", "yuv420p", 1)


def test_odd_sides_are_padded_in_an_mp4_only(tmp_path):
    frames = moving_square(3, 63, 41)
    mp4, _ = read(write(tmp_path / "x.mp4", frames))
    assert mp4.shape == (3, 42, 64, 3)
    assert abs(mp4[:, :41, :63].astype(int) - frames).mean() < 5
    assert np.abs(mp4[:, 41].astype(int) - mp4[:, 40]).mean() < 2  # the last row once more
    for name in ("x.gif", "x.webp", "x.png"):
        assert read(write(tmp_path / name, frames))[0].shape[1:] == (41, 63, 3)


def test_a_rate_may_be_a_fraction(tmp_path):
    for name in ("x.gif", "x.webp", "x.mp4"):
        _, delays = read(write(tmp_path / name, moving_square(25), fps=12.5))
        assert sum(delays) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("fps", [60, 100, 240])
def test_a_gif_leaves_out_what_browsers_would_slow_down(fps, tmp_path):
    frames = moving_square(2 * fps, 400)
    found, delays = read(write(tmp_path / "x.gif", frames, fps))
    assert delays.min() >= 0.02
    assert sum(delays) == pytest.approx(2, abs=0.021)
    assert 40 <= len(found) / 2 <= 51
    assert np.array_equal(found[0], frames[0])


# --- the palette ---------------------------------------------------------------------------------


def test_frames_that_are_equal_become_one_that_is_shown_for_longer(tmp_path):
    frames = moving_square(2).repeat(30, 0)
    found, delays = read(write(tmp_path / "x.gif", frames))
    assert np.array_equal(found, frames[[0, 30]])
    assert delays.tolist() == [2, 2]


def test_flat_colours_are_exact_among_many_shades(tmp_path):
    frames = moving_square(30)
    shades = np.random.default_rng(1).integers(0, 256, (30, 4, 20, 3), dtype=np.uint8)
    frames[:, :4, :20] = shades
    found, _ = read(write(tmp_path / "x.gif", frames))
    assert np.array_equal(found[:, 10:], frames[:, 10:])


def test_colours_that_appear_late_get_a_palette_of_their_own(tmp_path):
    frames = moving_square(60)
    frames[50:, 12:18] = (0, 255, 0)  # no earlier frame has anything green
    found, _ = read(write(tmp_path / "x.gif", frames))
    assert np.array_equal(found, frames)


def test_a_palette_has_the_most_frequent_colours_and_those_that_are_far_from_them():
    frame = np.zeros((100, 100, 3), np.uint8)
    frame[:10] = np.arange(100)[None, :, None]  # 100 shades of grey
    frame[99, 99] = (255, 0, 0)  # one pixel
    palette = Palette([frame])
    assert palette.bits == 6 and palette.clear == 63
    assert palette.colours[0].tolist() == [0, 0, 0]
    assert [255, 0, 0] in palette.colours.tolist()
    shown = palette.colours[palette.index(frame.reshape(-1, 3))].reshape(frame.shape)
    assert abs(shown.astype(int) - frame).max() <= 2


def test_a_picture_of_many_shades_gets_more_colours():
    frame = np.random.default_rng(1).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    palette = Palette([frame])
    assert (palette.bits, len(palette.colours), len(palette.table)) == (8, 255, 768)


def test_a_long_still_stays_within_the_16_bits_of_a_delay():
    data = bytearray()
    encoder = GifEncoder(data.extend, 4, 4, 1 / 700)
    encoder.add(np.zeros((4, 4, 3), np.uint8))
    encoder.close()
    assert data[:6] == b"GIF89a" and data[-1:] == b"\x3b"
    at = data.index(b"\x21\xf9\x04") + 4
    assert int.from_bytes(data[at : at + 2], "little") == 0xFFFF


# --- interrupts and errors -----------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_early_is_a_complete_clip_up_to_there(suffix, error, tmp_path):
    frames, path = moving_square(30), tmp_path / f"x{suffix}"
    with pytest.raises(error), VideoWriter(path, 64, 40, FPS) as writer:
        for frame in frames:
            writer.add(frame)
        assert not path.exists()
        raise error
    found, _ = read(path)
    assert len(found) == (1 if suffix == ".png" else len(frames))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupt_in_the_encoder_loses_no_frame_before_it(suffix, tmp_path, monkeypatch):
    frames, path = moving_square(30), tmp_path / f"x{suffix}"
    with pytest.raises(KeyboardInterrupt), VideoWriter(path, 64, 40, FPS) as writer:
        for frame in frames:
            writer.add(frame)
        kind = type(writer._encoder)

        def interrupted(self, frame):
            raise KeyboardInterrupt

        monkeypatch.setattr(kind, "add", interrupted)
        writer.add(frames[0])
    assert len(read(path)[0]) == (1 if suffix == ".png" else len(frames))


def test_a_gif_has_its_end_after_an_interrupt_between_two_frames(tmp_path, monkeypatch):
    def interrupted(index):
        raise KeyboardInterrupt

    frames = moving_square(30)
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "x.gif", 64, 40, FPS) as writer:
        for frame in frames[:29]:
            writer.add(frame)
        monkeypatch.setattr(gif, "_compressed", interrupted)
        writer.add(frames[29])
    assert (tmp_path / "x.gif").read_bytes()[-1:] == b"\x3b"
    assert len(read(tmp_path / "x.gif")[0]) == 29


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_a_frame_there_is_no_file(suffix, tmp_path):
    with VideoWriter(tmp_path / f"x{suffix}", 64, 40, FPS) as writer:
        pass
    writer.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="is closed: no frame can be added"):
        writer.add(moving_square(1)[0])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_older_file_stays_until_the_new_one_is_complete(suffix, tmp_path):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"old")
    with VideoWriter(path, 64, 40, FPS) as writer:
        writer.add(moving_square(1)[0])
        assert path.read_bytes() == b"old"
    assert len(read(path)[0]) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_is_named_and_nothing_is_left(suffix, tmp_path, monkeypatch):
    kind, path = video.ENCODERS[suffix], tmp_path / f"x{suffix}"

    def full(self):
        raise OSError(28, "No space left on device")

    with (
        pytest.raises(VideoError, match=r"x\.\w+ cannot be written: No space left"),
        VideoWriter(path, 64, 40, FPS) as writer,
    ):
        writer.add(moving_square(1)[0])
        monkeypatch.setattr(kind, "close", full)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x.avi", r"x\.avi has the suffix \.avi: .* must end in \.gif, \.webp, \.mp4, \.png"),
        ("x", r"x has no suffix: "),
        ("none/x.gif", r"there is no folder .*none"),
        ("folder.gif", r"folder\.gif is a folder"),
    ],
)
def test_files_that_cannot_be_made_are_refused_at_once(name, message, tmp_path):
    (tmp_path / "folder.gif").mkdir()
    with pytest.raises(ValueError, match=message):
        VideoWriter(tmp_path / name, 64, 40, FPS)
    with pytest.raises(ValueError, match=message):
        video.check_path(tmp_path / name)


@pytest.mark.parametrize("fps", [0, -1, 241, float("nan"), "15"])
def test_rates_that_no_file_has_are_refused(fps, tmp_path):
    with pytest.raises(ValueError, match=r"fps=.* is outside \(0, 240\]"):
        VideoWriter(tmp_path / "x.gif", 64, 40, fps)


def test_frames_of_another_size_or_dtype_are_refused(tmp_path):
    with VideoWriter(tmp_path / "x.gif", 64, 40, FPS) as writer:
        for frame in (np.zeros((40, 63, 3), np.uint8), np.zeros((40, 64, 3)), [1, 2]):
            with pytest.raises(ValueError, match=r"it must be uint8 \(40, 64, 3\)"):
                writer.add(frame)
    with pytest.raises(ValueError, match="0 x 40 pixels"):
        VideoWriter(tmp_path / "x.gif", 0, 40, FPS)


@pytest.mark.parametrize(("suffix", "module"), list(video.PACKAGES.items()))
def test_a_missing_package_is_named_with_its_extra(suffix, module, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, module[0], None)
    with pytest.raises(
        ImportError, match=rf"needs {module[1]}.* `pip install 'pufferenv\[render\]'`"
    ):
        VideoWriter(tmp_path / f"x{suffix}", 64, 40, FPS)
    assert list(tmp_path.iterdir()) == []
