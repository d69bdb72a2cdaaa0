"""What every reader checks before it allocates: bytes that are left, and how far a file may expand."""

from __future__ import annotations

from scenerep.errors import FormatError

# Splats compress 2 to 20 times. A file of constant values may do better, so small ones are free; beyond that, 100 times
# is more than any scene reaches and keeps what a hostile file can allocate in proportion to its size.
_FREE_BYTES = 64 << 20
_MAX_EXPANSION = 100


def require_bytes(data: bytes | memoryview, offset: int, size: int, what: str, file: str) -> None:
    """Raise a FormatError unless `size` bytes of `data` stand at `offset`."""
    left = max(0, len(data) - offset)
    if size > left:
        raise FormatError(file, f"{size} bytes for {what}", f"{left} bytes left", offset, "the file may be cut off")


def check_expansion(decoded: int, encoded: int, file: str, offset: int = 0) -> None:
    """Raise a FormatError if `encoded` bytes claim to unpack to more `decoded` bytes than a scene can hold."""
    allowed = _FREE_BYTES + _MAX_EXPANSION * encoded
    if decoded > allowed:
        found = f"a header that asks for {decoded} bytes"
        raise FormatError(file, f"at most {allowed} bytes out of {encoded} packed ones", found, offset)
