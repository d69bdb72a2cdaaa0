"""A scene as a folder for any static host: the page, the scene, a picture of it, and tags for social networks.

All addresses are relative, so the folder works under any path; nothing has to run on the host.
"""

from __future__ import annotations

import html
import io
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scenerep.coding import encode, quantise
from scenerep.compress.rdo.layers import layered
from scenerep.compress.views import cameras_around
from scenerep.errors import DataError
from scenerep.evaluation import to_uint8
from scenerep.geometry.cameras import Camera, camera_entry
from scenerep.io.files import replacing_folder
from scenerep.io.srz import SrzOptions, fine_quantiser, write_voxels
from scenerep.render import render, significance
from scenerep.scenes import Gaussians, MipVoxels, Voxels
from scenerep.viewer.guard import content_policy
from scenerep.viewer.offer import is_read_by_page
from scenerep.viewer.serve import SUFFIXES, page_modules

POSTER = "poster.jpg"
_POSTER_SIZE = 1200, 630  # what the networks show without cutting
_LAYERS = 5  # the first holds a sixteenth of the Gaussians: a picture before a tenth of the bytes
_SIGNIFICANCE_CAMERAS = 24


@dataclass(frozen=True)
class Publication:
    """What goes onto the page.

    scene: As the page will draw it.
    path: The file or run that it was read from.
    camera: Where the page starts, and what the poster shows.
    up: [3] unit vector.
    background: Colour behind the scene, in [0, 1].
    title: Of the page; plain text.
    url: Where the folder will be, if that is known: networks want absolute addresses.
    metadata: For the head of an .srz, where one is written.
    cameras: The scene's cameras, which tell what matters most; empty: a ring around it.
    """

    scene: Gaussians | Voxels | MipVoxels
    path: Path
    camera: Camera
    up: np.ndarray
    background: tuple[float, float, float]
    title: str
    url: str | None
    metadata: dict[str, Any]
    cameras: tuple[Camera, ...] = ()


def publish(publication: Publication, out: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write the folder, whole or not at all.

    Returns:
        `file`, `format`, `bytes` and `count` of the scene; `total_bytes` of the folder; `copied`: whether the scene is
        the very file that was given.

    Raises:
        DataError: if `out` is there and must not be replaced, or holds anything but such a folder.
    """
    p = publication
    modules = page_modules()
    if "index.html" not in modules:
        raise DataError("the viewer's page is not installed", "install scenerep again")
    with replacing_folder(out, overwrite=overwrite, ours=_is_published, what="a published scene") as folder:
        for name, (file, _) in modules.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
        copied = is_read_by_page(p.path, p.scene)
        kind = p.scene.metadata["format"] if copied else "srz"
        target = folder / f"scene.{kind}"
        if copied:
            shutil.copyfile(p.path, target)
        elif isinstance(p.scene, Gaussians):
            target.write_bytes(scene_in_layers(p.scene, p.cameras, p.metadata))
        else:
            target.write_bytes(write_voxels(p.scene, p.metadata))
        size, count = target.stat().st_size, len(p.scene)
        entry = {"id": "scene", "url": target.name, "name": p.title, "format": kind, "count": count}
        entry |= {"bytes": size, "voxels": not isinstance(p.scene, Gaussians)}
        start = {**camera_entry(p.camera), "name": "start", "split": None, "photo": None}
        told = {
            "title": p.title,
            "scenes": [entry],
            "background": list(p.background),
            "budget": None,
            "up": np.asarray(p.up, np.float64).round(6).tolist(),
            "start": 0,
            "cameras": [start],
            "live": False,
        }
        (folder / "scenes.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        (folder / POSTER).write_bytes(poster(p.scene, p.camera, p.background))
        page = folder / "index.html"
        page.write_text(
            with_tags(page.read_text("utf-8"), p.title, _describe(count, p.scene.noun, size), p.url), "utf-8"
        )
        total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "folder": str(out),
        "file": target.name,
        "format": kind,
        "bytes": size,
        "count": count,
        "total_bytes": total,
        "copied": copied,
    }


def scene_in_layers(scene: Gaussians, cameras: tuple[Camera, ...], metadata: dict[str, Any]) -> bytes:
    """The scene as an `.srz` whose renders differ by about what 8 bits round, what is most visible in front."""
    cameras = cameras or tuple(cameras_around(scene, 320, 240))
    step = max(1, len(cameras) // _SIGNIFICANCE_CAMERAS)
    importance = significance(scene, cameras[::step])
    scene = replace(scene, metadata=metadata)
    return encode(layered(quantise(scene, fine_quantiser(scene, SrzOptions())), importance, _LAYERS))


def poster(scene: Gaussians | Voxels | MipVoxels, camera: Camera, background: tuple[float, float, float]) -> bytes:
    """A JPEG of 1200 x 630 pixels with the vertical field of view of `camera`."""
    width, height = _POSTER_SIZE
    scale = height / camera.height
    wide = replace(
        camera, fx=camera.fx * scale, fy=camera.fy * scale, cx=width / 2, cy=height / 2, width=width, height=height
    )
    file = io.BytesIO()
    Image.fromarray(to_uint8(render(scene, wide, background=background).rgb)).save(file, "jpeg", quality=88)
    return file.getvalue()


def with_tags(page: str, title: str, description: str, url: str | None) -> str:
    """index.html with its own title, the tags of a link's preview, and a policy that forbids all foreign content."""
    base = "" if url is None else url.rstrip("/") + "/"
    named = {
        "description": description,
        "twitter:card": "summary_large_image",
        "twitter:title": title,
        "twitter:description": description,
        "twitter:image": base + POSTER,
    }
    graph = {
        "og:type": "website",
        "og:title": title,
        "og:description": description,
        "og:image": base + POSTER,
        "og:image:width": str(_POSTER_SIZE[0]),
        "og:image:height": str(_POSTER_SIZE[1]),
        "og:image:alt": title,
    }
    if url is not None:
        graph["og:url"] = base
    lines = [f'<meta http-equiv="Content-Security-Policy" content="{html.escape(content_policy())}">']
    lines += [f'<meta name="{name}" content="{html.escape(value)}">' for name, value in named.items()]
    lines += [f'<meta property="{name}" content="{html.escape(value)}">' for name, value in graph.items()]
    page = re.sub(r'<meta name="description"[^>]*>\n?\s*', "", page)
    page, titles = re.subn(
        r"<title>.*?</title>", lambda _: f"<title>{html.escape(title)}</title>", page, count=1, flags=re.DOTALL
    )
    # A policy in the page counts only for what stands behind it, so it comes first, right behind the encoding.
    page, heads = re.subn(r"(<meta charset=[^>]*>)", lambda m: "\n".join([m[1], *lines]), page, count=1)
    assert titles == 1 and heads == 1, "index.html has lost its title or its encoding"
    return page


def _describe(count: int, noun: str, size: int) -> str:
    return f"A 3D scene of {count:,} {noun} in {size / 1e6:.1f} MB, drawn in the browser."


def _is_published(folder: Path) -> bool:
    """Whether a folder is one of ours and holds nothing else."""
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if not file.is_dir()}
    ours = {"index.html", "scenes.json", POSTER}
    # The modules may be those of another version.
    return ours <= names and all(name.startswith("scene.") or Path(name).suffix in SUFFIXES for name in names - ours)
