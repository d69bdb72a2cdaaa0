"""Finding picture files, and cameras that fit them."""

from __future__ import annotations

from pathlib import Path

from scenerep.captures import picture_size
from scenerep.errors import DataError
from scenerep.geometry.cameras import Camera

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".avif")


def list_pictures(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The picture files of a folder by their suffix, sorted by path (lexicographic); hidden files are left out.

    Raises:
        DataError: the folder is not there.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", "name the folder that holds the pictures")
    files = folder.rglob("*") if recursive else folder.iterdir()
    found = [
        path
        for path in files
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def find_picture(folder: Path, name: str) -> Path | None:
    """The file `name` of `folder`; a name without suffix (Blender, instant-ngp) gets one that exists. None: no file."""
    path = folder / name
    if path.is_file():
        return path
    for suffix in SUFFIXES:
        # Not with_suffix: the stem may contain dots.
        candidate = path.parent / (path.name + suffix)
        if candidate.is_file():
            return candidate
    return None


def find_mask(root: Path, name: str) -> Path | None:
    """The mask of picture `name`: masks/NAME.png (COLMAP, OpenSfM), masks/NAME, or masks/STEM.png. None: no file."""
    relative = Path(name)
    for candidate in (f"{name}.png", name, str(relative.with_suffix(".png"))):
        path = root / "masks" / candidate
        if path.is_file():
            return path
    return None


def fit_camera(camera: Camera, picture: Path) -> Camera:
    """The camera for the size that the picture has: captures are often stored with pictures reduced after calibration.

    Raises:
        DataError: the picture has another shape (by more than rounding to whole pixels), or cannot be read.
    """
    width, height = picture_size(picture)
    # Pictures stored sideways with an EXIF rotation: load_picture hands them out as the camera wants them.
    for w, h in ((width, height), (height, width)):
        if (w, h) == (camera.width, camera.height):
            return camera
        if abs(w * camera.height - h * camera.width) <= 1.5 * max(camera.width, camera.height):
            return camera.resized(w, h)
    raise DataError(
        f"{picture}: the picture is {width}x{height}, but its camera states {camera.width}x{camera.height}",
        "use the pictures that the cameras were computed from",
    )
