"""The `dct` codec: blocks of 4 to 32, predicted, cosine-transformed, quantised by rate and distortion, and coded by
mixed adaptive contexts whose start is learned. After Duong et al., "Multi-rate adaptive transform coding for video
compression" (ICASSP 2023): one model for all rates. Encoder and decoder: native/image_*; formats: docs/image_codec.md.
"""

from __future__ import annotations

from scenerep.codecs.dct.codec import decode, encode
from scenerep.codecs.dct.settings import DctSettings

__all__ = ["DctSettings", "decode", "encode"]
