"""Videos to captures: the choice of frames, what files may say about themselves, damage, and the whole way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import sfm_scene
from hypothesis import given
from hypothesis import strategies as st

from scenerep.data_tools import open_capture
from scenerep.data_tools.frames import Frame, choose, save_frames, sharpness, survey
from scenerep.data_tools.photos import PhotoOptions
from scenerep.data_tools.video import VideoOptions, process_video
from scenerep.errors import DataError


def write_video(
    path: Path,
    frames: list[np.ndarray],
    *,
    times: list[int] | None = None,
    rotation: int = 0,
    transfer: int | None = None,
    aspect: Fraction | None = None,
    codec: str = "mpeg4",
    pixels: str = "yuv420p",
) -> Path:
    """Writes frames uint8 [h, w, 3]; `times` in tenths of a second (default: 0, 1, 2 ...)."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 10)
        stream.codec_context.bit_rate = 8_000_000
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if transfer is not None:
            stream.codec_context.color_trc = transfer
        if rotation:
            stream.set_display_rotation(rotation)
        for i, pixels_rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels_rgb, format="rgb24")
            frame.pts = times[i] if times else i
            frame.time_base = Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def moving(count: int, width: int = 160, height: int = 120) -> list[np.ndarray]:
    """Frames of the textured corner from a moving camera."""
    return [sfm_scene.render(sfm_scene.pose(a), width, height) for a in np.linspace(-20, 10, count)]


def blurred(picture: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    return uniform_filter(picture, (1, 15, 1))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return moving(12)


def test_sharpness_falls_with_blur(pictures):
    grey = pictures[0].mean(axis=2).astype(np.uint8)
    soft = blurred(pictures[0]).mean(axis=2).astype(np.uint8)
    assert sharpness(grey) > 2 * sharpness(soft)
    assert sharpness(np.full((20, 20), 7, np.uint8)) == 0
    assert sharpness(np.zeros((2, 2), np.uint8)) == 0


def _frame(index: int, time: float, sharp: float, level: int) -> Frame:
    return Frame(index, time, sharp, np.full((4, 4), level % 256, np.uint8))


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 100), st.integers(0, 255)), max_size=60), st.integers(0, 20))
def test_choice_is_in_order_and_never_too_many(parts, count):
    frames = [_frame(i, time, sharp, level) for i, (time, sharp, level) in enumerate(sorted(parts))]
    chosen = choose(frames, count)
    assert len(chosen) <= count
    assert [f.time for f in chosen] == sorted(f.time for f in chosen)
    assert len({f.index for f in chosen}) == len(chosen)
    assert all(np.abs(a.thumb.astype(int) - b.thumb).mean() >= 1.5 for a, b in zip(chosen, chosen[1:]))  # noqa: RUF007


def test_choice_takes_the_sharpest_of_each_span():
    frames = [_frame(i, i * 0.1, 10 + (i % 10 == 4), i * 7) for i in range(100)]
    assert [f.index for f in choose(frames, 10)] == [4 + 10 * k for k in range(10)]


def test_choice_leaves_out_blur_rest_and_gaps():
    sharp = [_frame(i, i * 0.1, 100.0, i * 9) for i in range(50)]
    soft = [_frame(i, i * 0.1, 1.0 if 20 <= i < 30 else 100.0, i * 9) for i in range(50)]
    resting = [_frame(i, i * 0.1, 100.0, min(i, 24) * 9) for i in range(50)]
    gap = [f for f in sharp if not 20 <= f.index < 30]
    assert len(choose(sharp, 10)) == 10
    assert not any(20 <= f.index < 30 for f in choose(soft, 10)) and len(choose(soft, 10)) == 8
    assert len(choose(resting, 10)) <= 6
    assert len(choose(gap, 10)) == 8


def test_blurred_frames_of_a_real_file_are_avoided(tmp_path, pictures):
    frames = [blurred(p) if i % 3 else p for i, p in enumerate(pictures)]
    found = survey(write_video(tmp_path / "v.mp4", frames))
    assert len(found.frames) == 12 and found.warnings == []
    assert [f.index % 3 for f in choose(found.frames, 4)] == [0, 0, 0, 0]


@pytest.mark.parametrize("rotation", [0, 90, -90, 180])
def test_rotation_metadata_is_applied(tmp_path, pictures, rotation):
    # Stored as a phone does: turned against what the display matrix will do.
    turned = [np.ascontiguousarray(np.rot90(p, -rotation // 90)) for p in pictures[:4]]
    path = write_video(tmp_path / "v.mp4", turned, rotation=rotation)
    found = survey(path)
    (tmp_path / "f").mkdir()
    files = save_frames(path, found.frames[:1], tmp_path / "f")
    assert found.rotation_deg % 360 == rotation % 360
    assert np.abs(_read(files[0]) - pictures[0]).mean() < 12


def _read(path: Path) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize(("width", "height"), [(159, 121), (161, 90)])
def test_odd_sizes(tmp_path, width, height):
    frames = moving(3, width, height)
    path = write_video(tmp_path / "v.mkv", frames, codec="ffv1", pixels="yuv444p")
    (tmp_path / "f").mkdir()
    files = save_frames(path, survey(path).frames, tmp_path / "f")
    assert [_read(f).shape for f in files] == [(height, width, 3)] * 3
    assert np.abs(_read(files[2]) - frames[2]).mean() < 6


def test_pixels_that_are_not_square(tmp_path, pictures):
    path = write_video(tmp_path / "v.mp4", pictures[:3], aspect=Fraction(4, 3))
    (tmp_path / "f").mkdir()
    files = save_frames(path, survey(path).frames[:1], tmp_path / "f")
    assert _read(files[0]).shape == (120, 213, 3)


def test_variable_frame_rate_is_judged_by_time(tmp_path, pictures):
    times = [0, 1, 2, 3, 4, 5, 6, 7, 8, 40, 41, 80]
    found = survey(write_video(tmp_path / "v.mkv", pictures, times=times))
    assert [round(f.time * 10) for f in found.frames] == times
    assert [f.index for f in choose(found.frames, 2)][1] >= 9


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, pictures, transfer, name):
    path = write_video(tmp_path / "v.mkv", pictures[:3], transfer=transfer, codec="ffv1", pixels="yuv420p10le")
    with pytest.raises(DataError, match=name) as caught:
        survey(path)
    assert "HDR off" in caught.value.hint


def test_files_that_are_no_videos(tmp_path, pictures):
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video " * 50)
    whole = write_video(tmp_path / "v.mp4", pictures).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # the index of an MP4 stands at its end
    for name in ("empty", "text", "cut"):
        with pytest.raises(DataError, match=name):
            survey(tmp_path / f"{name}.mp4")
    with pytest.raises(DataError, match="not a file"):
        survey(tmp_path / "missing.mp4")


def test_truncated_stream_gives_what_is_there(tmp_path, pictures):
    whole = write_video(tmp_path / "v.mkv", pictures).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    found = survey(tmp_path / "cut.mkv")
    assert 3 <= len(found.frames) < 12


def test_still_camera_is_refused(tmp_path, pictures):
    path = write_video(tmp_path / "v.mp4", [pictures[0]] * 12)
    with pytest.raises(DataError, match="usable frames") as caught:
        process_video(path, tmp_path / "out")
    assert "moving" in caught.value.hint
    with pytest.raises(DataError, match="--frames 2"):
        process_video(path, tmp_path / "out", VideoOptions(frames=2))


def test_video_becomes_a_capture(tmp_path):
    poses = sfm_scene.arc(9)
    path = write_video(tmp_path / "v.mkv", [sfm_scene.render(p) for p in poses], codec="ffv1", pixels="yuv444p")
    report = process_video(path, tmp_path / "out", VideoOptions(9, PhotoOptions(test_every=3)))
    capture = open_capture(tmp_path / "out")
    assert report.video is not None and report.video["indices"] == list(range(9))
    assert report.registered == 9 and len(report.cameras) == 1
    assert capture.test == [0, 3, 6]
    assert [view.name for view in capture.views] == [f"frame_{i:06d}.jpg" for i in range(9)]
    centres = np.array([view.camera.centre for view in capture.views])
    assert sfm_scene.centre_error(centres, np.array([p[:3, 3] for p in poses])) < 0.01


def test_a_leap_of_the_camera_is_noticed():
    """Steps of 10 degrees, and one of 150 between frames 11 and 12: what folding two sides of a thing looks like."""
    from types import SimpleNamespace

    from scenerep.data_tools.sfm import Solution, jumps, same_direction

    def image(angle_deg: float) -> SimpleNamespace:
        matrix = sfm_scene.pose(angle_deg)[:3, :3].T
        pose = SimpleNamespace(rotation=SimpleNamespace(matrix=lambda: matrix))
        return SimpleNamespace(cam_from_world=lambda: pose)

    angles = [*np.arange(12) * 10.0, *(110.0 + 150.0 + np.arange(12) * 10.0)]
    images = {i: i + 1 for i in range(24)}
    model = SimpleNamespace(image=lambda image_id: image(angles[image_id - 1]))
    assert jumps(model, images) == [11]
    assert jumps(model, {i: i + 1 for i in range(12)}) == []
    assert jumps(model, {0: 1, 1: 2, 2: 24}) == []  # too few to know what is usual
    found = same_direction(Solution(model, images, [11], [24], 0, "exhaustive", "normal", 1))
    assert (0, 1) in found and (0, 8) not in found and found == sorted(set(found))
    assert all(i < j for i, j in found)


@pytest.mark.slow
def test_can_with_two_equal_sides_is_not_folded(shared_data, tmp_path):
    """Its front and back carry the same print: matching all frames puts the camera on a half circle three times."""
    report = process_video(shared_data / "beer_can" / "Beer.mp4", tmp_path / "out")
    assert report.registered >= 0.95 * report.total
    views = open_capture(tmp_path / "out").views
    look = np.array([view.camera.world_from_camera[:3, 2] for view in views])[:, [0, 2]]
    angles = np.degrees(np.unwrap(np.arctan2(look[:, 1], look[:, 0])))
    assert np.abs(np.diff(angles)).max() < 45
    assert np.ptp(angles) > 360
