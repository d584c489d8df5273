"""Which recipes show what each technique of another contributes, so that all are measured and nothing is inferred.

A recipe is made of techniques and of the steps that choose how it is run. Its *ladder* is the runtime alone, then the
runtime with its first technique, with its first two, and so on to the recipe itself; *left out* is the recipe without
one technique each. The field calls both together an ablation (Meyes et al. 2019, arXiv:1901.08644).

Every recipe is timed against its runtime alone. Where a task asks for a recipe's ablation, the ladder and what has a
technique left out become recipes of the task too; each rung is timed against the one before, and the recipe against
itself with each technique left out. Which references a recipe has is decided by what is in it and by the ablations
that it is part of, by no other recipe of the task.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from paretoboard.plan import digest, plain
from paretoboard.spec import BASELINE, Ablation, Recipe, TechniqueUse, Variant

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Steps = tuple[TechniqueUse, ...]
LEAST_TECHNIQUES: Final = 2  # that an ablation can tell apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What has to be known of steps to take some of them away."""

    is_runtime: Callable[[TechniqueUse], bool]  # whether a step chooses how the model is run, and is no technique
    refusal: Callable[[Steps], str]  # why steps can't be a recipe, "" where they can


def techniques(steps: Steps, rules: Rules) -> tuple[int, ...]:
    """Which of `steps` are techniques."""
    return tuple(index for index, step in enumerate(steps) if not rules.is_runtime(step))


def ladder(steps: Steps, rules: Rules) -> tuple[Steps, ...]:
    """The runtime of `steps` alone, then with its first technique, its first two, ...; the last is `steps`."""
    found = techniques(steps, rules)
    return tuple(_without(steps, found[count:]) for count in range(len(found) + 1))


def left_out(steps: Steps, rules: Rules) -> tuple[Steps, ...]:
    """`steps` without its first technique, without its second, ..."""
    return tuple(_without(steps, [index]) for index in techniques(steps, rules))


def complete(declared: Sequence[Recipe], *, ablated: Collection[str], rules: Rules) -> tuple[Recipe, ...]:
    """The recipes of a task with those that its ablations add, each with its references.

    Args:
        declared: in the task's order.
        ablated: names of those that an ablation is asked for.
    Returns: `declared` in its order; what an ablation adds comes right before the recipe that asked for it, so that
        its artifacts are there by then. A recipe that is there already is not added again under another name.
    """
    names = {_key(()): BASELINE}
    for recipe in declared:
        names.setdefault(_key(recipe.steps), recipe.name)
    recipes: list[Recipe] = []
    for recipe in declared:
        if recipe.name in ablated:
            recipes += _added(recipe, rules, names)
        recipes.append(recipe)
    compared = _compared([recipe.steps for recipe in declared if recipe.name in ablated], rules)
    return tuple(
        dataclasses.replace(
            recipe,
            references=_references(recipe.steps, compared[_key(recipe.steps)], rules, names),
            ablation=_ablation(recipe, rules, names, whole=recipe.name in ablated),
        )
        for recipe in recipes
    )


def _added(recipe: Recipe, rules: Rules, names: dict[str, str]) -> list[Recipe]:
    """The recipes of an ablation that are not there yet; from now on `names` knows them."""
    rungs = ladder(recipe.steps, rules)[:-1]
    wanted = list(zip(["runtime", *(f"first-{count}" for count in range(1, len(rungs)))], rungs, strict=True))
    uses = Counter(step.name for step in recipe.steps)
    for index, steps in zip(techniques(recipe.steps, rules), left_out(recipe.steps, rules), strict=True):
        step = recipe.steps[index].name
        wanted.append((f"without-{step}" if uses[step] == 1 else f"without-{step}-{index + 1}", steps))
    added = []
    for called, steps in wanted:
        if _key(steps) not in names and not rules.refusal(steps):
            # The name of a declared recipe has no colon, so none is taken.
            names[_key(steps)] = f"{recipe.name}:{called}"
            added.append(Recipe(name=names[_key(steps)], steps=steps))
    return added


def _compared(ablated: Sequence[Steps], rules: Rules) -> defaultdict[str, list[Steps]]:
    """By steps, what ablations compare them with: a rung with the one before, a recipe with its parts."""
    found: defaultdict[str, list[Steps]] = defaultdict(list)
    for steps in ablated:
        for below, rung in pairwise(ladder(steps, rules)):
            found[_key(rung)].append(below)
        found[_key(steps)] += left_out(steps, rules)
    return found


def _references(steps: Steps, compared: Sequence[Steps], rules: Rules, names: dict[str, str]) -> tuple[Recipe, ...]:
    alone = ladder(steps, rules)[0]
    distinct = {_key(wanted): wanted for wanted in (alone, *compared) if wanted and not rules.refusal(wanted)}
    distinct.pop(_key(steps), None)
    return tuple(Recipe(name=_name(wanted, names), steps=wanted) for wanted in distinct.values())


def _ablation(recipe: Recipe, rules: Rules, names: dict[str, str], *, whole: bool) -> Ablation | None:
    """What is told apart of a recipe: each of its techniques, or all of them together from its runtime."""

    def variant(steps: Steps) -> Variant:
        return Variant(name=_name(steps, names), steps=steps, reason=rules.refusal(steps))

    itself = Variant(name=recipe.name, steps=recipe.steps)
    rungs = [variant(steps) for steps in ladder(recipe.steps, rules)[:-1]]
    if whole:
        parts = tuple(variant(steps) for steps in left_out(recipe.steps, rules))
        return Ablation(ladder=(*rungs, itself), left_out=parts)
    # Without a step that chooses the runtime, the runtime alone is the baseline, which every recipe is shown against.
    return Ablation(ladder=(rungs[0], itself)) if rungs and rungs[0].steps else None


def _name(steps: Steps, names: dict[str, str]) -> str:
    return names.get(_key(steps)) or " + ".join(step.name for step in steps)


def _without(steps: Steps, indices: Collection[int]) -> Steps:
    return tuple(step for index, step in enumerate(steps) if index not in indices)


def _key(steps: Steps) -> str:
    return digest(plain(steps))
