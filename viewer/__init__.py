"""Scenes in a browser: our own page with its server, and viser's page, which is loaded only when it is asked for."""

from scenerep.viewer.live import LiveView
from scenerep.viewer.offer import Offer, Surroundings, offer_scene
from scenerep.viewer.serve import PageServer
from scenerep.viewer.server import SceneServer

__all__ = ["LiveView", "Offer", "PageServer", "SceneServer", "Surroundings", "offer_scene"]
