"""Codecs: pixels in, the bytes of an `.sri` file out, and back. No torch on the decoding path.

`encode(pixels, codec="dct", quality=0.5)` and `decode(data)`; the codecs stand in `scenerep.codecs.base.CODECS`.
"""

from __future__ import annotations

from scenerep.codecs.base import CODECS, DEFAULT, Goal
from scenerep.codecs.container import Head, read_head
from scenerep.codecs.files import Decoded, decode, decode_file, encode

__all__ = ["CODECS", "DEFAULT", "Decoded", "Goal", "Head", "decode", "decode_file", "encode", "read_head"]
