"""Every file of architectures: importing this declares them all, those of KerasHub where it is installed."""

import contextlib

import catalogue.applications
import catalogue.dense_prediction
import catalogue.generative
import catalogue.graphs
import catalogue.language_models
import catalogue.representation
import catalogue.structured
import catalogue.text
import catalogue.timeseries
import catalogue.vision
import catalogue.vision2

with contextlib.suppress(ImportError):
    import catalogue.hub  # noqa: F401
