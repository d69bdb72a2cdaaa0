"""native/constants.h and render/constants.py hold the same values."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from scenerep.render import constants

HEADER = Path(__file__).resolve().parents[2] / "native" / "constants.h"


def _value(text: str) -> float:
    """A C float literal, or the quotient of two."""
    numerator, _, denominator = text.replace("f", "").partition("/")
    return float(numerator) / float(denominator or 1)


def test_native_constants_equal_ours():
    found = dict(re.findall(r"constexpr float k(\w+) = ([^;]+);", HEADER.read_text()))
    assert {"LowPass", "AlphaMax", "AlphaMin", "TransmittanceStop", "Near", "Clamp"} <= set(found)
    for name, text in found.items():
        ours = getattr(constants, re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper())
        assert np.float32(_value(text)) == np.float32(ours), name
