"""Task files: what a right one becomes, and what is said about the others."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expected_mistakes import EXPECTED
from fake_techniques import FAKES
from paretoboard import plan, profiles, taskfile
from paretoboard.cli import main
from paretoboard.datasets import open_dataset
from paretoboard.errors import InputError, Problem, TaskFileError, UnknownNameError
from paretoboard.locations import data_root, profiles_folder, tasks_folder
from paretoboard.spec import BASELINE, Subset, TaskSpec, TechniqueUse, TrainSettings
from paretoboard.taskfile.schema import schema_text, task_schema
from paretoboard.taskfile.subsets import read_ids

# Images of each split that a committed task judges by without a list: the first and the last.
SOME_IDS = {
    ("cifar10", "test"): ["test/00000", "test/09999"],
    ("digit-scenes", "test"): ["test/0000", "test/0399"],
}
BROKEN = Path(__file__).parent / "broken_tasks"
VALID = (BROKEN / "valid.toml").read_text()


def load(path: Path) -> TaskSpec:
    return taskfile.load(path, techniques=FAKES)


def written(folder: Path, text: str | bytes, name: str = "task.toml") -> Path:
    """A task file in `folder`, beside the lists that valid.toml names."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for listed in BROKEN.glob("*.txt"):
        (path.parent / listed.name).write_bytes(listed.read_bytes())
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def changed(folder: Path, old: str, new: str) -> Path:
    """valid.toml with one thing put in another's place."""
    assert old in VALID
    return written(folder, VALID.replace(old, new))


def mistakes(path: Path) -> list[tuple[str, int, str]]:
    """File name, line and message of every mistake found in `path`."""
    with pytest.raises(TaskFileError) as caught:
        load(path)
    return [(problem.file.name, problem.line, str(problem)) for problem in caught.value.problems]


# What a right file becomes


def test_a_task_file_becomes_a_task_with_the_baseline_first() -> None:
    task = load(BROKEN / "valid.toml")
    assert [recipe.name for recipe in task.recipes] == [BASELINE, "int8"]
    assert task.recipes[0].steps == ()
    assert (task.name, task.version, task.seeds, task.measure.batches) == ("valid", 1, (0,), (1, 32))
    assert [profile.name for profile in task.profiles] == ["cpu-1"]
    assert task.model.train == TrainSettings(epochs=2, lr=0.1)
    assert list(plan.expand([task]))[1].run_id  # every value in it can stand in an id


def test_corruptions_and_explanations_are_measured_when_asked_for_and_ids_say_nothing_of_them_else(
    tmp_path: Path,
) -> None:
    asked = changed(tmp_path, 'budget = "quick"', 'budget = "quick"\nexplain = 32\ncorruptions = ["noise:3", "jpeg:1"]')
    measure = load(asked).measure
    assert (measure.explain, measure.corruptions) == (32, ("noise:3", "jpeg:1"))
    assert {"explain", "corruptions"} <= set(plan.plain(measure))
    assert not {"explain", "corruptions"} & set(plan.plain(load(BROKEN / "valid.toml").measure))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ('corruptions = ["nois:3"]', "unknown corruption 'nois'. Did you mean 'noise'?"),
        ('corruptions = ["noise"]', "'noise:1' to 'noise:5' would be right"),
        ('corruptions = ["noise:3", "noise:3"]', "'noise:3' is given twice"),
        ("explain = -1", "measure.explain"),
    ],
)
def test_what_is_no_corruption_is_a_mistake_with_its_line(tmp_path: Path, given: str, named: str) -> None:
    ((_, line, message),) = mistakes(changed(tmp_path, 'budget = "quick"', f'budget = "quick"\n{given}'))
    assert line == VALID.splitlines().index('budget = "quick"') + 2
    assert named in message


def test_parameters_that_a_step_leaves_out_are_filled_in_with_their_defaults() -> None:
    task = load(BROKEN / "valid.toml")
    expected = {"per_channel": True, "calibrate": "minmax", "images": None}
    assert task.recipes[1].steps[0] == TechniqueUse(name="quantize.static", version=3, parameters=expected)


def test_an_array_becomes_the_tuple_that_a_technique_declares(tmp_path: Path) -> None:
    step = '{ technique = "prune.magnitude", sparsity = 0.5, layers = ["conv"] }'
    task = load(changed(tmp_path, '{ technique = "quantize.static", per_channel = true }', step))
    assert task.recipes[1].steps[0].parameters == {"sparsity": 0.5, "layers": ("conv",)}


def test_a_committed_list_gives_a_subset_its_digest_whatever_its_header_says(tmp_path: Path) -> None:
    path = written(tmp_path, VALID)
    plain = load(path).dataset.subset
    (tmp_path / "test.txt").write_text("# rule: every third, seed 0\ndigits/0003\n\ndigits/0004\n")
    digest = hashlib.sha256(b"digits/0003\ndigits/0004").hexdigest()
    assert load(path).dataset.subset == plain == Subset(name="test", digest=digest, file=tmp_path / "test.txt")


def test_a_list_that_is_not_what_its_first_lines_say_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, VALID)
    digest = hashlib.sha256(b"digits/0003\ndigits/0004").hexdigest()
    (tmp_path / "test.txt").write_text(f"# size: 2\n# sha256: {digest}\ndigits/0003\ndigits/0004\n")
    assert load(path).dataset.subset.digest == digest
    (tmp_path / "test.txt").write_text(f"# size: 2\n# sha256: {digest}\ndigits/0003\n")
    found = mistakes(path)
    assert [(name, line) for name, line, _ in found] == [("test.txt", 1), ("test.txt", 2)]
    assert "size is 1: the list has changed since it was written, or was cut" in found[0][2]


@pytest.mark.parametrize("name", taskfile.known_names())
def test_no_committed_task_judges_by_images_that_it_trains_or_calibrates_with(name: str) -> None:
    [task] = taskfile.load_all([name])
    source = open_dataset(task.dataset, data_root())

    def ids_of(subset: Subset) -> frozenset[str]:
        some = SOME_IDS[task.dataset.name, subset.name] if subset.file is None else read_ids(subset.file)
        return frozenset(some)

    def shared(one: Subset, two: Subset) -> set[str]:
        listed = None if two.file is None else ids_of(two)
        return {
            image for image in ids_of(one) if (source.holds(two.name, image) if listed is None else image in listed)
        }

    judged = task.dataset.subset
    for other in (task.dataset.train, task.dataset.calibration):
        if other is not None:
            assert other != judged
            assert not shared(judged, other)
            assert other.file is None or not shared(other, judged)


def test_a_split_of_the_dataset_needs_no_list(tmp_path: Path) -> None:
    text = VALID.replace('subset = "test"', 'subset = "train-batch-1"').replace('name = "digits"', 'name = "cifar10"')
    assert load(written(tmp_path, text)).dataset.subset == Subset(name="train-batch-1")


def test_a_split_shares_images_with_every_list_of_its_own_images(tmp_path: Path) -> None:
    problems = mistakes(changed(tmp_path, 'subset = "test"', 'subset = "all"'))
    assert {line for _, line, _ in problems} == {10, 11}
    assert all("as the subset that quality is read on" in message for _, _, message in problems)


def test_a_task_without_training_images_is_right_until_a_step_trains(tmp_path: Path) -> None:
    path = changed(tmp_path, 'train = "train"\n', "")
    (tmp_path / "train.txt").unlink()
    load(path)
    path.write_text(path.read_text() + '[recipes.tuned]\nsteps = [{ technique = "train.finetune", epochs = 1 }]\n')
    [(_, line, message)] = mistakes(path)
    assert line == 26
    assert "needs train images" in message


def test_a_task_is_named_by_its_path_below_tasks(tmp_path: Path) -> None:
    assert taskfile.task_name(tmp_path / "tasks" / "cifar10" / "resnet20.toml") == "cifar10/resnet20"
    assert taskfile.task_name(tmp_path / "mine.toml") == "mine"


def test_a_task_may_train_with_every_augmentation_that_training_knows(tmp_path: Path) -> None:
    from paretoboard.training import AUGMENTATIONS  # imports torch

    names = json.dumps(list(AUGMENTATIONS))
    task = load(changed(tmp_path, "lr = 0.1 }", f"lr = 0.1, augment = {names} }}"))
    assert task.model.train is not None
    assert task.model.train.augment == tuple(AUGMENTATIONS)
    [(_, line, message)] = mistakes(changed(tmp_path, "lr = 0.1 }", 'lr = 0.1, augment = ["flop"] }'))
    assert line == 15
    assert "Did you mean 'flip'?" in message


# Ablation

STACK = """
[recipes.stack]
ablate = true
steps = [
    { technique = "prune.magnitude", sparsity = 0.5 },
    { technique = "quantize.static", per_channel = true },
    { technique = "run.onnxruntime" },
]
"""


def test_an_ablation_becomes_recipes_of_the_task_and_references_of_its_runs(tmp_path: Path) -> None:
    task = load(written(tmp_path, VALID + STACK))
    found = {recipe.name: recipe for recipe in task.recipes}
    assert list(found) == [BASELINE, "int8", "stack:runtime", "stack:first-1", "stack"]
    assert [reference.name for reference in found["int8"].references] == ["stack:runtime"]
    # int8 is the stack without pruning, first-1 the stack without quantization and the rung before it as well.
    assert [reference.name for reference in found["stack"].references] == ["stack:runtime", "stack:first-1", "int8"]
    assert found["stack:first-1"].steps == (found["stack"].steps[0], found["stack"].steps[2])
    assert len({run.run_id for run in plan.expand([task])}) == 5


def test_asking_for_an_ablation_or_not_changes_no_other_recipe_s_id(tmp_path: Path) -> None:
    def ids(text: str) -> dict[str, str]:
        return {run.recipe.name: run.run_id for run in plan.expand([load(written(tmp_path, text))])}

    without, with_it = ids(VALID + STACK.replace("ablate = true", "ablate = false")), ids(VALID + STACK)
    assert without.keys() < with_it.keys()
    assert {name for name in without if without[name] != with_it[name]} == {"stack"}


def test_a_combination_that_leaves_steps_without_what_they_take_is_kept_out_with_the_reason(tmp_path: Path) -> None:
    steps = '{ technique = "convert.torch" }, { technique = "prune.magnitude", sparsity = 0.5 }'
    text = STACK.replace('    { technique = "prune.magnitude", sparsity = 0.5 },\n', "").replace(
        "per_channel = true },", "per_channel = true }," + steps + ","
    )
    task = load(written(tmp_path, VALID + text))
    [stack] = [recipe for recipe in task.recipes if recipe.name == "stack"]
    assert stack.ablation is not None
    reasons = {part.name: part.reason for part in stack.ablation.left_out if part.reason}
    [(name, reason)] = reasons.items()
    assert name == "quantize.static + prune.magnitude + run.onnxruntime"
    assert reason.startswith("prune.magnitude works on a torch model, but step 1 (quantize.static) left an ONNX graph")
    assert name not in {recipe.name for recipe in task.recipes}


# Extending


def test_a_file_that_extends_another_names_only_what_differs(tmp_path: Path) -> None:
    written(tmp_path, VALID, "base.toml")
    own = 'extends = "base.toml"\ntitle = "Mine"\nmeasure.batches = [1]\n'
    own += 'recipes.plain.steps = [{ technique = "run.compile" }]\n'
    task = load(written(tmp_path, own))
    assert (task.title, task.version) == ("Mine", 1)
    assert (task.measure.batches, task.measure.budget) == ((1,), "quick")
    assert [recipe.name for recipe in task.recipes] == [BASELINE, "int8", "plain"]


def test_weights_in_an_extending_file_take_the_place_of_training(tmp_path: Path) -> None:
    written(tmp_path, VALID, "base.toml")
    own = f'extends = "base.toml"\nmodel.weights = {{ file = "w.pth", sha256 = "{"0" * 64}" }}\n'
    model = load(written(tmp_path, own)).model
    assert model.train is None
    assert model.weights is not None


def test_a_mistake_is_reported_in_the_file_that_the_key_came_from(tmp_path: Path) -> None:
    written(
        tmp_path,
        VALID.replace('budget = "quick"', 'budget = "quik"').replace("seeds = [0]", "seeds = [-1]"),
        "base.toml",
    )
    found = mistakes(written(tmp_path, 'extends = "base.toml"\n\nseeds = [\n  0,\n  -2,\n]\n'))
    assert [(file, line) for file, line, _ in found] == [("base.toml", 19), ("task.toml", 5)]


def test_a_list_is_looked_for_beside_the_file_that_names_it(tmp_path: Path) -> None:
    written(tmp_path, VALID, "base.toml")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "test.txt").write_text("digits/0009\n")
    own = tmp_path / "below" / "mine.toml"
    own.write_text('extends = "../base.toml"\n')
    inherited = load(own).dataset.subset.file
    assert inherited is not None
    assert inherited.resolve() == tmp_path / "test.txt"
    own.write_text('extends = "../base.toml"\ndataset.subset = "test"\n')
    assert load(own).dataset.subset.file == own.parent / "test.txt"


def test_files_that_extend_each_other_in_a_ring_are_refused(tmp_path: Path) -> None:
    written(tmp_path, 'extends = "b.toml"\n', "a.toml")
    written(tmp_path, '\nextends = "a.toml"\n', "b.toml")
    [(file, line, message)] = mistakes(tmp_path / "a.toml")
    assert (file, line) == ("b.toml", 2)
    assert "leads back to this file" in message


# Finding


def test_tasks_are_found_by_file_folder_and_name(tmp_path: Path) -> None:
    folder = tmp_path / "tasks"
    for name in ("made/resnet20", "made/resnet8", "quick/digits"):
        written(folder, VALID, f"{name}.toml")
    find = lambda *wanted: [taskfile.task_name(file) for file in taskfile.find(wanted, tasks_folder=folder)]  # noqa: E731
    assert find("made/resnet20") == ["made/resnet20"]
    assert find("made") == find("tasks/made") == find(str(folder / "made")) == ["made/resnet20", "made/resnet8"]
    assert find("quick", str(folder / "quick" / "digits.toml"), "made/resnet8") == [
        "quick/digits",
        "made/resnet8",
    ]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("cifar10/resnet21", "unknown task 'cifar10/resnet21'. Did you mean 'cifar10/resnet20'?"),
        ("quik", "unknown task 'quik'. Did you mean 'quick'?"),
        ("tasks/quik", "Did you mean 'quick'?"),
        ("", "unknown task ''"),
        ("a\0b", "unknown task 'a\\x00b'"),
        ("x" * 5000, "task 'xxx"),
    ],
)
def test_an_unknown_task_is_refused_with_the_nearest_one(wanted: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        taskfile.find([wanted])
    assert message in str(caught.value)


def test_a_folder_without_task_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no task files \(\*\.toml\) in this folder"):
        taskfile.find([str(tmp_path)])


def test_the_mistakes_of_several_files_come_together(tmp_path: Path) -> None:
    written(tmp_path, "version = 1.5", "a.toml")
    written(tmp_path, "versoin = 1", "b.toml")
    with pytest.raises(TaskFileError) as caught:
        taskfile.load_all([str(tmp_path)])
    assert {problem.file.name for problem in caught.value.problems} == {"a.toml", "b.toml"}


def test_a_missing_file_and_a_folder_are_mistakes_of_that_path(tmp_path: Path) -> None:
    assert "no such file" in mistakes(tmp_path / "nowhere.toml")[0][2]
    assert "is a folder" in mistakes(tmp_path)[0][2]


# Mistakes


def test_every_broken_file_has_an_expectation_and_there_are_enough_of_them() -> None:
    assert {path.name for path in BROKEN.glob("*.toml")} - {"valid.toml"} == set(EXPECTED)
    assert len(EXPECTED) >= 40


@pytest.mark.parametrize("name", EXPECTED)
def test_a_broken_file_is_refused_with_exactly_its_mistakes_and_their_lines(name: str) -> None:
    found = mistakes(BROKEN / name)
    for file, line, fragment in EXPECTED[name]:
        assert any(where == file and at == line and fragment in text for where, at, text in found), found
    assert len(found) == len(EXPECTED[name]), found


@pytest.mark.parametrize("name", EXPECTED)
def test_the_command_line_ends_a_broken_file_with_exit_code_2(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["paretoboard", "plan", str(BROKEN / name)])
    with pytest.raises(SystemExit) as caught:
        main()
    output = capsys.readouterr()
    assert (caught.value.code, output.out) == (2, "")
    for file, line, _ in EXPECTED[name]:
        assert f"{file}:{line}: " in output.err


@pytest.mark.parametrize("name", ["eight_mistakes_at_once.toml", "picture.toml", "nested_a_thousand_deep.toml"])
def test_a_real_process_prints_mistakes_and_no_traceback(name: str) -> None:
    command = [Path(sys.executable).with_name("paretoboard"), "plan", BROKEN / name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"{name}:" in done.stderr
    assert "Traceback" not in done.stderr


# Whatever is in a file


def outcome(path: Path) -> None:
    """Loading gives a task whose runs have ids, or mistakes that each have a file and a line."""
    problems: tuple[Problem, ...] = ()
    try:
        task = load(path)
    except TaskFileError as error:
        problems = error.problems
    else:
        assert all(len(run.run_id) == 64 for run in plan.expand([task]))
        return
    assert problems
    for problem in problems:
        assert problem.message
        assert 1 <= problem.line <= problem.file.read_bytes().count(b"\n") + 1


FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
TOML_VALUES = st.sampled_from(
    [
        *(
            '""',
            '"cpu-1"',
            '"../x"',
            '"a\\u0000b"',
            "'''\nlines\n'''",
            "0",
            "-1",
            "9223372036854775808",
            "1e999",
            "-nan",
            "0.5",
        ),
        *("true", "1979-05-27T07:32:00Z", "07:32:00", "[]", "[[]]", "[1, 'a', {}]", "{}", "{ technique = 1 }", "[{}]"),
        *(
            '{ name = "digits", subset = [] }',
            '[{ technique = "run.compile", x = 2026-01-01 }]',
            "{ a.b.c = [{ d = 1 }] }",
        ),
    ]
)
KEYS = sorted(
    {line.split(" = ")[0] for line in VALID.splitlines() if " = " in line and not line.startswith(" ")}
    | {
        "extends",
        "preprocess",
        "mean",
        "std",
        "range",
        "weights",
        "timeout_s",
        "recipes",
        "dataset",
        "model",
        "measure",
    }
)


@FUZZ
@given(content=st.binary(max_size=300))
def test_no_bytes_raise_anything_but_mistakes(tmp_path: Path, content: bytes) -> None:
    outcome(written(tmp_path, content))


@FUZZ
@given(data=st.data())
def test_no_mutation_of_a_valid_file_raises_anything_but_mistakes(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(VALID.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 12))
        content[at : at + length] = data.draw(
            st.one_of(st.binary(max_size=4), st.sampled_from([b"", b"[", b"}", b'"', b"=", b"\n", b"#"]))
        )
    outcome(written(tmp_path, bytes(content)))


@FUZZ
@given(data=st.data())
def test_no_value_at_any_key_raises_anything_but_mistakes(tmp_path: Path, data: st.DataObject) -> None:
    lines = VALID.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines)))
        lines.insert(at, f"{data.draw(st.sampled_from(KEYS))} = {data.draw(TOML_VALUES)}")
    with contextlib.suppress(tomllib.TOMLDecodeError):  # half the point is that some of them are valid TOML
        tomllib.loads("\n".join(lines))
    outcome(written(tmp_path, "\n".join(lines)))


@FUZZ
@given(value=TOML_VALUES, data=st.data())
def test_no_value_in_place_of_another_raises_anything_but_mistakes(
    tmp_path: Path, value: str, data: st.DataObject
) -> None:
    lines = VALID.splitlines()
    places = [index for index, line in enumerate(lines) if " = " in line and not line.startswith((" ", "steps"))]
    at = data.draw(st.sampled_from(places))
    lines[at] = f"{lines[at].split(' = ')[0]} = {value}"
    outcome(written(tmp_path, "\n".join(lines)))


# Profiles


def test_every_profile_of_the_project_loads() -> None:
    found = {profile.name: profile for profile in profiles.load_all(profiles_folder())}
    assert {"cpu-1", "cpu-all", "cuda"} <= set(found)
    assert (found["cpu-1"].cores, found["cpu-all"].cores, found["cuda"].device) == (1, "all", "cuda")


def test_a_mistake_in_a_profile_has_the_profiles_own_line(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('title = "Mine"\n\ncores = "al"\n[settings]\npriority = nan\n')
    with pytest.raises(TaskFileError) as caught:
        profiles.load("mine", tmp_path)
    first, second = caught.value.problems
    assert str(first).endswith(
        "mine.toml:3: cores: found 'al' (a string); a whole number or 'all' would be right. Did you mean 'all'?"
    )
    assert second.line == 5


def test_an_unknown_profile_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'cpu-all'"):
        profiles.load("cpu-al", profiles_folder())


# The project's own tasks and their schema


def test_the_projects_own_task_files_are_right() -> None:
    tasks = {task.name: task for task in taskfile.load_all([str(tasks_folder())])}
    assert {"quick/digits", "cifar10/resnet20", "cifar10/resnet8"} <= set(tasks)
    for task in tasks.values():
        assert task.file.read_text().startswith("#:schema ../task.schema.json\n")


def test_tasks_that_extend_resnet20_keep_its_recipes() -> None:
    resnet20, resnet8 = taskfile.load_all(["cifar10/resnet20", "cifar10/resnet8"])
    assert resnet8.recipes == resnet20.recipes
    assert resnet8.dataset == resnet20.dataset
    assert resnet8.preprocess.range == "byte"


def test_the_committed_schema_is_what_the_code_generates() -> None:
    committed = (tasks_folder() / "task.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run `make schema`"


def test_the_schema_takes_what_the_loader_takes_and_refuses_what_it_refuses() -> None:
    validator = jsonschema.Draft202012Validator(task_schema(techniques=FAKES))
    jsonschema.Draft202012Validator.check_schema(validator.schema)

    def takes(values: Any) -> bool:
        return bool(validator.is_valid(json.loads(json.dumps(values, default=str))))

    assert takes(tomllib.loads(VALID))
    assert takes({"extends": "valid.toml", "measure": {"batches": [1]}})
    assert not takes({"measure": {"batches": [1]}})
    shapes = [
        "unknown_key",
        "unknown_key_in_table",
        "version_is_a_string",
        "unknown_model",
        "no_weights",
        "weights_of_two_kinds",
        "file_beside_a_name",
        "file_of_another_kind",
        "file_with_weights",
        "unknown_budget",
    ]
    shapes += [
        "unknown_technique",
        "unknown_parameter",
        "parameter_out_of_range",
        "parameter_is_missing",
        "recipe_named_baseline",
    ]
    for name in shapes:
        assert not takes(tomllib.loads((BROKEN / f"{name}.toml").read_text())), name
