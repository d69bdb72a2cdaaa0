"""scenerep: photographs in, compact 3D scenes out."""

__version__ = "0.1.0"
