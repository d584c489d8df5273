"""Subsets of images on which some models are compared, and how the comparisons come out."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from paretoboard import stats
from paretoboard.compare import CONFIDENCE, judged

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from paretoboard.records import Verdict

Rule = Literal["random", "balanced"]
RULES: Final[tuple[Rule, ...]] = ("random", "balanced")
SIZES: Final = (100, 200, 500, 610, 1000, 2000, 5000, 10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What some models got right."""

    models: tuple[str, ...]
    right: NDArray[np.bool_]  # (models, images)
    labels: NDArray[np.int16]  # (images,)

    @property
    def full(self) -> NDArray[np.float64]:
        """(models,) share of right answers on all images."""
        return np.asarray(self.right.mean(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How comparisons on subsets of one size came out; shares are of pairs and subsets unless said otherwise."""

    images: int
    rule: Rule
    comparisons: int
    wrong_order: float  # the worse model has more right answers
    tied: float
    decided: float  # better or worse, without a correction
    decided_wrongly: float  # and the other way round
    wrong_order_decided: float  # of those in the wrong order, share that is called better or worse
    holm_wrong: float  # of subsets: any of all pairs called the wrong way round under Holm
    covered: float  # intervals that hold the difference on all images
    found_from: float  # median over pairs of the difference that is found in four of five trials, by the first subset
    found: float  # of pairs that differ by that or more, share decided
    tau_b: tuple[float, float, float]  # 2.5 %, middle and 97.5 % of subsets: Kendall's tau-b with the full set
    rho: tuple[float, float, float]  # the same of Spearman's


def read(path: Path) -> Answers:
    """The models of a file of top-5 predictions, (images, 5) each, beside `labels`."""
    with np.load(path, allow_pickle=False) as arrays:
        labels = arrays["labels"]
        models = tuple(name for name in arrays.files if name != "labels")
        return Answers(models=models, right=np.stack([arrays[name][:, 0] == labels for name in models]), labels=labels)


def draw(labels: NDArray[np.int16], images: int, rule: Rule, rng: np.random.Generator) -> NDArray[np.intp]:
    """Places of `images` images: any of them, or as many of each class as there can be and one more of some."""
    if rule == "random":
        return rng.choice(len(labels), images, replace=False)
    shuffled = rng.permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    _, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    each, more = divmod(images, len(counts))
    extra = np.zeros(len(counts), dtype=np.int64)
    extra[rng.choice(len(counts), more, replace=False)] = 1
    return order[rank < np.repeat(each + extra, counts)]


def study(answers: Answers, images: int, rule: Rule, subsets: int, seed: int = 0) -> Outcome:
    """Compare every two models on `subsets` subsets."""
    rng = np.random.default_rng([seed, images, RULES.index(rule)])
    first, second = np.triu_indices(len(answers.models), 1)
    truth = (answers.full[first] - answers.full[second]).astype(float)
    seen = np.empty((subsets, len(truth)))
    verdicts = np.zeros((subsets, len(truth)), dtype=np.int8)
    covered, resolved = np.empty_like(seen), np.empty(len(truth))
    holm_wrong, values = 0, []
    for number in range(subsets):
        right = answers.right[:, draw(answers.labels, images, rule, rng)].astype(np.float64)
        both = right @ right.T
        gained, lost = both.diagonal()[first] - both[first, second], both.diagonal()[second] - both[first, second]
        pairs = list(zip(gained.astype(int).tolist(), lost.astype(int).tolist(), strict=True))
        found = [_compared(*pair, images) for pair in pairs]
        seen[number] = (gained - lost) / images
        verdicts[number] = [_sign(verdict) for _, _, _, verdict in found]
        covered[number] = [low <= value <= high for (low, high, _, _), value in zip(found, truth, strict=True)]
        stands = np.array(stats.holm([p_value for _, _, p_value, _ in found])) < 1 - CONFIDENCE
        holm_wrong += bool((stands & (verdicts[number] * np.sign(truth) < 0)).any())
        values.append(right.mean(axis=1))
        if number == 0:
            resolved[:] = [stats.mcnemar_resolution(sum(pair), images).found for pair in pairs]
    wrong = seen * np.sign(truth) < 0
    decided, reversed_ = verdicts != 0, verdicts * np.sign(truth) < 0
    whole = np.broadcast_to(answers.full, (subsets, len(answers.models)))
    large = np.abs(truth) >= resolved
    return Outcome(
        images=images,
        rule=rule,
        comparisons=seen.size,
        wrong_order=float(wrong.mean()),
        tied=float((seen == 0).mean()),
        decided=float(decided.mean()),
        decided_wrongly=float(reversed_.mean()),
        wrong_order_decided=float(reversed_.sum() / max(wrong.sum(), 1)),
        holm_wrong=holm_wrong / subsets,
        covered=float(covered.mean()),
        found_from=float(np.median(resolved)),
        found=float(decided[:, large].mean()) if large.any() else float("nan"),
        tau_b=_spread(stats.kendall_tau_b(np.array(values), whole)),
        rho=_spread(stats.spearman(np.array(values), whole)),
    )


@functools.cache
def _compared(gained: int, lost: int, images: int) -> tuple[float, float, float, Verdict]:
    """(low, high, p value, verdict), as `compare` has them."""
    interval = stats.paired_difference_interval(gained, lost, images, CONFIDENCE)
    p_value = stats.mcnemar_exact(gained, lost)
    return interval.low, interval.high, p_value, judged(interval.low, interval.high, p_value)


def _sign(verdict: Verdict) -> int:
    return {"better": 1, "worse": -1}.get(verdict, 0)


def _spread(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = np.nanquantile(values, [0.025, 0.5, 0.975])
    return float(low), float(middle), float(high)
