"""The world that the project draws for itself: the same seed gives the same pictures, everywhere and for ever."""

from .anatomy import NAMES, TAXA, Anatomy, is_taxon
from .clutter import CLUTTER_KINDS, ClutterItem, clutter_kind, copied, draw_clutter, encoded
from .scenes import KINDS, Drawing, draw_species, draw_wide

__all__ = [
    "CLUTTER_KINDS",
    "KINDS",
    "NAMES",
    "TAXA",
    "Anatomy",
    "ClutterItem",
    "Drawing",
    "clutter_kind",
    "copied",
    "draw_clutter",
    "draw_species",
    "draw_wide",
    "encoded",
    "is_taxon",
]
