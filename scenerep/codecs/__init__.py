"""Codecs: pixels in, the bytes of an `.sri` file out, and back. No torch on the decoding path.

`encode(pixels, codec="dct", quality=0.5)` and `decode(data)`; the codecs stand in scenerep/image_codecs.py.
"""

from __future__ import annotations

from scenerep.codecs.base import Goal
from scenerep.codecs.container import Head, read_head
from scenerep.codecs.files import Decoded, decode, decode_file, encode
from scenerep.image_codecs import CODECS, DEFAULT

__all__ = ["CODECS", "DEFAULT", "Decoded", "Goal", "Head", "decode", "decode_file", "encode", "read_head"]
