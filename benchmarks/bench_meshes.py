"""Meshes of trained scenes against the silhouettes of the photographs, through the .glb that other programs get.

    python benchmarks/bench_meshes.py "RUN=CAPTURE" "RUN=CAPTURE=--crop-box x y z X Y Z" ... [--picture OUT.jpg]

What follows the second = are flags for `scenerep export`.

For each run: `scenerep export RUN mesh.glb`, the file loaded by trimesh, and
- F-score of the mesh against the surface of the visual hull of all views (hull.py) within 1 % of the hull's diagonal.
  The hull fills hollows that no silhouette shows, so recall and F-score of a perfect mesh stay below 1;
- the share of the mesh's surface inside the hull (or within 0.5 % of the diagonal of it): what sticks out is wrong;
  A capture of an object in a room needs the object's box, or its surroundings count as mistakes;
- the mesh's own silhouettes against those of the photographs: intersection over union, the share of the
  photographs' silhouettes covered, the share of the mesh's inside. Held-out views where there are any.
Results: benchmarks/results/meshes.json and .md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import open3d
import trimesh
from common import scenerep, write_results
from hull import silhouettes, visual_hull
from PIL import Image
from scipy.spatial import KDTree

from scenerep.data_tools import open_capture
from scenerep.evaluation.pictures import flatten, to_uint8
from scenerep.geometry.cameras import Camera
from scenerep.io.axes import OURS, flips

_WITHIN = 0.01  # of the hull's diagonal
_OUTSIDE = 0.005
_SAMPLES = 200_000


class Mesh:
    """A mesh from a .glb, in our axes, with rays to look at it."""

    def __init__(self, file: Path) -> None:
        loaded: Any = trimesh.load(file, force="mesh", process=False)
        loaded.vertices = np.asarray(loaded.vertices) * flips("LUF", OURS)
        self.shape = loaded
        self.colours = np.asarray(loaded.visual.vertex_colors)[:, :3].astype(np.float32) / 255
        self.scene = open3d.t.geometry.RaycastingScene()
        self.scene.add_triangles(
            open3d.core.Tensor(np.asarray(loaded.vertices, np.float32)),
            open3d.core.Tensor(np.asarray(loaded.faces, np.uint32)),
        )

    def cast(self, camera: Camera) -> dict[str, np.ndarray]:
        y, x = np.mgrid[: camera.height, : camera.width] + 0.5
        rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], axis=-1)
        directions = rays @ camera.world_from_camera[:3, :3].T
        both = np.concatenate([np.broadcast_to(camera.centre, directions.shape), directions], axis=-1)
        hits = self.scene.cast_rays(open3d.core.Tensor(both.astype(np.float32)))
        return {name: value.numpy() for name, value in hits.items()}

    def pictures(self, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
        """uint8 [h, w, 3] on white: vertex colours as they are, and the shape alone in grey, lit from the camera."""
        hits = self.cast(camera)
        seen = np.isfinite(hits["t_hit"])
        faces = np.asarray(self.shape.faces)[hits["primitive_ids"][seen]]
        u, v = hits["primitive_uvs"][seen].T
        weights = np.stack([1 - u - v, u, v], axis=1)[..., None]
        colour, grey = np.ones((*seen.shape, 3)), np.ones((*seen.shape, 3))
        colour[seen] = (self.colours[faces] * weights).sum(axis=1)
        normals = (np.asarray(self.shape.vertex_normals)[faces] * weights).sum(axis=1)
        facing = np.abs(normals @ camera.world_from_camera[:3, 2]) / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
        grey[seen] = (0.15 + 0.75 * facing)[:, None]
        return to_uint8(colour), to_uint8(grey)


def measure(run: Path, data: Path, flags: list[str], dark: int) -> tuple[dict[str, Any], Image.Image]:
    capture = open_capture(data)
    everything = list(range(len(capture.views)))
    cameras = [capture.camera(i) for i in everything]
    masks = silhouettes(capture, everything, dark)
    hull, step = visual_hull(cameras, masks)
    diagonal = float(np.linalg.norm(np.ptp(hull, axis=0)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "mesh.glb"
        start = time.perf_counter()
        told = json.loads(scenerep("export", str(run), str(file), "--data", str(data), "--json", *flags))
        seconds = time.perf_counter() - start
        mesh = Mesh(file)
        size = file.stat().st_size
    points = np.asarray(trimesh.sample.sample_surface(mesh.shape, _SAMPLES, seed=0)[0])
    to_hull = np.asarray(KDTree(hull).query(points)[0])
    to_mesh = np.asarray(KDTree(points).query(hull)[0])
    precision, recall = (float(np.mean(d <= _WITHIN * diagonal)) for d in (to_hull, to_mesh))
    in_all = np.ones(len(points), bool)
    for camera, mask in zip(cameras, masks):
        x, y, _ = np.floor(camera.project(points)).astype(int).T
        ok = (x >= 0) & (y >= 0) & (x < camera.width) & (y < camera.height)
        ok[ok] = mask[y[ok], x[ok]]
        in_all &= ok
    looked = capture.test or everything
    both = either = ours = theirs = 0
    for i in looked:
        drawn = np.isfinite(mesh.cast(cameras[i])["t_hit"])
        both, either = both + int((drawn & masks[i]).sum()), either + int((drawn | masks[i]).sum())
        ours, theirs = ours + int(drawn.sum()), theirs + int(masks[i].sum())
    row = {
        "capture": data.name, "flags": " ".join(flags), "triangles": told["triangles"],
        "MB": size / 1e6, "seconds": seconds,
        "F-score": 2 * precision * recall / max(precision + recall, 1e-9), "precision": precision, "recall": recall,
        "within the hull": float(np.mean(in_all | (to_hull <= _OUTSIDE * diagonal))),
        "silhouettes": len(looked), "IoU": both / max(either, 1),
        "covered": both / max(theirs, 1), "inside": both / max(ours, 1),
        "hull voxel / diagonal": step / diagonal,
    }  # fmt: skip
    chosen = [looked[k] for k in (len(looked) // 8, len(looked) // 2)]
    strips = []
    for i in chosen:
        photograph = to_uint8(flatten(capture.image(i), (1.0, 1.0, 1.0)))
        strips.append(np.concatenate([photograph, *mesh.pictures(cameras[i])], axis=1))
    return row, Image.fromarray(np.concatenate(strips, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", help="RUN=CAPTURE or RUN=CAPTURE=FLAGS")
    parser.add_argument("--picture", type=Path, help="photograph, mesh in its colours, mesh in grey, of the first run")
    parser.add_argument("--dark", type=int, default=16, help="pixels up to this value of 255 are background; no alpha")
    parser.add_argument("--name", default="meshes", help="of the result files")
    options = parser.parse_args()
    rows = []
    for i, entry in enumerate(options.runs):
        run, data, flags = (*entry.split("=", 2), "")[:3]
        row, picture = measure(Path(run), Path(data), flags.split(), options.dark)
        rows.append(row)
        print(json.dumps(row))
        if options.picture and i == 0:
            picture.save(options.picture, quality=88)
    note = (
        "F-score, precision, recall: against the visual hull's surface within 1 % of its diagonal. IoU, covered, "
        f"inside: silhouettes of the mesh against those of the held-out photographs. Pixels up to "
        f"{options.dark} of 255 are background where a picture has no alpha."
    )
    write_results(options.name, rows, note)


if __name__ == "__main__":
    main()
