"""Coding: splat scenes as integers, and those integers as few bytes. No torch."""

from __future__ import annotations

from scenerep.coding.canonical import canonical_form
from scenerep.coding.kinds import Decoded, decode_file, summarise
from scenerep.coding.quantised import LayerGain, QuantisedSplats, dequantise, quantise
from scenerep.coding.quantiser import Quantiser, focus_of, grid_for
from scenerep.coding.scene_codec import decode, encode, stream_bits, symbol_bits

__all__ = [
    "Decoded",
    "LayerGain",
    "QuantisedSplats",
    "Quantiser",
    "canonical_form",
    "decode",
    "decode_file",
    "dequantise",
    "encode",
    "focus_of",
    "grid_for",
    "quantise",
    "stream_bits",
    "summarise",
    "symbol_bits",
]
