"""A capture as a folder that nerfstudio reads: `python -m scenerep.plugins.nerfstudio_capture CAPTURE OUT`.

Pictures as PNG, `transforms.json` in nerfstudio's axes (cameras look along -z with y up), the sparse points as PLY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from scenerep.captures import Capture
from scenerep.io.files import replacing_folder
from scenerep.meshes.write import points_to_bytes

_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def write_nerfstudio(capture: Capture, folder: Path, *, overwrite: bool = False) -> None:
    """Writes the folder, whole or not at all; pictures undistorted and at the capture's size."""
    with replacing_folder(folder, overwrite=overwrite) as out:
        (out / "images").mkdir(parents=True)
        frames: list[dict[str, Any]] = []
        for i in range(len(capture)):
            camera, name = capture.camera(i), f"images/{i:05d}.png"
            iio.imwrite(out / name, capture.image(i))
            pose = camera.world_from_camera @ _FLIP
            frames.append(
                {
                    "file_path": name,
                    "fl_x": camera.fx,
                    "fl_y": camera.fy,
                    "cx": camera.cx,
                    "cy": camera.cy,
                    "w": camera.width,
                    "h": camera.height,
                    "transform_matrix": pose.tolist(),
                }
            )
        content: dict[str, Any] = {"camera_model": "OPENCV", "frames": frames}
        if capture.points is not None and len(capture.points):
            (out / "points.ply").write_bytes(points_to_bytes(capture.points.xyz, capture.points.rgb))
            content["ply_file_path"] = "points.ply"
        (out / "transforms.json").write_text(json.dumps(content, indent=1))


if __name__ == "__main__":
    from scenerep.data_tools import open_capture

    write_nerfstudio(open_capture(Path(sys.argv[1])), Path(sys.argv[2]))
