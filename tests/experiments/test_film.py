"""Films: as many frames as intervals and one, controllers side by side, and errors that name the cure."""

import os
import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image
from typer.testing import CliRunner

import dss_marl
from dss_marl.cli.app import app
from dss_marl.experiments.film import record_film
from dss_marl.plots import film

SCENARIO = dss_marl.load_scenario("ieee13_volt_var").replace(steps=3)


def grey(*levels):
    """Frames of one level each, over a row of all of them, as a film takes its colours from the first frame."""
    frames = [np.full((8, 12, 3), level, np.uint8) for level in levels]
    for frame in frames:
        frame[0, : len(levels)] = np.array(levels)[:, None]
    return frames


def test_a_gif_has_every_frame_in_its_colour(tmp_path):
    path = film.write_film(grey(10, 120, 250), tmp_path / "folder" / "day.gif", fps=5)
    with Image.open(path) as image:
        assert (image.n_frames, image.size, image.info["duration"]) == (3, (12, 8), 200)
        shown = []
        for k in range(3):
            image.seek(k)
            shown.append(image.convert("RGB").getpixel((6, 6))[0])
    assert shown == [10, 120, 250]


def test_two_controllers_play_the_same_day_side_by_side(tmp_path):
    played = []

    def watch(frames, count):
        assert count == 4
        for frame in frames:
            played.append(frame)
            yield frame

    path = record_film(SCENARIO, tmp_path / "day.gif", ["no_control", "random"], 170, progress=watch)
    with Image.open(path) as image:
        assert (image.n_frames, image.size) == (4, (2400, 800))
    assert len(played) == 4
    below = slice(60, 640)  # the titles name the controllers
    left, right = played[0][below, :1200], played[0][below, 1200:]
    np.testing.assert_array_equal(left, right)  # before they act
    assert (played[-1][below, :1200] != played[-1][below, 1200:]).any()


def test_an_mp4_goes_through_ffmpeg_as_raw_pixels(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'wb').write(sys.stdin.buffer.read())\n")
    program.chmod(0o755)
    monkeypatch.setitem(film.mpl.rcParams, "animation.ffmpeg_path", str(program))
    frames = grey(1, 2)
    assert film.write_film(frames, tmp_path / "day.mp4").read_bytes() == b"".join(map(bytes, frames))
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no such codec')\n")
    with pytest.raises(ValueError, match=r"ffmpeg wrote no film 'day.mp4': no such codec"):
        film.write_film(frames, tmp_path / "day.mp4")


def test_what_cannot_be_filmed_says_why(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in .gif or .mp4; got 'day.avi'"):
        record_film(SCENARIO, tmp_path / "day.avi")
    with pytest.raises(ValueError, match=r"would have no frame"):
        film.write_film([], tmp_path / "day.gif")
    with pytest.raises(ValueError, match=r"'learned' is the policy of a run"):
        record_film(SCENARIO, tmp_path / "day.gif", ["learned"])
    monkeypatch.setitem(film.mpl.rcParams, "animation.ffmpeg_path", os.devnull + "_none")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(ImportError, match=r"pip install imageio-ffmpeg, or install ffmpeg"):
        record_film(SCENARIO, tmp_path / "day.mp4")


def test_the_command_writes_the_film_and_says_where(tmp_path):
    scenario, out = tmp_path / "short.yaml", tmp_path / "day.gif"
    scenario.write_text("base: ieee13_volt_var\nsteps: 2\n")
    result = CliRunner().invoke(app, ["record", str(scenario), "--out", str(out), "--day", "170"])
    assert result.exit_code == 0 and f"saved {out}" in result.output.replace("\n", ""), result.output
    with Image.open(out) as image:
        assert image.n_frames == 3
