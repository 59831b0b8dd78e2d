"""Every file of architectures: importing this declares them all, those of KerasHub where it is installed."""

from importlib import import_module
from importlib.util import find_spec

DOMAINS = (
    "applications",
    "vision_convolutions",
    "vision_patches",
    "vision_transformers",
    "dense_prediction",
    "text",
    "sequences",
    "language_models",
    "structured",
    "regression",
    "timeseries",
    "sound",
    "graphs",
    "generative",
    "adversarial",
    "representation",
    *(["hub"] if find_spec("keras_hub") else []),
)
"""In the order of the table."""

for domain in DOMAINS:
    import_module(f"catalogue.{domain}")
