"""Every file of architectures: importing this declares them all."""

import catalogue.dense_prediction
import catalogue.generative
import catalogue.graphs
import catalogue.language_models
import catalogue.representation
import catalogue.structured
import catalogue.text
import catalogue.timeseries
import catalogue.vision
import catalogue.vision2  # noqa: F401
