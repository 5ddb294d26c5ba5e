"""Classifiers and generators by name."""

from dfkd_core.networks.classifiers import CLASSIFIERS, Classifier, Features, build_classifier, freeze, parameter_count
from dfkd_core.networks.gan import ClassGenerator, Discriminator, Judged, follow
from dfkd_core.networks.generators import ConvGenerator

__all__ = [
    "CLASSIFIERS",
    "ClassGenerator",
    "Classifier",
    "ConvGenerator",
    "Discriminator",
    "Features",
    "Judged",
    "follow",
    "build_classifier",
    "freeze",
    "parameter_count",
]
