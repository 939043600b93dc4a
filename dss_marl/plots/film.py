"""Films from frames: GIF through Pillow, which comes with matplotlib, and MP4 through ffmpeg."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

KINDS = (".gif", ".mp4")


def check_film(path: Path) -> None:
    """Whether a film of this name can be written here; for before the first frame is drawn.

    Raises:
        ValueError: neither .gif nor .mp4.
        ImportError: an MP4 needs ffmpeg, and there is none.
    """
    if path.suffix.lower() not in KINDS:
        raise ValueError(f"a film ends in {' or '.join(KINDS)}; got {path.name!r}")
    if path.suffix.lower() == ".mp4":
        _ffmpeg()


def write_film(frames: Iterable[np.ndarray], path: Path, fps: float = 8.0) -> Path:
    """Write a film.

    Args:
        frames: (H, W, 3) uint8 each, all of one even size; taken one by one, so that a long film needs little memory.
        path: file to write, a .gif or an .mp4; its folder is made.
        fps: frames per second.

    Raises:
        ValueError: no frame, another ending, or ffmpeg refuses.
        ImportError: an MP4 needs ffmpeg, and there is none.
    """
    check_film(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError(f"{path.name!r} would have no frame")
    (_write_gif if path.suffix.lower() == ".gif" else _write_mp4)(first, remaining, path, fps)
    return path


def side_by_side(*frames: np.ndarray) -> np.ndarray:
    """(H, n W, 3): frames of one size from left to right."""
    return np.concatenate(frames, axis=1)


def _write_gif(first: np.ndarray, others: Iterator[np.ndarray], path: Path, fps: float) -> None:
    """All frames with the colours of the first, so that nothing flickers."""
    palette = Image.fromarray(first).quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
    images = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in itertools.chain([first], others)
    )
    next(images).save(path, save_all=True, append_images=images, duration=round(1000 / fps), loop=0, optimize=False)


def _write_mp4(first: np.ndarray, others: Iterator[np.ndarray], path: Path, fps: float) -> None:
    """Pixels into ffmpeg as they are; matplotlib's own writer would draw each figure once more."""
    height, width = first.shape[:2]
    command = [
        _ffmpeg(), "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}",
        "-r", f"{fps:g}", "-i", "-", "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", str(path),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        try:
            for frame in itertools.chain([first], others):
                process.stdin.write(np.ascontiguousarray(frame).tobytes())
            process.stdin.close()
        except BrokenPipeError:  # ffmpeg has given up; why is in its messages
            pass
        message = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise ValueError(f"ffmpeg wrote no film {path.name!r}: {message or f'it ended with {process.returncode}'}")


def _ffmpeg() -> str:
    """Path of ffmpeg: that of matplotlib's setting, or that of the package imageio-ffmpeg."""
    found = shutil.which(str(mpl.rcParams["animation.ffmpeg_path"]))
    if found is not None:
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        raise ImportError(
            "an MP4 needs ffmpeg: pip install imageio-ffmpeg, or install ffmpeg itself; a .gif needs neither"
        ) from None
    return str(imageio_ffmpeg.get_ffmpeg_exe())
