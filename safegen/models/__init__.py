"""Base models behind one protocol; the only folder that imports diffusers."""

from safegen.models.base import BaseModel, Drawing, DrawRequest, TextReading, TrainableModel
from safegen.models.load import load_base

__all__ = ["BaseModel", "DrawRequest", "Drawing", "TextReading", "TrainableModel", "load_base"]
