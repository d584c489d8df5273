"""What each technique of a recipe contributes: which recipes that takes, and what they are timed against."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

import builders
from paretoboard import ablation
from paretoboard.spec import BASELINE, Recipe, TechniqueUse, Variant


def step(name: str, **parameters: object) -> TechniqueUse:
    return TechniqueUse(name=name, version=1, parameters=parameters)


PRUNE, TUNE, INT8, ORT = step("prune.structured"), step("train.finetune"), step("quantize.static"), step("run.ort")


def is_runtime(use: TechniqueUse) -> bool:
    return use.name.startswith("run.")


RULES = ablation.Rules(is_runtime=is_runtime, refusal=lambda steps: "")


def completed(*recipes: Recipe, ablated: set[str], rules: ablation.Rules = RULES) -> dict[str, Recipe]:
    done = ablation.complete([Recipe(name=BASELINE), *recipes], ablated=ablated, rules=rules)
    assert len({recipe.name for recipe in done}) == len(done)
    return {recipe.name: recipe for recipe in done}


def references(recipe: Recipe) -> dict[str, tuple[TechniqueUse, ...]]:
    return {found.name: found.steps for found in recipe.references}


def run_id(recipe: Recipe) -> str:
    return builders.run_spec(recipe=recipe).run_id


def test_every_recipe_is_timed_against_its_runtime_alone() -> None:
    found = completed(
        Recipe(name="fp32", steps=(ORT,)),
        Recipe(name="int8", steps=(INT8, ORT)),
        Recipe(name="pruned", steps=(PRUNE,)),
        ablated=set(),
    )
    assert references(found["int8"]) == {"fp32": (ORT,)}
    assert found["int8"].ablation is not None
    assert [rung.name for rung in found["int8"].ablation.ladder] == ["fp32", "int8"]
    for name in (BASELINE, "fp32", "pruned"):  # nothing beside a runtime, or none but the baseline's
        assert (found[name].references, found[name].ablation) == ((), None)


def test_a_runtime_that_no_recipe_has_alone_is_a_reference_all_the_same() -> None:
    found = completed(Recipe(name="int8", steps=(INT8, ORT)), ablated=set())
    assert references(found["int8"]) == {"run.ort": (ORT,)}


def test_an_ablation_adds_its_rungs_and_what_is_left_when_each_technique_goes() -> None:
    stack = Recipe(name="stack", steps=(PRUNE, TUNE, INT8, ORT))
    found = completed(stack, ablated={"stack"})
    assert {name: recipe.steps for name, recipe in found.items()} == {
        BASELINE: (),
        "stack:runtime": (ORT,),
        "stack:first-1": (PRUNE, ORT),
        "stack:first-2": (PRUNE, TUNE, ORT),
        "stack:without-prune.structured": (TUNE, INT8, ORT),
        "stack:without-train.finetune": (PRUNE, INT8, ORT),
        "stack": (PRUNE, TUNE, INT8, ORT),
    }
    assert list(found)[-1] == "stack"  # what it is compared with is built by then
    assert list(references(found["stack"])) == [
        "stack:runtime",
        "stack:first-2",
        "stack:without-prune.structured",
        "stack:without-train.finetune",
    ]
    assert list(references(found["stack:first-2"])) == ["stack:runtime", "stack:first-1"]
    assert list(references(found["stack:first-1"])) == ["stack:runtime"]
    assert list(references(found["stack:without-train.finetune"])) == ["stack:runtime"]
    parts = found["stack"].ablation
    assert parts is not None
    assert [rung.name for rung in parts.ladder] == ["stack:runtime", "stack:first-1", "stack:first-2", "stack"]
    assert [part.name for part in parts.left_out] == [
        "stack:without-prune.structured",
        "stack:without-train.finetune",
        "stack:first-2",
    ]


def test_a_declared_recipe_with_the_same_steps_is_used_and_no_twin_made() -> None:
    found = completed(
        Recipe(name="stack", steps=(PRUNE, INT8, ORT)),
        Recipe(name="fp32", steps=(ORT,)),
        Recipe(name="int8", steps=(INT8, ORT)),
        ablated={"stack"},
    )
    assert list(found) == [BASELINE, "stack:first-1", "stack", "fp32", "int8"]
    assert list(references(found["stack"])) == ["fp32", "stack:first-1", "int8"]


def test_without_a_runtime_the_first_rung_is_the_baseline() -> None:
    found = completed(Recipe(name="stack", steps=(PRUNE, TUNE)), ablated={"stack"})
    assert list(found) == [BASELINE, "stack:first-1", "stack:without-prune.structured", "stack"]
    assert found["stack"].ablation is not None
    assert found["stack"].ablation.ladder[0] == Variant(name=BASELINE, steps=())
    assert found["stack:first-1"].references == ()


def test_a_technique_used_twice_is_left_out_by_its_place() -> None:
    again = step("train.finetune", epochs=9)
    found = completed(Recipe(name="stack", steps=(TUNE, PRUNE, again)), ablated={"stack"})
    assert found["stack:without-train.finetune-1"].steps == (PRUNE, again)
    assert references(found["stack"]).keys() == {
        "stack:first-2",  # which is the recipe without its last step, too
        "stack:without-train.finetune-1",
        "stack:without-prune.structured",
    }


def test_a_combination_that_can_not_be_keeps_its_place_with_the_reason() -> None:
    def refusal(steps: ablation.Steps) -> str:
        return "not without pruning" if INT8 in steps and PRUNE not in steps else ""

    rules = dataclasses.replace(RULES, refusal=refusal)
    found = completed(Recipe(name="stack", steps=(PRUNE, INT8, ORT)), ablated={"stack"}, rules=rules)
    assert list(found) == [BASELINE, "stack:runtime", "stack:first-1", "stack"]
    assert list(references(found["stack"])) == ["stack:runtime", "stack:first-1"]
    assert found["stack"].ablation is not None
    assert found["stack"].ablation.left_out[0].steps == (INT8, ORT)
    assert found["stack"].ablation.left_out[0].reason == "not without pruning"


# What holds for all recipes

techniques = st.builds(
    step, st.sampled_from(["prune.a", "quantize.b", "train.c", "share.d"]), strength=st.integers(1, 2)
)
runtimes = st.sampled_from([(), (step("run.ort"),), (step("run.ort", graph="basic"),), (step("run.compile"),)])
some_steps = st.builds(lambda first, last: (*first, *last), st.lists(techniques, max_size=4).map(tuple), runtimes)


@st.composite
def declared_recipes(draw: st.DrawFn, prefix: str = "r") -> list[Recipe]:
    found = draw(st.lists(some_steps.filter(bool), max_size=5))
    return [Recipe(name=f"{prefix}{number}", steps=steps) for number, steps in enumerate(found)]


def stackable(recipes: list[Recipe]) -> list[str]:
    return [
        recipe.name for recipe in recipes if len(ablation.techniques(recipe.steps, RULES)) >= ablation.LEAST_TECHNIQUES
    ]


@given(some_steps)
def test_the_ladder_and_what_is_left_out_are_what_their_definition_says(steps: ablation.Steps) -> None:
    rungs, parts = ablation.ladder(steps, RULES), ablation.left_out(steps, RULES)
    of_runtime = [use for use in steps if is_runtime(use)]
    of_technique = [use for use in steps if not is_runtime(use)]
    assert [list(rung) for rung in rungs] == [
        [*of_technique[:count], *of_runtime] for count in range(len(of_technique) + 1)
    ]
    assert [list(part) for part in parts] == [
        [*of_technique[:gone], *of_technique[gone + 1 :], *of_runtime] for gone in range(len(of_technique))
    ]
    assert all(len(rung) == len(below) + 1 for below, rung in pairwise(rungs))


@given(declared_recipes(), st.data())
def test_all_that_an_ablation_names_is_there_once_and_timed(recipes: list[Recipe], data: st.DataObject) -> None:
    ablated = set(data.draw(st.lists(st.sampled_from(stackable(recipes) or ["none"]))))
    found = completed(*recipes, ablated=ablated)
    assert [name for name in found if ":" not in name] == [BASELINE, *(recipe.name for recipe in recipes)]
    added = [recipe.steps for name, recipe in found.items() if ":" in name]
    assert all(steps not in added[:place] for place, steps in enumerate(added))
    assert all(recipe.steps not in added for recipe in recipes)
    for recipe in found.values():
        timed = [reference.steps for reference in recipe.references]
        assert all(steps not in timed[:place] for place, steps in enumerate(timed))
        assert () not in timed
        assert recipe.steps not in timed
        assert all(reference.references == () for reference in recipe.references)
        alone = ablation.ladder(recipe.steps, RULES)[0]
        assert alone in ((), recipe.steps, *timed)
    for name in ablated & found.keys():
        parts = found[name].ablation
        assert parts is not None
        for below, rung in pairwise(parts.ladder):
            assert found[rung.name].steps == rung.steps
            assert below.steps in ((), rung.steps, *references(found[rung.name]).values())
        for part in parts.left_out:
            assert found[part.name].steps == part.steps
            assert part.steps in ((), *references(found[name]).values())


@given(declared_recipes(), declared_recipes(prefix="other"), st.data())
def test_recipes_that_have_nothing_to_do_with_it_leave_the_id_of_a_run_alone(
    recipes: list[Recipe], others: list[Recipe], data: st.DataObject
) -> None:
    ablated = set(stackable(recipes))
    before = completed(*recipes, ablated=ablated)
    # A recipe that an ablation would add otherwise takes its place and is not without a relation.
    added = [recipe.steps for name, recipe in before.items() if ":" in name]
    others = [other for other in others if other.steps not in added]
    mixed = data.draw(st.permutations([*recipes, *others]))
    after = completed(*mixed, ablated=ablated)
    kept = [recipe.name for recipe in recipes]
    assert {name: run_id(before[name]) for name in kept} == {name: run_id(after[name]) for name in kept}


@given(declared_recipes())
def test_the_name_of_a_reference_is_no_part_of_a_run_s_id_and_its_steps_are(recipes: list[Recipe]) -> None:
    for recipe in completed(*recipes, ablated=set(stackable(recipes))).values():
        renamed = tuple(dataclasses.replace(found, name=f"{found.name}-2") for found in recipe.references)
        assert run_id(dataclasses.replace(recipe, references=renamed)) == run_id(recipe)
        if recipe.references:
            assert run_id(dataclasses.replace(recipe, references=recipe.references[1:])) != run_id(recipe)


def test_a_recipe_without_references_keeps_the_id_it_had_before_there_were_any() -> None:
    spec = builders.run_spec(recipe=Recipe(name="fp32", steps=(ORT,)))
    assert spec.content()["recipe"] == {
        "name": "fp32",
        "steps": [{"name": "run.ort", "version": 1, "parameters": {}}],
    }
