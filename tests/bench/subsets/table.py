"""What the subsets say, as text; nothing here draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.subsets.studying import Answers, Outcome

HEAD: Final = (
    f"{'images':>7} {'rule':9}{'wrong order':>12}{'tied':>7}{'decided':>9}{'wrongly':>9}{'of wrong order':>16}"
    f"{'any, Holm':>11}{'interval holds':>16}{'found from':>12}{'found':>8}   {'tau-b, 95 % of subsets':26}rho"
)
NOTES: Final = (
    "wrong order: pairs of which the subset has the worse one ahead; decided: called better or worse (McNemar exact, "
    "5 %);",
    "wrongly: called the wrong way round, of all comparisons, and of those in the wrong order; any, Holm: subsets with "
    "any such",
    "call among all pairs after Holm; interval holds: the difference on all images lies in the 95 % interval; found "
    "from: the",
    "difference in points that our formula says is found in four of five trials; found: share of the pairs that differ "
    "so much",
    "or more that were decided. Drawn without replacement: large subsets vary less than the intervals allow for.",
)


def line(found: Outcome) -> str:
    """One row of the table."""
    taus, rhos = (f"{low:.2f} {middle:.2f} {high:.2f}" for low, middle, high in (found.tau_b, found.rho))
    return (
        f"{found.images:>7,} {found.rule:9}{found.wrong_order:>12.2%}{found.tied:>7.1%}{found.decided:>9.1%}"
        f"{found.decided_wrongly:>9.3%}{found.wrong_order_decided:>16.1%}{found.holm_wrong:>11.2%}"
        f"{found.covered:>16.1%}{100 * found.found_from:>12.2f}{found.found:>8.1%}   {taus:26}{rhos}"
    )


def report(answers: Answers, outcomes: Sequence[Outcome], subsets: int) -> str:
    """The whole table, with what it is about."""
    images, pairs = answers.right.shape[1], len(answers.models) * (len(answers.models) - 1) // 2
    order = sorted(zip(answers.full.tolist(), answers.models, strict=True), reverse=True)
    models = ", ".join(f"{name} {value:.2%}" for value, name in order)
    title = f"{len(answers.models)} models on {images:,} images, {pairs} pairs, {subsets:,} subsets of each size"
    return "\n".join([title, models, "", HEAD, *map(line, outcomes), "", *NOTES])
