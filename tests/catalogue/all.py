"""Every file of architectures: importing this declares them all, those of KerasHub where it is installed."""

import contextlib

with contextlib.suppress(ImportError):
    import catalogue.hub  # noqa: F401
