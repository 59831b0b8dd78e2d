"""Every file of architectures: importing this declares them all, those of KerasHub where it is installed."""

from importlib import import_module
from importlib.util import find_spec

DOMAINS = (
    "applications",
    "vision",
    "vision2",
    "dense_prediction",
    "text",
    "language_models",
    "structured",
    "timeseries",
    "graphs",
    "generative",
    "representation",
    *(["hub"] if find_spec("keras_hub") else []),
)

for domain in DOMAINS:
    import_module(f"catalogue.{domain}")
