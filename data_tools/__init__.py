"""Capture preprocessing: photographs, videos and other tools' formats to captures."""

from scenerep.data_tools.open import open_capture

__all__ = ["open_capture"]
