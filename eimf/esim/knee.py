"""Where a curve of diminishing returns bends: the knee."""

from collections.abc import Sequence

import numpy as np


def knee(x: Sequence[float], y: Sequence[float]) -> int | None:
    """The place of the knee of a rising curve, or None if it has none.

    Both axes are scaled to 0..1, and the knee is the point that is farthest above the straight line from the first to
    the last one (Satopaa, Albrecht, Irwin and Raghavan 2011, "Finding a kneedle in a haystack", without smoothing:
    there is no noise to remove). `x` must rise. So it depends on where the curve begins and ends.
    """
    if len(x) < 3 or y[-1] <= y[0]:
        return None
    across, up = ((np.asarray(v, float) - v[0]) / (v[-1] - v[0]) for v in (x, y))
    best = int((up - across).argmax())
    return best if up[best] > across[best] + 1e-9 else None
