"""The header of a PLY file: which elements follow, where their bytes start, and how long a row is.

Layout (Turk, "The PLY Polygon File Format", 1994): text lines from `ply` to `end_header`, then the elements in the
order of the header, as text or as packed binary rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from scenerep.errors import FormatError

# Both spellings of the scalar types, as numpy codes without a byte order.
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4",
    "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}

# Real headers of splat files are 2 KB; the bound keeps the search for its end short in a large file of another kind.
_MAX_HEADER_BYTES = 1 << 20
_MAX_COUNT_DIGITS = 18


@dataclass(frozen=True)
class Element:
    """One `element` line and its properties: pairs of name and numpy code; a list property has the code None."""

    name: str
    count: int
    properties: tuple[tuple[str, str | None], ...]
    offset: int  # byte offset of the `element` line, for error messages

    @property
    def row_bytes(self) -> int | None:
        """Bytes of one binary row, or None where a list makes rows differ."""
        codes = [code for _, code in self.properties]
        return None if None in codes else sum(int(code[1]) for code in codes if code is not None)


@dataclass(frozen=True)
class Header:
    """order: "" for text, "<" or ">" for binary; body: byte offset of the first row."""

    order: str
    elements: tuple[Element, ...]
    comments: tuple[str, ...]
    body: int


def parse_header(data: bytes, file: str) -> Header:
    """Read the header at the start of `data`.

    Raises:
        FormatError: with the byte offset of the line at fault.
    """
    if not data.startswith((b"ply\n", b"ply\r")):
        raise FormatError(file, "the line 'ply'", repr(bytes(data[:8])), 0)
    order: str | None = None
    comments: list[str] = []
    elements: list[Element] = []
    start = 0
    while True:
        stop = data.find(b"\n", start, start + _MAX_HEADER_BYTES)
        if stop < 0 or stop > _MAX_HEADER_BYTES:
            raise FormatError(file, "a line 'end_header'", "the end of the header's space", start)
        try:
            line = data[start:stop].decode("utf-8").strip()
        except UnicodeDecodeError:
            raise FormatError(file, "a header line of text", "bytes that are no text", start) from None
        words = line.split()
        keyword = words[0] if words else ""
        if keyword == "end_header":
            break
        if keyword == "format":
            if len(words) < 2 or words[1] not in _ORDERS:
                raise FormatError(file, f"a format of {', '.join(_ORDERS)}", repr(line), start)
            order = _ORDERS[words[1]]
        elif keyword == "comment":
            comments.append(line[len("comment") :].strip())
        elif keyword == "element":
            elements.append(_element(words, elements, line, start, file))
        elif keyword == "property":
            if not elements:
                raise FormatError(file, "an element before its properties", repr(line), start)
            elements[-1] = _with_property(elements[-1], words, line, start, file)
        elif keyword not in ("ply", "obj_info", ""):
            raise FormatError(file, "format, comment, element, property or end_header", repr(line[:60]), start)
        start = stop + 1
    if order is None:
        raise FormatError(file, "a format line", "none in the header", start)
    return Header(order, tuple(elements), tuple(comments), stop + 1)


def _element(words: list[str], before: list[Element], line: str, offset: int, file: str) -> Element:
    # isascii: isdecimal alone accepts the digits of other scripts.
    if len(words) != 3 or not (words[2].isascii() and words[2].isdecimal() and len(words[2]) <= _MAX_COUNT_DIGITS):
        raise FormatError(file, "'element <name> <count>'", repr(line[:60]), offset)
    if any(element.name == words[1] for element in before):
        raise FormatError(file, "every element once", f"{words[1]!r} again", offset)
    return Element(words[1], int(words[2]), (), offset)


def _with_property(element: Element, words: list[str], line: str, offset: int, file: str) -> Element:
    code: str | None
    if len(words) == 3 and words[1] in _TYPES:
        code = _TYPES[words[1]]
    elif len(words) == 5 and words[1] == "list" and words[2] in _TYPES and words[3] in _TYPES:
        code = None
    else:
        raise FormatError(file, "'property <type> <name>'", repr(line[:60]), offset)
    if any(name == words[-1] for name, _ in element.properties):
        raise FormatError(file, "every property once", f"{words[-1]!r} again", offset)
    return Element(element.name, element.count, (*element.properties, (words[-1], code)), element.offset)
