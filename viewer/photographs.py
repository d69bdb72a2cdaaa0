"""The photographs of a capture as files for the page: lossless to measure against, and small ones to look at.

A photograph of 12 megapixels is 20 MB as a PNG; what is laid over a canvas of 1280 pixels, or shown as a thumbnail,
need not be. Small ones come in a few widths only, so that what is kept of them stays useful and bounded.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict

from PIL import Image

from scenerep.viewer.offer import Surroundings

WIDTHS = (160, 320, 640, 1280, 2560)
_KEPT = 64 << 20  # bytes of small ones
_QUALITY = 88


class Photographs:
    """Those of one page; may be asked from several threads."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        capture = self._surroundings.capture
        return 0 if capture is None else len(capture.views)

    def lossless(self, i: int) -> bytes:
        """A PNG of photograph `i`, pixel for pixel what the training sees; the page measures against it.

        Raises:
            DataError: if the picture cannot be read.
        """
        file = io.BytesIO()
        Image.fromarray(self._surroundings.photograph(i)).save(file, "png", compress_level=1)
        return file.getvalue()

    def small(self, i: int, width: int) -> bytes:
        """A JPEG of photograph `i` in the first of `WIDTHS` that is not below `width`, but never enlarged.

        Raises:
            DataError: if the picture cannot be read.
        """
        wanted = next((w for w in WIDTHS if w >= width), WIDTHS[-1])
        with self._lock:
            if (i, wanted) in self._kept:
                self._kept.move_to_end((i, wanted))
                return self._kept[i, wanted]
        picture = Image.fromarray(self._surroundings.photograph(i))
        if picture.width > wanted:
            height = max(1, round(picture.height * wanted / picture.width))
            picture = picture.resize((wanted, height), Image.Resampling.LANCZOS)
        file = io.BytesIO()
        picture.save(file, "jpeg", quality=_QUALITY)
        with self._lock:
            self._kept[i, wanted] = file.getvalue()
            while sum(map(len, self._kept.values())) > _KEPT:
                self._kept.popitem(last=False)
        return file.getvalue()
