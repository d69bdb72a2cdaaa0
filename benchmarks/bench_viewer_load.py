"""How long the page's own thread is held up while a large scene is loaded, and how long its worker sorts.

    python benchmarks/bench_viewer_load.py --count 500000 --json

The whole page opens a scene of so many Gaussians, as PLY and as an .srz in layers, in software-rendered Chromium. Long
tasks are those that the browser reports: 50 ms and more on the page's thread, from its start until the scene is drawn
in full; `idle_ms` are those of the same page for as long without a scene, which is what the machine does by itself.
The sort is that of render/sort_worker.js, whole float32 depths, over random places.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench_formats import synthetic
from bench_viewer import CHROMIUM, FLAGS, WEB, serve
from common import markdown, write_results

from scenerep.io.scene_files import write_scene
from scenerep.viewer.publish import scene_in_layers

_WATCH = """
  globalThis.tasks = [];
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) globalThis.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });
"""
_LOADED = """() => {
  const s = globalThis.scenerep?.stats().scenes[0];
  return Boolean(s?.complete && s.drawn > 0.9 * s.splats);
}"""
_SORT = """async ({ count, rounds }) => {
  const { Sorter } = await import("./render/sorter.js");
  const sorter = new Sorter(count, () => {});
  const means = new Float32Array(3 * count);
  for (let i = 0, seed = 1; i < means.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    means[i] = seed / 2 ** 31 - 1;
  }
  sorter.add(means, new Float32Array(count).fill(1));
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const { milliseconds, order } = await sorter.ask([0.6, 0, 0.8, 4 + 0.1 * i]);
    if (order.length !== count) throw new Error("not all are sorted");
    times.push(milliseconds);
  }
  return times;
}"""


def page_of(browser: Any, address: str, query: str) -> Any:
    page = browser.new_page(viewport={"width": 640, "height": 480})
    page.add_init_script(_WATCH)
    page.goto(f"{address}/web/index.html{query}")
    return page


def loading(browser: Any, address: str, name: str) -> dict[str, Any]:
    """Long tasks of the page while it loads a scene, and for as long without one."""
    page = page_of(browser, address, f"?scene=/{name}")
    page.wait_for_function(_LOADED, timeout=120_000, polling=200)
    page.wait_for_timeout(500)
    (scene,) = page.evaluate("() => scenerep.stats().scenes")
    tasks = page.evaluate("() => tasks.map(([start, duration]) => [Math.round(start), Math.round(duration)])")
    page.close()
    idle = page_of(browser, address, "")
    idle.wait_for_timeout(scene["loadMs"] + 500)
    noise = idle.evaluate("() => tasks.map(([, duration]) => Math.round(duration))")
    idle.close()
    return {
        "scene": name,
        "splats": scene["splats"],
        "first_picture_s": round(scene["firstMs"] / 1000, 2),
        "loaded_s": round(scene["loadMs"] / 1000, 2),
        "long_tasks_ms": [duration for _, duration in tasks],
        "at_ms": [start for start, _ in tasks],
        "idle_ms": noise,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500_000)
    parser.add_argument("--degree", type=int, default=2)
    parser.add_argument("--sort", type=int, default=1_000_000, help="Gaussians that the worker sorts")
    parser.add_argument("--keep", type=Path, help="folder for the scenes, to use them again")
    parser.add_argument("--json", action="store_true", help="print JSON only, one object a line; writes no results")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        folder = args.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        names = [f"{args.count}.ply", f"{args.count}.srz"]
        if not all((folder / name).exists() for name in names):
            scene = synthetic(args.count, args.degree)
            write_scene(scene, folder / names[0])
            (folder / names[1]).write_bytes(scene_in_layers(scene, (), {}))
        if not (folder / "web").exists():
            (folder / "web").symlink_to(WEB)
        address = serve(folder)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        rows = [loading(browser, address, name) for name in names]
        page = page_of(browser, address, "")
        times = page.evaluate(_SORT, {"count": args.sort, "rounds": 9})
        browser.close()
    sort = {"sorted": args.sort, "median_ms": round(statistics.median(times), 1), "worst_ms": round(max(times), 1)}
    if args.json:
        print(*map(json.dumps, [*rows, sort]), sep="\n")
        return
    note = f"Sort in the worker: {json.dumps(sort)}"
    write_results("viewer_load", rows, note)
    print(markdown(rows), note, sep="\n\n")


if __name__ == "__main__":
    main()
