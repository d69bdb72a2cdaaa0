"""A COLMAP reconstruction as a Capture, and as a COLMAP model of the pictures that the capture stores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenerep.captures import Capture, Points, View
from scenerep.captures.capture import split_every
from scenerep.data_tools.prepare import Prepared
from scenerep.data_tools.sfm import Solution
from scenerep.geometry.cameras import Camera, Distortion

if TYPE_CHECKING:
    import pycolmap


def level_world(solution: Solution) -> None:
    """Turns the world so that the cameras' mean "down" is +y; moves their mean to the origin, scales their spread to 1.

    COLMAP's own frame is that of the first picture, at any angle. Photographers hold cameras level on average.
    """
    import pycolmap

    model = solution.reconstruction
    poses = [model.image(i).cam_from_world().matrix() for i in solution.images.values()]
    down = np.sum([pose[1, :3] for pose in poses], axis=0)
    length = np.linalg.norm(down)
    rotation = _rotation_to_y(down / length) if length > 0.1 * len(poses) else np.eye(3)
    centres = np.array([-pose[:, :3].T @ pose[:, 3] for pose in poses])
    middle = centres.mean(axis=0)
    spread = float(np.sqrt(((centres - middle) ** 2).sum(axis=1).mean()))
    scale = 1.0 / spread if spread > 0 else 1.0
    model.transform(pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), (-scale * rotation @ middle).reshape(3, 1)))


def _rotation_to_y(down: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that takes the unit vector `down` to +y (Rodrigues)."""
    y = np.array([0.0, 1.0, 0.0])
    axis, cosine = np.cross(down, y), float(down @ y)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def camera_of(model: pycolmap.Reconstruction, image_id: int, width: int, height: int) -> Camera:
    """The camera of a picture, for its file of `width` x `height` (COLMAP saw a smaller copy)."""
    image = model.image(image_id)
    assert image.camera is not None
    colmap = image.camera
    p = [float(value) for value in colmap.params]
    kind = colmap.model_name
    if kind in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        fx, fy, cx, cy = p[0], p[0], p[1], p[2]
        radial = (*p[3:], 0.0, 0.0)[:2]
        distortion = Distortion("opencv", (*radial, 0.0, 0.0)) if kind != "SIMPLE_PINHOLE" else None
    else:
        fx, fy, cx, cy = p[:4]
        distortion = Distortion("fisheye" if kind == "OPENCV_FISHEYE" else "opencv", tuple(p[4:]))
    pose = np.eye(4)
    from_world = image.cam_from_world().matrix()
    pose[:3, :3] = from_world[:, :3].T
    pose[:3, 3] = -from_world[:, :3].T @ from_world[:, 3]
    return Camera(fx, fy, cx, cy, colmap.width, colmap.height, pose, distortion).resized(width, height)


def to_capture(solution: Solution, prepared: Sequence[Prepared], root: Path, source: str, test_every: int) -> Capture:
    """The registered pictures with their cameras (as taken, with distortion), and the sparse points."""
    model = solution.reconstruction
    chosen = [prepared[i] for i in solution.images]
    splits = split_every([item.name for item in chosen], test_every)
    views = [
        View(item.name, camera_of(model, image_id, item.width, item.height), item.source, item.mask, split=split)
        for item, image_id, split in zip(chosen, solution.images.values(), splits, strict=True)
    ]
    points = list(model.points3D.values())
    xyz = np.array([point.xyz for point in points], dtype=np.float32).reshape(-1, 3)
    rgb = np.array([point.color for point in points], dtype=np.uint8).reshape(-1, 3)
    return Capture(root, source, views, Points(xyz, rgb))


def write_colmap(solution: Solution, capture: Capture, folder: Path) -> None:
    """Writes sparse/0 for other tools into a folder that write_capture(..., pictures="pinhole") has filled.

    The cameras become PINHOLE with the size of the written pictures, and the features move to where undistortion put
    them, so that `images` and `sparse/0` are a COLMAP project without distortion. Changes `solution.reconstruction`.
    """
    import pycolmap

    model = solution.reconstruction
    entries = json.loads((folder / "capture.json").read_text())["views"]
    files = {entry["name"]: Path(entry["image"]).relative_to("images").as_posix() for entry in entries}
    # In this order: the features need the old cameras.
    new_cameras: dict[int, Any] = {}
    for i, (view, image_id) in enumerate(zip(capture.views, solution.images.values(), strict=True)):
        image = model.image(image_id)
        pinhole = capture.camera(i)
        new_cameras[image.camera_id] = pinhole
        xy = np.array([point.xy for point in image.points2D], dtype=np.float64).reshape(-1, 2)
        assert image.camera is not None
        rays = image.camera.cam_from_img(xy)
        moved = np.asarray(rays) * [pinhole.fx, pinhole.fy] + [pinhole.cx, pinhole.cy]
        for point, new in zip(image.points2D, moved, strict=True):
            point.xy = new
        image.name = files[view.name]
    for camera_id, pinhole in new_cameras.items():
        camera = model.camera(camera_id)
        camera.model = pycolmap.CameraModelId.PINHOLE
        camera.width, camera.height = pinhole.width, pinhole.height
        camera.params = [pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy]
    model.update_point_3d_errors()
    target = folder / "sparse" / "0"
    target.mkdir(parents=True)
    model.write_binary(str(target))
