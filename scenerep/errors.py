"""Errors that a user can act on.

Every one carries a message (what is wrong, with the file and the place) and a hint (what to do about it).
The command line prints both and exits with 1; anything else that escapes is a bug of ours.
"""

from __future__ import annotations

from pathlib import Path


class SceneRepError(Exception):
    """Base of all errors shown to users.

    Args:
        message: What is wrong: names the file, the value, the place.
        hint: What the user can do about it; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(SceneRepError):
    """An option or a saved configuration has a wrong type, value or key."""


class DataError(SceneRepError):
    """A capture or a picture is missing, unreadable or unusable."""


class DeviceError(SceneRepError):
    """A device, a compiler or an optional package that was asked for is not there."""


class FormatError(SceneRepError):
    """A file breaks its format.

    Args:
        file: Path or name of the file.
        expected: What the format asks for.
        found: What stands there instead.
        offset: Byte offset of the fault, if known.
    """

    def __init__(self, file: str | Path, expected: str, found: str, offset: int | None = None, hint: str = "") -> None:
        place = "" if offset is None else f" at byte {offset}"
        super().__init__(f"{file}{place}: expected {expected}, found {found}", hint)
        self.file = str(file)
        self.expected = expected
        self.found = found
        self.offset = offset
