"""The `gaussian2d` codec: a picture as a sum of 2-D Gaussians, fitted to what the file will say of them.

After GaussianImage (Zhang et al., ECCV 2024): eight numbers a Gaussian, no opacity, no order. Different from it: the
number comes from the size that is wanted, Gaussians are placed where the picture and later the error is, the free order
is that of a Morton curve, shapes have logarithmic steps, all is entropy-coded, and the decoder has integers only.
"""

from __future__ import annotations

from scenerep.codecs.gaussian2d.codec import Gaussian2dSettings, decode, encode

__all__ = ["Gaussian2dSettings", "decode", "encode"]
