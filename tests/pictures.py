"""What pictures are made of, made up, and whether their texts can be read."""

import numpy as np
import pandas as pd
from made_up import trajectory
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from sharpness_phases.analysis.regimes import regimes
from sharpness_phases.views.regimes import LabelledRun, RegimeFigure

C = 2.0 ** np.arange(-1, 3.4, 0.2)
ETA = 0.1


def shown_texts(figure):
    """All texts that are seen, once each."""
    FigureCanvasAgg(figure).draw()
    outside = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            outside |= {id(tick.label1) for tick in ticks if not low * 0.999 <= tick.get_loc() <= high * 1.001}
    unique = {id(text): text for text in figure.findobj(Text) if id(text) not in outside}
    return [text for text in unique.values() if text.get_visible() and text.get_text().strip()]


def overlapping(figure):
    """Pairs of visible texts whose boxes overlap."""
    boxes = [(text, text.get_window_extent()) for text in shown_texts(figure)]
    return [
        (a.get_text(), b.get_text())
        for i, (a, box) in enumerate(boxes)
        for b, other in boxes[i + 1 :]
        if box.shrunk(0.98, 0.98).overlaps(other)
    ]


def saturated(networks=((2, 16), (4, 16), (4, 32)), seeds=2):
    """A saturated sharpness that falls from c = 2 on."""
    rows = []
    for depth, width in networks:
        for seed in range(seeds):
            ratio = 1 - 0.1 * np.logaddexp(0, 6 * (C - 2)) / 6 - 0.02 * seed
            rows.append(pd.DataFrame({"depth": depth, "width": width, "seed": seed, "c": C, "tau": 9, "ratio": ratio}))
    return pd.concat(rows, ignore_index=True)


def long_run():
    """A run through four regimes."""
    ratio = np.concatenate([np.linspace(1, 0.4, 20), np.full(80, 0.4), np.linspace(0.4, 1, 200), np.ones(200)])
    return trajectory(np.linspace(1, 0.1, len(ratio)), 2 / ETA * ratio)


def regime_figure(*titles):
    """That run, under several titles."""
    run = long_run()
    return RegimeFigure([LabelledRun(title, run, 2 / ETA, regimes(run, 2 / ETA)) for title in titles], "made up")
