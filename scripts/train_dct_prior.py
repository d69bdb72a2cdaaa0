"""Learns where the adaptive contexts of the `dct` image codec start: scenerep/codecs/dct/prior.npz.

    python scripts/train_dct_prior.py DATA

DATA: folder with lund_street, livingroom_rgbd, books_dynamic and videos/{bigbuckbunny,dog-example}.mp4, whose licences
permit it. Pictures are halved, so that what their own compression left is not learned. The models run through all
pictures at several qualities, in an order drawn at random, and keep what they know: `n`, how much a context trusts its
start, is cut at CAUTION bits.
"""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image

from scenerep.codecs.dct.codec import Planner, step_of
from scenerep.codecs.dct.prior import Prior, save, untrained
from scenerep.codecs.dct.settings import DctSettings

QUALITIES = (12, 20, 26, 32, 38, 44, 50, 60, 75)
CAUTION = 24
WEIGHTS_SEEN = 64


def pictures(data: Path) -> list[np.ndarray]:
    """uint8 [h, w, 3] each."""
    files = [
        *sorted((data / "lund_street").rglob("*.jpg"))[::2],
        *sorted((data / "livingroom_rgbd").rglob("*.jpg"))[::6],
        *sorted((data / "books_dynamic").rglob("*.jpg"))[::14],
    ]
    found = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    for name in ("bigbuckbunny", "dog-example"):
        frames = iio.imiter(data / "videos" / f"{name}.mp4", plugin="pyav")
        found += [frame for k, frame in enumerate(frames) if k % 24 == 12]
    return [
        np.asarray(Image.fromarray(f).resize((f.shape[1] // 2, f.shape[0] // 2), Image.Resampling.LANCZOS))
        for f in found
    ]


def main() -> None:
    sources = pictures(Path(sys.argv[1]))
    rng = np.random.default_rng(1)
    todo = [(i, q) for i in range(len(sources)) for q in QUALITIES]
    prior = untrained()
    for done, index in enumerate(rng.permutation(len(todo))):
        i, quality = todo[index]
        planner = Planner(sources[i], DctSettings(preset="fast"), prior)
        _, _, models = planner.code(planner.header(step_of(quality + rng.uniform(-3, 3), False)))
        prior = Prior(*models, prior.profiles)
        if done % 50 == 0:
            print(f"{done} of {len(todo)}", file=sys.stderr)
    prior.slots[:, 1] = np.minimum(prior.slots[:, 1], CAUTION)
    for weights in (prior.weights, prior.syntax):
        weights[:, -1] = np.minimum(weights[:, -1], WEIGHTS_SEEN)
    save(prior)


if __name__ == "__main__":
    main()
