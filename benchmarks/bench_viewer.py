"""The page beside Spark (three.js): the same scenes in the same software-rendered browser. The table of docs/viewer.md.

    npm install --prefix .node @sparkjsdev/spark@2.2.0 three@0.180
    python benchmarks/bench_viewer.py --scenes scene.ply --spark .node/node_modules --json

For each scene: seconds until the first picture and until all is there, milliseconds of a frame (drawing and reading a
pixel back, the order of the splats being known), and PSNR of the picture against our native renderer, from the cameras
of a ring around the scene. Rounds alternate between the viewers. Without --spark only the page is measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from common import markdown, write_results

from scenerep.compress.views import cameras_around
from scenerep.geometry.cameras import Camera
from scenerep.io import read_scene
from scenerep.render import render

WEB = Path(__file__).resolve().parents[1] / "viewer" / "web"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-quic", "--use-gl=angle", "--use-angle=gl-egl", "--ignore-gpu-blocklist"]
SPARK = {
    "Spark, default": {},
    "Spark, tuned": {"sortRadial": False, "preBlurAmount": 0.3, "blurAmount": 0.0, "maxStdDev": 3.0},
}
_FRAMES = 12

_OURS = """async ({ url, cameras, frames }) => {
  const { Renderer } = await import("/web/render/webgl2.js");
  const { openScene } = await import("/web/load/load.js");
  const { urlSource } = await import("/web/load/source.js");
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  [canvas.width, canvas.height] = [cameras[0].width, cameras[0].height];
  const renderer = new Renderer(canvas, { exact: true });
  const began = performance.now();
  let scene, first = null, busy = false;
  const show = async (camera) => {
    const { order } = await scene.sorter.ask(camera.viewFromWorld.slice(8, 12));
    scene.setOrder(order);
    renderer.frame([{ scene }], camera);
    renderer.gl.readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
  };
  const early = async () => {
    if (busy || first !== null) return;
    busy = true;
    await show(cameras[0]);
    first ??= performance.now() - began;
  };
  await openScene(await urlSource(url), {
    onHead: (head) => (scene = renderer.createScene(head)),
    onChunk: (chunk) => { scene.append(chunk); early(); },
    onLayer: ({ gain }) => (scene.gain = gain),
  });
  await show(cameras[0]);
  const all = performance.now() - began;
  const times = [];
  for (let i = 0; i < frames; i++) {
    const start = performance.now();
    renderer.frame([{ scene }], cameras[0]);
    renderer.gl.readPixels(0, 0, 1, 1, 6408, 5121, new Uint8Array(4));
    times.push(performance.now() - start);
  }
  const pictures = [];
  for (const camera of cameras) pictures.push(Array.from(await renderer.capture(scene, { camera })));
  return { first: Math.min(first, all), all, times, pictures };
}"""

_SPARK = """async ({ url, cameras, frames, options }) => {
  const THREE = await import("three");
  const { SparkRenderer, SplatMesh } = await import("@sparkjsdev/spark");
  const canvas = document.createElement("canvas");
  document.body.append(canvas);
  const [width, height] = [cameras[0].width, cameras[0].height];
  const renderer = new THREE.WebGLRenderer({ canvas, antialias: false, preserveDrawingBuffer: true });
  renderer.setPixelRatio(1);
  renderer.setSize(width, height);
  renderer.setClearColor(0, 1);
  const world = new THREE.Scene();
  const spark = new SparkRenderer({ renderer, ...options });
  world.add(spark);
  const gl = renderer.getContext();
  const place = ({ fy, height: h, viewFromWorld: m }) => {
    const fov = (2 * Math.atan((0.5 * h) / fy) * 180) / Math.PI;
    const camera = new THREE.PerspectiveCamera(fov, width / height, 0.01, 1e4);
    const view = new THREE.Matrix4().set(...m).invert().multiply(new THREE.Matrix4().makeScale(1, -1, -1));
    view.decompose(camera.position, camera.quaternion, camera.scale);
    camera.updateMatrixWorld();
    return camera;
  };
  const pixels = () => {
    const out = new Uint8Array(4 * width * height);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, out);
    return out;
  };
  const frame = (camera) => {
    renderer.render(world, camera);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array(4));
  };
  const rest = () => new Promise((resolve) => setTimeout(resolve, 60));
  const began = performance.now();
  const mesh = new SplatMesh({ url });
  world.add(mesh);
  await mesh.initialized;
  const camera = place(cameras[0]);
  // It sorts in a worker and shows the scene some frames later.
  const empty = () => pixels().every((v, i) => (i & 3) === 3 || v === 0);
  do {
    frame(camera);
    await rest();
    frame(camera);
  } while (empty() && performance.now() - began < 30000);
  if (empty()) throw new Error("Spark shows nothing");
  const all = performance.now() - began;
  const times = [];
  for (let i = 0; i < 20; i++) { frame(camera); await rest(); }
  for (let i = 0; i < frames; i++) {
    const start = performance.now();
    frame(camera);
    times.push(performance.now() - start);
    await rest();
  }
  const pictures = [];
  for (const one of cameras) {
    const placed = place(one);
    for (let i = 0; i < 25; i++) { frame(placed); await rest(); }
    const p = pixels();
    const turned = new Uint8Array(p.length);
    const row = 4 * width;
    for (let y = 0; y < height; y++) turned.set(p.subarray(row * y, row * (y + 1)), row * (height - 1 - y));
    pictures.push(Array.from(turned));
  }
  return { first: all, all, times, pictures };
}"""


class _Handler(SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return "text/javascript" if str(path).endswith(".js") else super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        pass


def serve(folder: Path) -> str:
    """The address of a static server of a folder, in a thread of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def site(folder: Path, scene: Path, spark: Path | None) -> None:
    (folder / "web").symlink_to(WEB)
    (folder / scene.name).symlink_to(scene.resolve())
    imports = {}
    if spark is not None:
        (folder / "node").symlink_to(spark.resolve())
        imports = {
            "three": "/node/three/build/three.module.js",
            "three/addons/": "/node/three/examples/jsm/",
            "@sparkjsdev/spark": "/node/@sparkjsdev/spark/dist/spark.module.js",
        }
    imported = f'<script type="importmap">{json.dumps({"imports": imports})}</script>'
    (folder / "index.html").write_text(f"<!doctype html><html><head>{imported}</head><body></body></html>")


def described(camera: Camera) -> dict[str, Any]:
    lens = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy}
    return {
        **lens,
        "width": camera.width,
        "height": camera.height,
        "viewFromWorld": camera.camera_from_world.ravel().tolist(),
    }


def psnr(picture: Sequence[int], truth: np.ndarray) -> float:
    found = np.asarray(picture, np.float64).reshape(*truth.shape[:2], 4)[..., :3] / 255
    return -10 * np.log10(np.mean((found - truth) ** 2))


def measure(path: Path, spark: Path | None, rounds: int, width: int, height: int) -> list[dict[str, Any]]:
    from playwright.sync_api import sync_playwright

    scene = read_scene(path)
    cameras = cameras_around(scene, width, height)[:3]
    truths = [np.clip(render(scene, camera).rgb, 0, 1) for camera in cameras]
    viewers: dict[str, tuple[str, dict[str, Any]]] = {"scenerep": (_OURS, {})}
    # Spark 2.2 reads no .srz.
    if spark is not None and path.suffix != ".srz":
        viewers |= {name: (_SPARK, {"options": options}) for name, options in SPARK.items()}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in viewers}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        site(Path(folder), path, spark)
        address = serve(Path(folder))
        for _ in range(rounds):
            for name, (script, extra) in viewers.items():
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page()
                page.goto(address)
                argument = {
                    "url": f"/{path.name}",
                    "cameras": [described(c) for c in cameras],
                    "frames": _FRAMES,
                    **extra,
                }
                found[name].append(page.evaluate(script, argument))
                browser.close()
    return [
        {
            "scene": path.name,
            "splats": len(scene),
            "viewer": name,
            "first_picture_s": round(statistics.median(r["first"] for r in runs) / 1000, 2),
            "loaded_s": round(statistics.median(r["all"] for r in runs) / 1000, 2),
            "frame_ms": round(statistics.median(t for r in runs for t in r["times"]), 1),
            "psnr": round(statistics.mean(psnr(p, t) for p, t in zip(runs[-1]["pictures"], truths)), 2),
        }
        for name, runs in found.items()
    ]


def bundle() -> dict[str, int]:
    """Bytes of the page's own files, as they are and gzipped."""
    files = [file for file in sorted(WEB.rglob("*")) if file.suffix in (".js", ".html", ".css", ".svg")]
    return {
        "files": len(files),
        "bytes": sum(file.stat().st_size for file in files),
        "gzip": sum(len(gzip.compress(file.read_bytes())) for file in files),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--spark", type=Path, help="a node_modules folder with @sparkjsdev/spark and three")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--json", action="store_true", help="print JSON only, one object a line")
    args = parser.parse_args()
    width, height = (int(v) for v in args.size.split("x"))
    rows = []
    for path in args.scenes:
        rows += measure(path, args.spark, args.rounds, width, height)
        if args.json:
            for row in rows[-3:]:
                print(json.dumps(row), flush=True)
    note = f"The page itself: {json.dumps(bundle())}"
    if not args.json:
        write_results("viewer", rows, note)
        print(markdown(rows), note, sep="\n\n")


if __name__ == "__main__":
    main()
