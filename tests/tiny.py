"""Overrides of the quickstart that make an experiment of seconds."""

TINY = [
    "sweep.widths=[8,16]",
    "sweep.depths=[2]",
    "sweep.seeds=2",
    "data.train_examples=256",
    "training.batch_size=64",
    "training.steps=4",
    "sharpness.examples=64",
    "sweep.lr_exponents={start: 0, stop: 6, step: 0.5}",
]
