"""Readers on captures written by the test: known 3-D points must fall onto known pixels, whatever the format.

The truth is one OpenCV camera for each picture; every writer below expresses it in the conventions of its format, from
the format's documentation and without the project's converters.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from scenerep.captures import write_capture
from scenerep.data_tools import open_capture
from scenerep.data_tools.open import READERS, find_reader
from scenerep.errors import DataError, FormatError, SceneRepError
from scenerep.geometry.distortion import project_distorted

W, H, F = 64, 48, 70.0
NAMES = [f"{i:02d}.png" for i in range(6)]
POINTS = np.random.default_rng(1).uniform(-0.5, 0.5, (20, 3))


def truth(i: int) -> np.ndarray:
    """camera_from_world [4, 4]: on a circle of radius 4, looking at the origin, rolled a little."""
    rotation = Rotation.from_euler("yxz", [60 * i, 20 - 5 * i, 7 * i], degrees=True).as_matrix()
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, [0.1, -0.05, 4]
    return out


def pixels(i: int, xd=lambda x, y: (x, y), cx: float = W / 2, cy: float = H / 2) -> np.ndarray:
    x, y, z = truth(i)[:3, :3] @ POINTS.T + truth(i)[:3, 3:]
    x, y = xd(x / z, y / z)
    return np.stack([F * x + cx, F * y + cy], axis=1)


@pytest.fixture
def folder(tmp_path) -> Path:
    """images/ with six pictures."""
    (tmp_path / "images").mkdir()
    for k, name in enumerate(NAMES):
        Image.fromarray(np.full((H, W, 3), 40 * k, np.uint8)).save(tmp_path / "images" / name)
    return tmp_path


def agree(capture, expected=pixels) -> None:
    names = [Path(view.name).name for view in capture.views]
    assert names == NAMES
    for i, view in enumerate(capture.views):
        assert (view.camera.width, view.camera.height) == (W, H)
        assert np.abs(project_distorted(view.camera, POINTS)[:, :2] - expected(i)).max() < 1e-3
        assert capture.image(i).shape == (H, W, 3) and abs(int(capture.image(i)[0, 0, 0]) - 40 * i) <= 1


def opengl(i: int) -> list:
    """camera-to-world, x right, y up, z back."""
    matrix = np.linalg.inv(truth(i))
    matrix[:3, 1:3] *= -1
    return matrix.tolist()


def transforms(folder: Path, extra: dict, frames: list[dict]) -> Path:
    (folder / "transforms.json").write_text(json.dumps(extra | {"frames": frames}))
    return folder


def frames(**more) -> list[dict]:
    return [{"file_path": f"./images/{name}", "transform_matrix": opengl(i)} | more for i, name in enumerate(NAMES)]


def radial(k1: float, k2: float = 0.0):
    def xd(x, y):
        r2 = x * x + y * y
        return x * (1 + k1 * r2 + k2 * r2 * r2), y * (1 + k1 * r2 + k2 * r2 * r2)

    return xd


def fisheye(k1: float, k2: float = 0.0):
    def xd(x, y):
        r = np.hypot(x, y)
        t = np.arctan(r)
        t = t * (1 + k1 * t**2 + k2 * t**4)
        return x * t / r, y * t / r

    return xd


def test_nerfstudio(folder):
    intrinsics = {"fl_x": F, "fl_y": F, "cx": W / 2, "cy": H / 2, "w": W, "h": H}
    capture = open_capture(transforms(folder, intrinsics | {"k1": 0.1, "k2": 0.02}, frames()), test_every=3)
    agree(capture, lambda i: pixels(i, radial(0.1, 0.02)))
    assert capture.source == "nerfstudio" and capture.test == [0, 3]


def test_nerfstudio_intrinsics_of_frames_and_fisheye(folder):
    own = {"fl_x": F, "fl_y": F, "cx": 30.0, "cy": 25.0, "w": W, "h": H, "k1": 0.05}
    agree(
        open_capture(transforms(folder, {"fl_x": 999.0, "camera_model": "OPENCV_FISHEYE"}, frames(**own))),
        lambda i: pixels(i, fisheye(0.05), 30, 25),
    )


def test_instant_ngp_angle_missing_files_and_suffixes(folder):
    listed = frames()
    for frame in listed:
        frame["file_path"] = frame["file_path"].removesuffix(".png")
    listed.append({"file_path": "images/gone", "transform_matrix": opengl(0)})
    capture = open_capture(transforms(folder, {"camera_angle_x": 2 * np.arctan(W / 2 / F)}, listed))
    agree(capture)
    assert len(capture.warnings) == 1 and "1 of 7" in capture.warnings[0] and "gone" in capture.warnings[0]


def test_nerfstudio_masks_depth_points_and_split(folder):
    Image.fromarray(np.full((H, W), 255, np.uint8)).save(folder / "mask.png")
    Image.fromarray(np.full((H, W), 2000, np.uint16)).save(folder / "depth.png")
    ply = "ply\nformat ascii 1.0\nelement vertex 1\n"
    ply += "property float x\nproperty float y\nproperty float z\nend_header\n1 2 3\n"
    (folder / "sparse.ply").write_text(ply)
    extra = {"fl_x": F, "ply_file_path": "sparse.ply", "train_filenames": [f"images/{n}" for n in NAMES[:4]]}
    extra["test_filenames"] = [f"./images/{n}" for n in NAMES[4:]]
    capture = open_capture(transforms(folder, extra, frames(mask_path="mask.png", depth_file_path="depth.png")))
    agree(capture)
    assert capture.test == [4, 5]
    mask, depth = capture.mask(1), capture.depth(1)
    assert mask is not None and mask.all() and depth is not None and np.allclose(depth, 2.0)
    assert capture.points is not None and capture.points.xyz.tolist() == [[1, 2, 3]]


def test_smaller_pictures_scale_their_cameras(folder):
    intrinsics = {"fl_x": 2 * F, "fl_y": 2 * F, "cx": W, "cy": H, "w": 2 * W, "h": 2 * H}
    capture = open_capture(transforms(folder, intrinsics, frames()))
    agree(capture)
    assert "scaled" in capture.warnings[0]
    with pytest.raises(DataError, match="64x48, but its camera states 128x128"):
        open_capture(transforms(folder, intrinsics | {"h": 2 * W}, frames()))


def test_blender(folder):
    angle = {"camera_angle_x": 2 * np.arctan(W / 2 / F)}
    for part, listed in (("train", frames()[:4]), ("test", frames()[4:])):
        for frame in listed:
            frame["file_path"] = frame["file_path"].removesuffix(".png")
        (folder / f"transforms_{part}.json").write_text(json.dumps(angle | {"frames": listed}))
    capture = open_capture(folder)
    agree(capture)
    assert capture.source == "blender" and capture.test == [4, 5]


def distorted_truth(model: str):
    """Parameters of a COLMAP model and its distortion, from the formulas in COLMAP's models.h."""
    thin = [0.03, -0.01, 0.001, -0.002, 0.0, 0.0, 0.002, -0.001]

    def thin_prism(x, y):
        u, v = fisheye(0.0)(x, y)
        k1, k2, p1, p2, _, _, sx, sy = thin
        t2 = u * u + v * v
        r = 1 + k1 * t2 + k2 * t2 * t2
        return (
            u * r + 2 * p1 * u * v + p2 * (t2 + 2 * u * u) + sx * t2,
            v * r + 2 * p2 * u * v + p1 * (t2 + 2 * v * v) + sy * t2,
        )

    def tangential(x, y):
        r2 = x * x + y * y
        xr, yr = radial(0.1, -0.02)(x, y)
        return xr + 2 * 0.003 * x * y - 0.002 * (r2 + 2 * x * x), yr + 0.003 * (r2 + 2 * y * y) - 2 * 0.002 * x * y

    def rational(x, y):
        r2 = x * x + y * y
        xt, yt = tangential(x, y)
        xr, yr = radial(0.1, -0.02)(x, y)
        factor = (1 + 0.1 * r2 - 0.02 * r2**2 + 0.05 * r2**3) / (1 + 0.02 * r2 + 0.01 * r2**2 + 0.03 * r2**3)
        return xt - xr + x * factor, yt - yr + y * factor

    plain, c = (lambda x, y: (x, y)), [W / 2, H / 2]
    return {
        "SIMPLE_PINHOLE": ([F, *c], plain),
        "PINHOLE": ([F, F, *c], plain),
        "SIMPLE_RADIAL": ([F, *c, 0.1], radial(0.1)),
        "RADIAL": ([F, *c, 0.1, -0.02], radial(0.1, -0.02)),
        "OPENCV": ([F, F, *c, 0.1, -0.02, 0.003, -0.002], tangential),
        "OPENCV_FISHEYE": ([F, F, *c, 0.1, -0.02, 0.0, 0.0], fisheye(0.1, -0.02)),
        "FULL_OPENCV": ([F, F, *c, 0.1, -0.02, 0.003, -0.002, 0.05, 0.02, 0.01, 0.03], rational),
        "SIMPLE_RADIAL_FISHEYE": ([F, *c, 0.1], fisheye(0.1)),
        "RADIAL_FISHEYE": ([F, *c, 0.1, -0.02], fisheye(0.1, -0.02)),
        "THIN_PRISM_FISHEYE": ([F, F, *c, *thin], thin_prism),
    }[model]


COLMAP_NUMBERS = {
    "SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6, "SIMPLE_RADIAL_FISHEYE": 8, "RADIAL_FISHEYE": 9, "THIN_PRISM_FISHEYE": 10,
}  # fmt: skip


def write_colmap(folder: Path, model: str, binary: bool) -> Path:
    params, _ = distorted_truth(model)
    poses = []
    for i in range(len(NAMES)):
        quat = Rotation.from_matrix(truth(i)[:3, :3]).as_quat(scalar_first=True)
        poses.append([*quat, *truth(i)[:3, 3]])
    out = folder / "sparse" / "0"
    out.mkdir(parents=True)
    if binary:
        camera = struct.pack(f"<QiiQQ{len(params)}d", 1, 1, COLMAP_NUMBERS[model], W, H, *params)
        (out / "cameras.bin").write_bytes(camera)
        images = struct.pack("<Q", len(NAMES))
        for i, name in enumerate(NAMES):
            images += struct.pack("<i7di", i + 1, *poses[i], 1) + name.encode() + b"\0"
            images += struct.pack("<Q2dq", 1, 10.5, 20.5, 7)
        (out / "images.bin").write_bytes(images)
        points = struct.pack("<Q", len(POINTS))
        for k, xyz in enumerate(POINTS):
            points += struct.pack("<Q3d3Bd", k + 1, *xyz, 1, 2, 3, 0.5) + struct.pack("<Q4i", 2, 1, 0, 2, 0)
        (out / "points3D.bin").write_bytes(points)
        return folder
    (out / "cameras.txt").write_text(f"# cameras\n1 {model} {W} {H} {' '.join(map(str, params))}\n")
    text = "# images\n"
    for i, name in enumerate(NAMES):
        text += f"{i + 1} {' '.join(map(repr, map(float, poses[i])))} 1 {name}\n"
        text += "\n" if i == 2 else "10.5 20.5 -1 11 21 7\n"
    (out / "images.txt").write_text(text)
    lines = [f"{k + 1} {x} {y} {z} 1 2 3 0.5 1 0 2 0" for k, (x, y, z) in enumerate(POINTS)]
    (out / "points3D.txt").write_text("# points\n" + "\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("model", COLMAP_NUMBERS)
def test_colmap(folder, model, binary):
    capture = open_capture(write_colmap(folder, model, binary))
    agree(capture, lambda i: pixels(i, distorted_truth(model)[1]))
    assert capture.source == "colmap" and capture.points is not None
    assert np.allclose(capture.points.xyz, POINTS, atol=1e-6) and capture.points.rgb.tolist() == [[1, 2, 3]] * 20
    agree(open_capture(folder / "sparse" / "0"), lambda i: pixels(i, distorted_truth(model)[1]))


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_broken_colmap_files_raise_format_errors_only(folder, name, rng):
    file = write_colmap(folder, "OPENCV", True) / "sparse" / "0" / name
    data = file.read_bytes()
    for cut in (0, 4, 9, len(data) // 2, len(data) - 1):
        file.write_bytes(data[:cut])
        with pytest.raises(FormatError, match=name):
            open_capture(folder)
    for _ in range(150):
        broken = bytearray(data)
        broken[int(rng.integers(0, len(data)))] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(bytes(broken))
        try:
            open_capture(folder)
        except SceneRepError:
            continue


def test_colmap_text_errors_name_the_line(folder):
    out = write_colmap(folder, "PINHOLE", False) / "sparse" / "0"
    (out / "points3D.txt").write_text("# points\n1 0 0 0 1 2 300 0.5\n")
    with pytest.raises(FormatError, match=r"points3D\.txt, line 2"):
        open_capture(folder)
    (out / "cameras.txt").write_text("1 FOV 64 48 1 1 1 1 1\n")
    with pytest.raises(FormatError, match="FOV"):
        open_capture(folder)


def test_llff(folder):
    rows = []
    for i in range(len(NAMES)):
        pose = np.linalg.inv(truth(i))
        right, down, forward, centre = pose[:3, :4].T
        rows.append([*np.stack([down, right, -forward, centre, [H, W, F]], axis=1).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    capture = open_capture(folder, test_every=0)
    agree(capture)
    assert capture.source == "llff" and capture.test == []
    (folder / "test_img_id.txt").write_text("1 4\n")
    assert open_capture(folder).test == [1, 4]
    (folder / "images" / "05.png").unlink()
    with pytest.raises(DataError, match=r"6 poses.*5 pictures"):
        open_capture(folder)
    np.save(folder / "poses_bounds.npy", np.zeros((6, 15)))
    with pytest.raises(FormatError, match=r"\[n, 17\]"):
        open_capture(folder)


def test_precomputed(folder):
    poses = [np.append(np.array(opengl(i))[:3], [[H], [W], [F]], axis=1).tolist() for i in range(len(NAMES))]
    (folder / "precomputed.json").write_text(json.dumps({"poses": poses}))
    agree(open_capture(folder))


@pytest.mark.parametrize("kind", ["perspective", "brown", "fisheye"])
def test_opensfm(folder, kind):
    unit = max(W, H)
    lens = {"projection_type": kind, "width": W, "height": H, "k1": 0.1, "k2": -0.02}
    lens |= {"focal_x": F / unit, "focal_y": F / unit, "c_x": 2 / unit, "c_y": -3 / unit} if kind == "brown" else {}
    lens |= {} if kind == "brown" else {"focal": F / unit}
    shots = {
        name: {
            "camera": "lens",
            "rotation": Rotation.from_matrix(truth(i)[:3, :3]).as_rotvec().tolist(),
            "translation": truth(i)[:3, 3].tolist(),
        }
        for i, name in enumerate(NAMES)
    }
    points = {str(k): {"coordinates": p.tolist(), "color": [9.0, 8.0, 7.4]} for k, p in enumerate(POINTS)}
    parts = [{"cameras": {}, "shots": {}}, {"cameras": {"lens": lens}, "shots": shots, "points": points}]
    (folder / "reconstruction.json").write_text(json.dumps(parts))
    capture = open_capture(folder)
    shift = (W / 2 + 2, H / 2 - 3) if kind == "brown" else (W / 2, H / 2)
    bend = fisheye(0.1, -0.02) if kind == "fisheye" else radial(0.1, -0.02)
    agree(capture, lambda i: pixels(i, bend, *shift))
    assert capture.points is not None and capture.points.rgb[0].tolist() == [9, 8, 7]
    assert "2 separate reconstructions" in capture.warnings[0]


def test_middlebury(folder):
    k = [F, 0, W / 2 - 0.5, 0, F, H / 2 - 0.5, 0, 0, 1]
    lines = [str(len(NAMES))]
    for i, name in enumerate(NAMES):
        lines.append(" ".join(map(str, [name, *k, *truth(i)[:3, :3].ravel(), *truth(i)[:3, 3]])))
        (folder / "images" / name).rename(folder / name)
    (folder / "ring_par.txt").write_text("\n".join(lines) + "\n")
    agree(open_capture(folder))
    (folder / "ring_par.txt").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(FormatError, match="number of pictures"):
        open_capture(folder)


def test_strecha(folder):
    (folder / "gt_cameras").mkdir()
    for i, name in enumerate(NAMES):
        pose = np.linalg.inv(truth(i))
        rows = [[F, 0, W / 2 - 0.5], [0, F, H / 2 - 0.5], [0, 0, 1], [0, 0, 0], *pose[:3, :3], pose[:3, 3], [W, H]]
        text = "\n".join(" ".join(map(str, row)) for row in rows)
        (folder / "gt_cameras" / f"{name}.camera").write_text(text + "\n")
    agree(open_capture(folder))


def test_rgbd(folder):
    (folder / "depth").mkdir()
    (folder / "images").rename(folder / "color")
    lines = []
    for i in range(3 * len(NAMES)):  # every third frame has a picture
        pose = np.linalg.inv(truth(i // 3)) if i % 3 == 0 else np.eye(4)
        lines += [f"{i} {i} {i + 1}", *(" ".join(map(str, row)) for row in pose)]
    (folder / "trajectory.log").write_text("\n".join(lines) + "\n")
    matrix = [F, 0, 0, 0, F, 0, W / 2 - 0.5, H / 2 - 0.5, 1]
    (folder / "camera_intrinsic.json").write_text(json.dumps({"width": W, "height": H, "intrinsic_matrix": matrix}))
    for i, name in enumerate(NAMES):
        (folder / "color" / name).rename(folder / "color" / f"{3 * i:05d}.png")
        Image.fromarray(np.full((H, W), 1234, np.uint16)).save(folder / "depth" / f"{3 * i:05d}.png")
    capture = open_capture(folder)
    for i, view in enumerate(capture.views):
        assert np.abs(project_distorted(view.camera, POINTS)[:, :2] - pixels(i)).max() < 1e-3
        depth = capture.depth(i)
        assert depth is not None and np.allclose(depth, 1.234)


def test_own(folder):
    intrinsics = {"fl_x": F, "fl_y": F, "w": W, "h": H, "k1": 0.1}
    first = open_capture(transforms(folder, intrinsics, frames()))
    out = write_capture(first, folder / "out")
    agree(open_capture(out), lambda i: pixels(i, radial(0.1)))
    assert find_reader(out).__name__.endswith("own") and find_reader(out / "capture.json").__name__.endswith("own")


def test_unknown_folders_list_what_was_looked_for(folder):
    with pytest.raises(DataError) as caught:
        open_capture(folder)
    for name in READERS:
        assert f"({name})" in caught.value.message
    assert "scenerep data photos" in caught.value.hint
    with pytest.raises(DataError, match="does not exist"):
        open_capture(folder / "nowhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"transform_matrix": [[1, 0], [0, 1]]}, r"pose of 3x4 or 4x4 numbers in frames\[0\]"),
        ({"transform_matrix": (np.eye(4) * 3).tolist()}, r"a rotation in frames\[0\]"),
        ({"fl_x": "70"}, "a number 'fl_x'"),
        ({"fl_x": -3.0}, "positive size and focal length"),
        ({"camera_model": "EQUIRECTANGULAR"}, "camera_model"),
    ],
)
def test_broken_frames_are_named(folder, change, words):
    with pytest.raises(FormatError, match=words):
        open_capture(transforms(folder, {"fl_x": F}, frames(**change)))


def test_no_picture_at_all(folder):
    listed = [{"file_path": "images/gone.png", "transform_matrix": opengl(0)}]
    with pytest.raises(DataError, match="none of the 1 pictures"):
        open_capture(transforms(folder, {"fl_x": F}, listed))
    for text in ("{", "[]", '{"frames": 3}', '{"frames": [{}]}'):
        (folder / "transforms.json").write_text(text)
        with pytest.raises(FormatError, match=r"transforms\.json"):
            open_capture(folder)
