"""Classifiers, generators and latent-variable models by name."""

from dfkd_core.networks.classifiers import CLASSIFIERS, Classifier, Features, build_classifier, freeze, parameter_count
from dfkd_core.networks.gan import ClassGenerator, Discriminator, Judged, follow
from dfkd_core.networks.generators import ConvGenerator
from dfkd_core.networks.latent import LATENT_MODELS, LatentModel, LatentNetwork, build_latent_model

__all__ = [
    "CLASSIFIERS",
    "LATENT_MODELS",
    "ClassGenerator",
    "Classifier",
    "ConvGenerator",
    "Discriminator",
    "Features",
    "Judged",
    "LatentModel",
    "LatentNetwork",
    "build_classifier",
    "build_latent_model",
    "follow",
    "freeze",
    "parameter_count",
]
