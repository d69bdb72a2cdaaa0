"""Scenes changed by pure functions: moved, cut, thinned and joined. Every function gives a new scene."""

from scenerep.editing.cut import crop_box, crop_sphere, remove_floaters
from scenerep.editing.reduce import cut_degree, decimate, merge
from scenerep.editing.transform import centre, orient, recentre, transform

__all__ = [
    "centre",
    "crop_box",
    "crop_sphere",
    "cut_degree",
    "decimate",
    "merge",
    "orient",
    "recentre",
    "remove_floaters",
    "transform",
]
