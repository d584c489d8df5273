"""What difference of two models a number of images can show, and how many images show a difference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scipy import stats
from scipy.optimize import brentq

from paretoboard.stats.interval import check_confidence

POWER: Final = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What difference these images can show."""

    decided: float  # the smallest that would be seen and told from none; whatever is below stays undecided
    found: float  # a true difference that is told from none in four of five trials


def mcnemar_resolution(discordant: int, n: int, confidence: float = 0.95) -> Resolution:
    """What difference of two shares of right answers `n` images can show.

    Args:
        discordant: images that only one of the two gets right. With fewer than the test needs at least (6 at 95 %),
            all of those would have to go one way: that is what is counted on.
    Raises: ValueError without any image, or with more discordant ones than there are.
    Source: McNemar's exact test for what is decided, Connor 1987 as in `images_to_resolve` for what is found.
    """
    check_confidence(confidence)
    if not 0 <= discordant <= n or n < 1:
        raise ValueError(f"{discordant} of {n} images; 0 to n of at least 1 would be right")
    alpha = 1 - confidence
    # 2 * 0.5**k, the p value of k images that all go one way, first is below alpha here.
    told_apart = max(discordant, math.floor(math.log2(2 / alpha)) + 1)
    fewer = int(stats.binom.ppf(alpha / 2, told_apart, 0.5))
    while fewer > 0 and 2 * float(stats.binom.cdf(fewer, told_apart, 0.5)) >= alpha:
        fewer -= 1
    decided = min(1.0, (told_apart - 2 * fewer) / n)
    return Resolution(decided=decided, found=max(decided, _found(n, told_apart / n, confidence)))


def interval_resolution(half_width: float, confidence: float = 0.95) -> Resolution:
    """The same where a difference has an interval of about +-`half_width`, whatever it is a difference of.

    Source: the normal approximation, as in any sample size for a difference of means.
    """
    check_confidence(confidence)
    z_error, z_power = float(stats.norm.ppf((1 + confidence) / 2)), float(stats.norm.ppf(POWER))
    return Resolution(decided=half_width, found=half_width * (z_error + z_power) / z_error)


def images_to_resolve(difference: float, discordant: float, confidence: float = 0.95) -> int:
    """How many images tell a true `difference` from none in four of five trials.

    Args:
        difference: of the two shares of right answers, not zero.
        discordant: share of images that only one of the two gets right, at least |difference|.
    Raises: ValueError for a difference of zero or beyond 1.
    Source: Connor 1987, doi:10.2307/2531961, the sample size of McNemar's test.
    """
    if not 0 < abs(difference) <= 1:
        raise ValueError(f"a difference of {difference}; a share that is not zero and at most 1 would be right")
    return math.ceil(_needed(abs(difference), discordant, confidence))


def _needed(difference: float, discordant: float, confidence: float) -> float:
    z_error, z_power = (float(stats.norm.ppf(share)) for share in ((1 + confidence) / 2, POWER))
    spread = max(discordant, difference)
    return ((z_error * math.sqrt(spread) + z_power * math.sqrt(spread - difference**2)) / difference) ** 2


def _found(n: int, discordant: float, confidence: float) -> float:
    """The difference that takes `n` images."""
    if _needed(1.0, discordant, confidence) >= n:
        return 1.0
    return float(brentq(lambda d: math.log(_needed(d, discordant, confidence) / n), 1e-9, 1.0, xtol=1e-12))
