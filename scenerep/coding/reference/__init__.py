"""The coder of a cell in plain Python: the specification of native/coding_*.cpp, which writes the same bytes.

Slow (about a thousand Gaussians a second) and obvious; what a decoder in another language should be written from. All
numbers are integers. `>>` and `//` round down, also below zero.
"""

from scenerep.coding.reference.cell import decode_cell, encode_cell

__all__ = ["decode_cell", "encode_cell"]
