"""How good a scene is: measured on held-out photographs, and shown beside them."""

from scenerep.evaluation.measure import Evaluation, ViewScore, evaluate, flatten
from scenerep.evaluation.pictures import colour_depth, heat, to_uint8
from scenerep.evaluation.sheet import contact_sheet, pick_views

__all__ = [
    "Evaluation",
    "ViewScore",
    "colour_depth",
    "contact_sheet",
    "evaluate",
    "flatten",
    "heat",
    "pick_views",
    "to_uint8",
]
