"""Maps of coloured cells over c."""

from __future__ import annotations

import numpy as np


def cell_edges(c: np.ndarray) -> np.ndarray:
    """Where the cells of a map begin and end, each around one c.

    Args:
        c: The c, increasing, shape (k,).

    Returns:
        The edges, shape (k + 1,): midway between neighbours in log2 c, and as far beyond the first and the last.
    """
    x = np.log2(np.asarray(c, np.float64))
    middle = (x[1:] + x[:-1]) / 2
    half = (middle[0] - x[0], x[-1] - middle[-1]) if len(x) > 1 else (0.05, 0.05)
    return 2.0 ** np.concatenate([[x[0] - half[0]], middle, [x[-1] + half[1]]])
