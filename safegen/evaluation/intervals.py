"""How sure a measured share or mean is: confidence intervals, stated with every number of an evaluation.

Invariant: an interval lies within the range of what it is about and contains the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_Z95 = 1.959963984540054
_RESAMPLES = 2000


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927), 0..1; (0, 1) if nothing was tried.

    Raises:
        ValueError: more hits than trials, or fewer than none.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} hits of {trials} trials")
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, _Z95**2
    scale = 1 + square / trials
    centre = (share + square / (2 * trials)) / scale
    reach = _Z95 * np.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / scale
    return max(0.0, min(share, float(centre - reach))), min(1.0, max(share, float(centre + reach)))


def bootstrap(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of a mean (Efron 1979) over 2,000 resamples; (nan, nan) of nothing."""
    if not values:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    sample = np.asarray(values, dtype=np.float64)
    means = sample[rng.integers(0, len(sample), (_RESAMPLES, len(sample)))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return min(float(low), float(sample.mean())), max(float(high), float(sample.mean()))
