"""A mesh from rendered depth: TSDF fusion (Curless and Levoy, SIGGRAPH 1996) or screened Poisson reconstruction
(Kazhdan and Hoppe, TOG 2013), both by open3d.

World axes and units: those of the scene. The depth of a pixel is its median depth, where the transmittance falls to
one half: the mean depth lies between surfaces at their edges and would draw sheets there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import KDTree

from scenerep.errors import ConfigError, DataError
from scenerep.geometry.cameras import Camera
from scenerep.meshes.config import MeshConfig
from scenerep.render import render
from scenerep.scenes import Gaussians, Scene

if TYPE_CHECKING:
    import open3d

# Width of the signed distance's ramp in voxels; narrower loses thin parts to noise, wider swells them.
_TRUNCATION = 4.0
_POISSON_POINTS = 400_000
# Poisson closes the surface far from all points; vertices further than this from any, in voxels, are that skin.
_POISSON_REACH = 8.0


def extract_mesh(scene: Scene, cameras: Sequence[Camera], config: MeshConfig) -> open3d.geometry.TriangleMesh:
    """The surface that the cameras see, with vertex colours and normals; cleaned, and reduced to `config.faces`.

    Raises:
        ConfigError: if there are no cameras, or numbers make no sense.
        DataError: if the cameras see no surface.
    """
    import open3d as o3d

    if not cameras:
        raise ConfigError("a mesh needs cameras to look from", "name a capture with --data")
    if config.resolution < 8 or config.max_side < 16:
        raise ConfigError("a mesh needs a resolution of 8 or more and renders of 16 pixels or more")
    low, high = _region(scene, cameras, config)
    mesh = (
        _fuse(scene, cameras, config, low, high)
        if config.method == "tsdf"
        else _poisson(scene, cameras, config, low, high)
    )
    mesh = finish(mesh, config)
    if len(mesh.triangles) == 0:
        raise DataError("the cameras see no surface", "lower --mesh.min-alpha or choose another capture with --data")
    if config.method == "poisson" and not mesh.has_vertex_colors():
        mesh.vertex_colors = o3d.utility.Vector3dVector(np.full((len(mesh.vertices), 3), 0.5))
    return mesh


def finish(mesh: open3d.geometry.TriangleMesh, config: MeshConfig) -> open3d.geometry.TriangleMesh:
    """Cleaned, reduced to `config.faces`, with normals."""
    mesh = _clean(mesh, config)
    if config.faces and len(mesh.triangles) > config.faces:
        mesh = mesh.simplify_quadric_decimation(config.faces)
        mesh = _clean(mesh, config)
    mesh.compute_vertex_normals()
    return mesh


def scene_points(scene: Gaussians, min_opacity: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """(xyz float32 [m, 3], rgb uint8 [m, 3]) the centres of the Gaussians that can be seen, in their own colours."""
    keep = scene.opacity_logits >= np.log(min_opacity / (1 - min_opacity))
    rgb = np.clip(scene.sh[keep, 0] * 0.28209479177387814 + 0.5, 0, 1)
    return scene.means[keep], np.floor(rgb * 255 + 0.5).astype(np.uint8)


def _views(
    scene: Scene, cameras: Sequence[Camera], config: MeshConfig
) -> Iterator[tuple[Camera, np.ndarray, np.ndarray]]:
    """(camera, colour float32 [h, w, 3] in 0..1, depth float32 [h, w], 0 where there is no surface)."""
    for camera in cameras:
        factor = min(1.0, config.max_side / max(camera.width, camera.height))
        small = camera.resized(max(1, round(camera.width * factor)), max(1, round(camera.height * factor)))
        drawn = render(scene, small, median_depth=True)
        assert drawn.median_depth is not None
        seen = drawn.alpha >= config.min_alpha
        # Colour without the black that shines through where the surface is not quite opaque.
        colour = np.clip(drawn.rgb / np.maximum(drawn.alpha, 1e-3)[..., None], 0, 1)
        yield small, colour, np.where(seen, drawn.median_depth, 0).astype(np.float32)


def _region(scene: Scene, cameras: Sequence[Camera], config: MeshConfig) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box that holds most of what the cameras see (0.5 % at each end of each axis may be strays)."""
    step = max(1, len(cameras) // 12)
    seen = [_unproject(camera, depth)[0] for camera, _, depth in _views(scene, cameras[::step], config)]
    points = np.concatenate(seen)
    if len(points) == 0:
        raise DataError("the cameras see no surface", "lower --mesh.min-alpha or choose another capture with --data")
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    margin = 0.05 * (high - low).max()
    return low - margin, high + margin


def _fuse(
    scene: Scene, cameras: Sequence[Camera], config: MeshConfig, low: np.ndarray, high: np.ndarray
) -> open3d.geometry.TriangleMesh:
    import open3d as o3d

    # Dense: 32 bytes a voxel. The sparse ScalableTSDFVolume of open3d 0.20 gives empty meshes on the CPU.
    side = float((high - low).max())
    volume = o3d.pipelines.integration.UniformTSDFVolume(
        side,
        config.resolution,
        _TRUNCATION * side / config.resolution,
        o3d.pipelines.integration.TSDFVolumeColorType.RGB8,
        (low + high - side) / 2,
    )
    for camera, colour, depth in _views(scene, cameras, config):
        points, rows = _unproject(camera, depth)
        inside = np.zeros(depth.size, bool)
        inside[rows] = ((points >= low) & (points <= high)).all(axis=1)
        depth = np.where(inside.reshape(depth.shape), depth, 0).astype(np.float32)
        image = _rgbd(colour, depth, float(depth.max()) + 1.0)
        # Our pixel centres are at +0.5, open3d's at whole numbers.
        lens = o3d.camera.PinholeCameraIntrinsic(
            camera.width, camera.height, camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5
        )
        volume.integrate(image, lens, camera.camera_from_world)
    return volume.extract_triangle_mesh()


def _poisson(
    scene: Scene, cameras: Sequence[Camera], config: MeshConfig, low: np.ndarray, high: np.ndarray
) -> open3d.geometry.TriangleMesh:
    import open3d as o3d

    points, colours, toward = [], [], []
    share = max(1, _POISSON_POINTS // len(cameras))
    rng = np.random.default_rng(0)
    for camera, colour, depth in _views(scene, cameras, config):
        xyz, rows = _unproject(camera, depth)
        kept = np.flatnonzero(((xyz >= low) & (xyz <= high)).all(axis=1))
        kept = kept if len(kept) <= share else np.sort(rng.choice(kept, share, replace=False))
        points.append(xyz[kept])
        colours.append(colour.reshape(-1, 3)[rows[kept]])
        toward.append(camera.centre - xyz[kept])
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(np.concatenate(points)))
    cloud.colors = o3d.utility.Vector3dVector(np.concatenate(colours).astype(np.float64))
    if len(cloud.points) < 32:
        return o3d.geometry.TriangleMesh()
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(24))
    normals = np.asarray(cloud.normals)
    away = np.einsum("ni,ni->n", normals, np.concatenate(toward)) < 0  # outward is where the camera stands
    cloud.normals = o3d.utility.Vector3dVector(np.where(away[:, None], -normals, normals))
    depth = int(np.ceil(np.log2(config.resolution)))
    mesh, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    distance, _ = KDTree(np.asarray(cloud.points)).query(np.asarray(mesh.vertices))
    mesh.remove_vertices_by_mask(distance > _POISSON_REACH * (high - low).max() / config.resolution)
    return mesh


def _rgbd(colour: np.ndarray, depth: np.ndarray, farthest: float) -> open3d.geometry.RGBDImage:
    import open3d as o3d

    image: Any = o3d.geometry.Image  # its constructor takes arrays, which its type stubs do not know
    return o3d.geometry.RGBDImage.create_from_color_and_depth(
        image(np.ascontiguousarray(np.round(colour * 255).astype(np.uint8))),
        image(np.ascontiguousarray(depth)),
        depth_scale=1.0,
        depth_trunc=farthest,
        convert_rgb_to_intensity=False,
    )


def _unproject(camera: Camera, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(world points float64 [m, 3], their pixels [m] counted row by row) of the pixels that have a depth."""
    rows = np.flatnonzero(depth > 0)
    z = depth.reshape(-1)[rows].astype(np.float64)
    x = (rows % camera.width + 0.5 - camera.cx) / camera.fx * z
    y = (rows // camera.width + 0.5 - camera.cy) / camera.fy * z
    points = np.stack([x, y, z], axis=1)
    return points @ camera.world_from_camera[:3, :3].T + camera.world_from_camera[:3, 3], rows


def _clean(mesh: open3d.geometry.TriangleMesh, config: MeshConfig) -> open3d.geometry.TriangleMesh:
    """Without degenerate triangles, doubles, and small loose parts."""
    mesh.remove_duplicated_vertices()
    mesh.remove_degenerate_triangles()
    mesh.remove_duplicated_triangles()
    mesh.remove_non_manifold_edges()
    if len(mesh.triangles):
        part, sizes, _ = mesh.cluster_connected_triangles()
        sizes = np.asarray(sizes)
        mesh.remove_triangles_by_mask(sizes[np.asarray(part)] < config.keep * sizes.max())
    mesh.remove_unreferenced_vertices()
    return mesh
