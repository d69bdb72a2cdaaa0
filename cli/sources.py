"""What `eval`, `render`, `export` and `view` start from: a run or a scene file, and the capture that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scenerep.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np

    from scenerep.captures import Capture, Points
    from scenerep.evaluation.pictures import Rgb
    from scenerep.geometry.cameras import Camera
    from scenerep.runs import Run
    from scenerep.scenes import Gaussians, MipVoxels, NeuralField, Scene, Voxels

Background = Literal["auto", "white", "black"]
_COLOURS: dict[str, Rgb] = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0)}
CAMERAS_FILE = "cameras.json"


@dataclass(frozen=True)
class Source:
    """A scene, and the run that it comes from, if it comes from one.

    network: The scene if it is a coordinate network, or the one that it was baked from: radiance fields are drawn from
        a grid of voxels.
    """

    path: Path
    scene: Scene
    run: Run | None
    network: NeuralField | None = None

    @property
    def gaussians(self) -> Gaussians:
        """The scene, for what works on splats only.

        Raises:
            ConfigError: if it is of another kind.
        """
        from scenerep.scenes import Gaussians, NeuralField

        if isinstance(self.scene, Gaussians):
            return self.scene
        if isinstance(self.scene, NeuralField):
            raise ConfigError(
                f"{self.path} holds a network of a {self.scene.subject}, and this works on splats only",
                "write it as a picture or a mesh: scenerep export",
            )
        raise ConfigError(
            f"{self.path} holds {self.scene.noun}, and this works on splats only",
            f"make splats of it: scenerep distill {self.path} --to splats",
        )

    def positions(self) -> np.ndarray:
        """float [n, 3]: the places of all Gaussians or voxels; of a network the corners of its box, [2, 2 or 3]."""
        from scenerep.scenes import Gaussians, NeuralField

        if isinstance(self.scene, Gaussians):
            return self.scene.means
        if isinstance(self.scene, NeuralField):
            return self.scene.box
        from scenerep.voxels.space import vertex_positions

        return vertex_positions(self.scene)

    def points(self) -> np.ndarray:
        """float [m, 3]: where the scene is. Faint Gaussians and thin voxels, which float where nothing is, left out."""
        from scenerep.scenes import Gaussians, NeuralField

        if isinstance(self.scene, NeuralField):
            return self.scene.box
        if isinstance(self.scene, Gaussians):
            return self.scene.means[self.scene.opacity_logits > 0]
        from scenerep.voxels.space import opaque

        return self.positions()[opaque(self.scene)]

    def capture(self, data: Path | None, max_side: int | None = None) -> Capture:
        """The capture at `data`, or else the run's own, as the run was trained on it.

        Raises:
            DataError: if neither is there.
        """
        from scenerep.data_tools.open import open_capture

        if data is None and self.run is None:
            raise DataError(f"{self.path} does not say which capture it was made from", "name it with --data")
        if self.run is None:
            assert data is not None
            return open_capture(data, max_side=max_side)
        place = data or self.run.data
        if not place.exists():
            raise DataError(f"{place}: the capture of {self.path} is not there", "say where it is now with --data")
        side = self.run.max_side if max_side is None else max_side
        return open_capture(place, max_side=side, test_every=self.run.test_every)

    def capture_if_any(self, data: Path | None) -> Capture | None:
        """The same, but None where nobody has asked for a capture and it cannot be opened."""
        if data is not None:
            return self.capture(data)
        try:
            return self.capture(None)
        except DataError:
            return None

    def cameras(self, capture: Capture | None) -> list[Camera]:
        """Training cameras: of the capture, else those kept in the run, else a ring around the scene."""
        if capture is not None:
            return [capture.camera(i) for i in (capture.train or range(len(capture.views)))]
        if self.run is not None and (self.run.path / CAMERAS_FILE).is_file():
            from scenerep.io.camera_path import read_camera_path

            return read_camera_path(self.run.path / CAMERAS_FILE)[0]
        from scenerep.geometry.layout import surrounding_cameras

        return surrounding_cameras(self.points())

    def background(self, choice: Background) -> Rgb | None:
        """The colour asked for, else that of the training; None: white behind pictures with alpha, else black."""
        if choice == "auto" and self.run is not None:
            return _COLOURS.get(str(self.run.config.get("background")))
        if choice == "auto":
            return _colour(self.scene.metadata.get("background"))
        return _COLOURS.get(choice)

    def visible_background(self, choice: Background, capture: Capture | None) -> Rgb:
        """The same, decided by the capture's first photograph where nobody has."""
        colour = self.background(choice)
        if colour is None:
            has_alpha = capture is not None and capture.image(0).shape[2] == 4
            colour = _COLOURS["white" if has_alpha else "black"]
        return colour

    def viewer_metadata(self, capture: Capture | None, background: Rgb) -> dict[str, Any]:
        """What a viewer starts from, to be written into a file: cameras, up, the colour behind the scene."""
        from scenerep.geometry.cameras import camera_entry
        from scenerep.geometry.layout import up_vector

        cameras = self.cameras(capture)
        chosen = cameras[:: max(1, len(cameras) // 2)][:2]
        return {
            "background": list(background),
            "up": up_vector(cameras).round(5).tolist(),
            "cameras": [camera_entry(camera) for camera in chosen],
        }

    def viewer_cameras(self) -> list[Camera]:
        """Cameras that a run or a file brings along; none if a viewer has to find a place by itself."""
        from scenerep.geometry.cameras import camera_from_entry

        if self.run is not None and (self.run.path / CAMERAS_FILE).is_file():
            return self.cameras(None)
        entries = self.scene.metadata.get("cameras")
        found = [camera_from_entry(entry) for entry in entries] if isinstance(entries, list) else []
        return [camera for camera in found if camera is not None]

    def viewer_up(self) -> np.ndarray | None:
        """[3] unit vector that the file says is up; None if it does not say."""
        import numpy as np

        value = self.scene.metadata.get("up")
        if not isinstance(value, list) or len(value) != 3 or not all(isinstance(x, int | float) for x in value):
            return None
        length = float(np.linalg.norm(value))
        return np.array(value) / length if 0.5 < length < 2 else None


def _colour(value: Any) -> Rgb | None:
    """A colour from a file's metadata; None if it is none."""
    if not isinstance(value, list) or len(value) != 3:
        return None
    if not all(isinstance(channel, int | float) and 0 <= channel <= 1 for channel in value):
        return None
    red, green, blue = map(float, value)
    return red, green, blue


def open_source(path: Path) -> Source:
    """A run's folder, a scene of any format (file or SOG folder), a point cloud or a COLMAP model.

    Points become round Gaussians as wide as the space between neighbours.

    Raises:
        DataError: if there is nothing of the kind; FormatError if the file is broken.
    """
    from scenerep.cli.common import say
    from scenerep.io.scene_files import is_scene_folder, read_scene

    points = _points(path)
    if points is not None:
        import numpy as np

        from scenerep.splats.config import InitConfig
        from scenerep.splats.initialise import initial_gaussians

        extent = float(np.linalg.norm(np.ptp(points.xyz, axis=0))) if len(points) else 0.0
        config = InitConfig(points=len(points))
        say(f"note: {path} holds points, not Gaussians: they become round ones as wide as the space between neighbours")
        return Source(path, initial_gaussians(points, config, 0, extent, len(points), np.random.default_rng(0)), None)
    if path.is_dir() and not is_scene_folder(path):
        from scenerep.runs import Run

        run = Run.open(path)
        return _source(path, run.scene(), run)
    scene = read_scene(path)
    for key, value in scene.metadata.items():
        # `info` tells these; all that stands in an .srz was put there by its writer.
        if key not in ("format", "spz_version") and scene.metadata["format"] != "srz":
            say(f"note: {path}: {key.replace('_', ' ')}: {', '.join(value) if isinstance(value, tuple) else value}")
    return _source(path, scene, None)


def _source(path: Path, scene: Scene, run: Run | None) -> Source:
    from scenerep.scenes import RADIANCE, NeuralField

    if not isinstance(scene, NeuralField):
        return Source(path, scene, run)
    if scene.subject != RADIANCE:
        return Source(path, scene, run, scene)
    from scenerep.implicit.bake import bake

    return Source(path, bake(scene), run, scene)


def _points(path: Path) -> Points | None:
    """The points of a point cloud or of a COLMAP model; None for anything else."""
    if path.is_dir():
        from scenerep.data_tools.readers.colmap_model import is_model, read_model

        if not is_model(path):
            return None
        from scenerep.captures import Points

        model = read_model(path)
        return Points(model.xyz.astype("float32"), model.rgb)
    from scenerep.io.point_clouds import is_point_cloud, read_points

    return read_points(path) if path.is_file() and is_point_cloud(path) else None


def require_content(source: Source) -> None:
    """Raise a ConfigError if the scene is empty: there is nothing to measure or to show."""
    if len(source.scene) == 0:
        raise ConfigError(f"{source.path} holds no {source.scene.noun}", "train it on, or choose another file")


def require_views(source: Source) -> Gaussians | Voxels | MipVoxels:
    """The scene, for what draws it; a ConfigError if it is a network."""
    from scenerep.scenes import NeuralField

    if isinstance(source.scene, NeuralField):
        hint = "scenerep export writes its picture or mesh"
        raise ConfigError(f"{source.path} holds a network, which has no views to draw", hint)
    return source.scene
