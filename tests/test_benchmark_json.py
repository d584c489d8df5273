"""Files of pytest-benchmark: all of them comes back, its own tools read ours, and sessions are judged as nights are."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import builders
from paretoboard import benchmarks, store
from paretoboard.benchmarks import Document
from paretoboard.benchmarks.exporting import statistics_of
from paretoboard.errors import InputError, StoreError

SAMPLES = {path.stem: path for path in sorted((Path(__file__).parent / "pytest_benchmark_files").glob("v*.json"))}
WHEN = datetime.datetime(2026, 11, 1, 3, tzinfo=datetime.UTC)


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "paretoboard", "results", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def python(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        # pytest-benchmark times nothing where it believes to be a worker of pytest-xdist.
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        | {"PY_COLORS": "0"},
    )


def sample(name: str = "v5") -> dict:
    return json.loads(SAMPLES[name].read_text())


# the round trip


@pytest.mark.parametrize("name", ["v4", "v5"])
def test_a_real_file_of_either_version_comes_back_as_it_was(name: str, tmp_path: Path) -> None:
    assert sample(name)["version"].startswith(name[1])
    stored = command("import", SAMPLES[name], "--results", tmp_path)
    assert stored.returncode == 0, stored.stderr
    assert "3 benchmarks, stored as 20261123T" in stored.stdout
    out = tmp_path / "back.json"
    back = command("export", out, "--format", "pytest-benchmark", "--session", "last", "--results", tmp_path)
    assert back.returncode == 0, back.stderr
    assert json.loads(out.read_text()) == sample(name)


def test_a_file_that_is_imported_twice_is_there_once(tmp_path: Path) -> None:
    document = benchmarks.read(SAMPLES["v5"])
    first, new = benchmarks.keep(tmp_path, document)
    again, new_again = benchmarks.keep(tmp_path, document)
    assert (new, new_again, first) == (True, False, again)
    assert len(benchmarks.sessions(tmp_path)) == 1


def test_a_file_without_rounds_comes_back_without_them(tmp_path: Path) -> None:
    content = sample()
    for benchmark in content["benchmarks"]:
        del benchmark["stats"]["data"]
    session, _ = benchmarks.keep(tmp_path, Document(content=content))
    assert session.read().content == content


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ROUNDS = st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=30)


@settings(max_examples=40)
@given(extra=PLAIN, top=PLAIN, names=st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True), data=st.data())
def test_whatever_a_file_holds_comes_back(tmp_path_factory, extra, top, names, data) -> None:
    folder = tmp_path_factory.mktemp("sessions")
    template = sample()["benchmarks"][0]
    content = {**sample(), "something else": top, "benchmarks": []}
    for name in names:
        rounds = data.draw(ROUNDS)
        content["benchmarks"].append(
            {**copy.deepcopy(template), "fullname": name, "extra_info": extra, "stats": statistics_of(rounds)}
        )
    path = folder / "given.json"
    path.write_text(json.dumps(content))
    session, _ = benchmarks.keep(folder, benchmarks.read(path))
    assert session.read().content == json.loads(path.read_text())


def test_dates_of_version_4_mean_utc(tmp_path: Path) -> None:
    document = benchmarks.read(SAMPLES["v4"])
    assert document.measured_at == datetime.datetime.fromisoformat(sample("v4")["datetime"] + "+00:00")


# files that are wrong


def broken(change) -> bytes:
    content = sample()
    change(content)
    return json.dumps(content).encode()


WRONG = {
    "not JSON": (b"{'a': 1}", "not JSON"),
    "cut short": (SAMPLES["v5"].read_bytes()[:900], "not JSON"),
    "a list": (b"[1, 2]", "found a list; an object would be right"),
    "of another version": (broken(lambda c: c.update(version="3.4.1")), "version: found '3.4.1'"),
    "without benchmarks": (broken(lambda c: c.pop("benchmarks")), "benchmarks: is missing"),
    "with a date that is none": (broken(lambda c: c.update(datetime="last night")), "datetime: found 'last night'"),
    "with text for a number": (
        broken(lambda c: c["benchmarks"][1]["stats"].update(mean="fast")),
        "benchmarks[1].stats.mean: found 'fast'; a number would be right",
    ),
    "with no number": (
        SAMPLES["v5"].read_bytes().replace(b'"rounds": 20', b'"rounds": NaN', 1),
        "found NaN, which is no number of seconds",
    ),
    "with a round that is none": (
        broken(lambda c: c["benchmarks"][0]["stats"]["data"].__setitem__(3, None)),
        "benchmarks[0].stats.data[3]: found nothing; a number would be right",
    ),
    "with true for a number": (
        broken(lambda c: c["benchmarks"][0]["stats"].update(mean=True)),
        "benchmarks[0].stats.mean: found True; a number would be right",
    ),
    "without rounds": (
        broken(lambda c: c["benchmarks"][0]["stats"].update(rounds=0)),
        "benchmarks[0].stats.rounds: found 0; a number above zero would be right",
    ),
    "with one name twice": (
        broken(lambda c: c["benchmarks"][1].update(fullname=c["benchmarks"][0]["fullname"])),
        "benchmarks[1].fullname: found 'test_s.py::test_sum[10]' twice",
    ),
    "with a number without end": (
        broken(lambda c: c["benchmarks"][0]["stats"].update(min=10**400)),
        "benchmarks[0].stats.min: found a whole number of 1329 bits; a number",
    ),
    "with a number that overflows": (b'{"extra": 1e999,' + SAMPLES["v5"].read_bytes().lstrip()[1:], "Out of range"),
    "with half a character": (
        broken(lambda c: c["benchmarks"][0].update(fullname="a\ud800")),
        "benchmarks[0].fullname: found 'a\\ud800'; text would be right",
    ),
    "of a year that no clock shows": (
        broken(lambda c: c.update(datetime="0001-01-01T00:00:00+05:00")),
        "datetime: found",
    ),
    "nested a hundred thousand deep": (b"[" * 100_000, "not JSON"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_file_that_is_wrong_is_named_with_the_place_and_nothing_is_stored(kind: str, tmp_path: Path) -> None:
    content, says = WRONG[kind]
    path = tmp_path / "given.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as raised:
        benchmarks.read(path)
    assert str(raised.value).startswith(str(path))
    assert says in str(raised.value)


def test_of_a_list_full_of_mistakes_the_first_is_told(tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(broken(lambda c: c["benchmarks"][0]["stats"].update(data=[None] * 1000)))
    with pytest.raises(InputError) as raised:
        benchmarks.read(path)
    assert str(raised.value) == f"{path}: benchmarks[0].stats.data[0]: found nothing; a number would be right"


def test_of_several_files_none_is_stored_where_one_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text("{}")
    done = command("import", SAMPLES["v5"], wrong, tmp_path / "missing.json", "--results", tmp_path / "results")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert benchmarks.sessions(tmp_path / "results") == ()


def test_a_stored_session_that_is_damaged_is_named_and_costs_nothing_of_the_others(tmp_path: Path) -> None:
    for name in SAMPLES:
        benchmarks.keep(tmp_path, benchmarks.read(SAMPLES[name]))
    first = benchmarks.sessions(tmp_path)[0]
    first.path.write_bytes(first.path.read_bytes()[:-40])
    with pytest.raises(StoreError, match="damaged"):
        first.read()
    done = command("benchmarks", "--results", tmp_path)
    assert done.returncode == 0
    assert f"left out: {first.path}: damaged" in done.stderr
    assert "test_s.py::test_sum[100]" in done.stdout


# our own, for its tools


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for record in builders.board_records():
        store.append(tmp_path / "results", record)
    return tmp_path / "results"


def test_its_own_command_compares_what_we_export(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "ours.json"
    done = command("export", out, "--format", "pytest-benchmark", "--recipe", "ort-int8", "--results", results)
    assert done.returncode == 0, done.stderr
    shown = python("-m", "pytest_benchmark", "compare", out, "--columns", "min,median,rounds", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "ort-int8[cpu-1-0-batch1]" in shown.stdout.replace(" ", "")
    (benchmark, *_) = json.loads(out.read_text())["benchmarks"]
    assert benchmark["extra_info"]["verdict"] == "better"
    assert benchmark["stats"]["rounds"] == len(benchmark["stats"]["data"])


def test_what_we_export_comes_back_from_an_import_as_it_was(results: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "ours.json", tmp_path / "back.json"
    assert command("export", out, "--format", "pytest-benchmark", "--results", results).returncode == 0
    assert command("import", out, "--results", results).returncode == 0
    done = command("export", back, "--format", "pytest-benchmark", "--session", "last", "--results", results)
    assert done.returncode == 0, done.stderr
    assert json.loads(out.read_text()) == json.loads(back.read_text())


TEST_FILE = """
import pytest
@pytest.mark.parametrize("size", [10, 100])
def test_sum(benchmark, size):
    benchmark.pedantic(sum, args=(range(size),), rounds=5, iterations=20)
"""


def test_a_session_compares_itself_with_what_we_give_back_and_tells_our_facts(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_FILE)
    common = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    first = python(*common, "--benchmark-json=first.json", "--benchmark-save-data", cwd=tmp_path)
    assert first.returncode == 0, first.stdout
    facts = json.loads((tmp_path / "first.json").read_text())
    assert len(facts["machine_info"]["paretoboard"]["hardware_id"]) == 64
    assert "torch" in facts["machine_info"]["paretoboard"]["environment"]["libraries"]
    assert facts["paretoboard"]["load1"] >= 0
    assert {"cores", "governor", "boost"} <= facts["paretoboard"].keys()
    command("import", tmp_path / "first.json", "--results", tmp_path / "results")
    given = tmp_path / "given.json"
    command("export", given, "--format", "pytest-benchmark", "--session", "last", "--results", tmp_path / "results")
    second = python(*common, f"--benchmark-compare={given.name}", cwd=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "test_sum[10] (given)" in second.stdout
    assert "test_sum[10] (NOW)" in second.stdout


def test_timed_runs_of_two_machines_are_not_put_into_one_file(results: Path, tmp_path: Path) -> None:
    other = builders.run_record("bf16", provenance=builders.provenance(hardware_id="f" * 64))
    store.append(results, other)
    done = command("export", tmp_path / "x.json", "--format", "pytest-benchmark", "--results", results)
    assert done.returncode == 2
    assert "runs of one machine would be right (--machine ID)" in done.stderr
    command("export", tmp_path / "x.json", "--format", "pytest-benchmark", "--machine", "ffff", "--results", results)
    (names,) = [{each["params"]["recipe"] for each in json.loads((tmp_path / "x.json").read_text())["benchmarks"]}]
    assert names == {"bf16"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.csv", "--format", "pytest-benchmark"], "a name that ends in .json can"),
        (["x.json", "--session", "last"], "go with --format pytest-benchmark"),
        (["x.json", "--format", "pytest-benchmark", "--session", "2026"], "unknown session of pytest-benchmark"),
    ],
)
def test_what_can_t_be_exported_is_told(arguments, says, results: Path, tmp_path: Path) -> None:
    done = command("export", tmp_path / arguments[0], *arguments[1:], "--results", results)
    assert done.returncode == 2
    assert says in done.stderr


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    store.append(tmp_path, builders.run_record(title="=cmd|' /C calc'!A0", reason="+1"))
    done = command("query", "--csv", "--columns", "title,reason,quality", "--results", tmp_path)
    assert done.stdout.splitlines()[1].startswith("'=cmd|' /C calc'!A0,'+1,0.95")


# sessions judged as nights are


def session_at(night: int, factor: float = 1.0, *, machine: str = "a" * 64, torch: str = "2.14") -> Document:
    content = sample()
    content["datetime"] = (WHEN + datetime.timedelta(days=night)).isoformat()
    content["machine_info"]["paretoboard"] = {"hardware_id": machine, "environment": {"libraries": {"torch": torch}}}
    content["commit_info"]["id"] = f"{night:040x}"
    for benchmark in content["benchmarks"]:
        slower = factor if benchmark["name"] == "test_sorted" else 1.0
        jitter = 1 + 0.001 * (-1) ** night
        benchmark["stats"]["data"] = [slower * jitter * value for value in benchmark["stats"]["data"]]
    return Document(content=content)


def found_in(documents) -> dict[str, benchmarks.Judged]:
    return {each.series.key.recipe.split("::")[1]: each for each in benchmarks.judged(documents)}


def test_a_slowdown_that_later_sessions_confirm_is_a_regression_of_that_benchmark_alone(tmp_path: Path) -> None:
    documents = [session_at(night, 1.06 if night >= 6 else 1.0) for night in range(9)]
    judged = found_in(documents)
    change = judged["test_sorted"].change
    assert (change.state, change.worse, change.first.day) == ("confirmed", True, datetime.date(2026, 11, 7))
    assert change.share == pytest.approx(0.06, abs=0.003)
    assert judged["test_sum[10]"].change is None
    for document in documents:
        benchmarks.keep(tmp_path, document)
    done = command("benchmarks", "--results", tmp_path)
    assert done.returncode == 1
    assert "slower since 2026-11-07, confirmed" in done.stdout
    (told,) = [
        each for each in json.loads(command("benchmarks", "--json", "--results", tmp_path).stdout) if each["change"]
    ]
    assert told["change"]["commits"] == [f"{5:040x}", f"{6:040x}"]


def test_too_few_sessions_say_so_and_are_no_regression() -> None:
    judged = found_in([session_at(night, 2.0 if night else 1.0) for night in range(3)])
    assert judged["test_sorted"].change is None
    assert judged["test_sorted"].says == "3 of 6 sessions that a comparison needs"


def test_sessions_of_two_machines_or_softwares_are_never_compared() -> None:
    documents = [session_at(night) for night in range(6)]
    elsewhere = [session_at(night, 1.5, machine="b" * 64) for night in range(6, 12)]
    both = benchmarks.judged([*documents, *elsewhere])
    assert len(both) == 6
    assert all(each.change is None for each in both)
    updated = [session_at(night, 1.5, torch="2.15") for night in range(6, 12)]
    assert all(each.change is None for each in benchmarks.judged([*documents, *updated]))


def test_the_order_in_which_sessions_are_given_does_not_matter() -> None:
    documents = [session_at(night, 1.06 if night >= 6 else 1.0) for night in range(9)]
    assert benchmarks.judged(documents) == benchmarks.judged(documents[::-1])


def test_the_value_of_a_session_is_the_mean_of_its_faster_half() -> None:
    from paretoboard.benchmarks.judging import session_value

    assert session_value({"data": [4.0, 1.0, 3.0, 2.0], "median": 2.5}) == 1.5
    assert session_value({"data": [7.0], "median": 7.0}) == 7.0
    assert session_value({"median": 2.5}) == 2.5


def test_a_document_is_the_same_whatever_the_order_of_its_fields() -> None:
    document = benchmarks.read(SAMPLES["v5"])
    turned = dataclasses.replace(document, content=dict(reversed(document.content.items())))
    assert document.digest == turned.digest


def test_the_software_of_an_exported_run_is_its_own() -> None:
    same = builders.run_record("bf16")
    later = builders.run_record(
        "int8",
        started_at=builders.MEASURED_AT + datetime.timedelta(days=1),
        provenance=builders.provenance(environment_id="e" * 64),
    )
    exported = benchmarks.of_records([same, later])
    found = {each["params"]["recipe"]: each["extra_info"] for each in exported.benchmarks}
    assert found["bf16"]["environment_id"] == same.provenance.environment_id
    assert found["int8"]["environment_id"] == "e" * 64
    judged = {each.series.title: each for each in benchmarks.judged([exported])}
    nights = {name: each.series.nights[0].environment_id for name, each in judged.items()}
    assert len(set(nights.values())) == 2


# what a timer counts in


def test_rounds_that_are_whole_numbers_come_back_as_such(tmp_path: Path) -> None:
    content = sample()
    content["benchmarks"][0]["stats"]["data"] = [3, 2, 2**70]
    content["benchmarks"][1]["stats"]["data"] = [3.0, 2, 1e-9]
    session, _ = benchmarks.keep(tmp_path, Document(content=content))
    assert json.dumps(session.read().content) == json.dumps(content)


def test_a_timer_that_counts_nanoseconds_is_read_in_nanoseconds(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_FILE)
    done = python(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py", "--benchmark-json=ns.json"),
        *("--benchmark-save-data", "--benchmark-timer=time.perf_counter_ns"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stdout
    document = benchmarks.read(tmp_path / "ns.json")
    least = {each["fullname"]: each["stats"]["min"] for each in document.benchmarks}
    for each in benchmarks.judged([document]):
        assert each.newest >= least[each.series.title] * 1e-9
        assert each.newest < least[each.series.title] * 1e-6


def test_sessions_of_two_timers_are_never_compared() -> None:
    documents = [session_at(night, 1.5 if night >= 6 else 1.0) for night in range(12)]
    for document in documents[6:]:
        for benchmark in document.benchmarks:
            benchmark["options"]["timer"] = "process_time"
    assert all(each.change is None for each in benchmarks.judged(documents))


def test_sessions_with_rounds_and_without_are_never_compared() -> None:
    documents = [session_at(night) for night in range(12)]
    for document in documents[6:]:
        for benchmark in document.benchmarks:
            del benchmark["stats"]["data"]
            benchmark["stats"]["median"] *= 2
    assert all(each.change is None for each in benchmarks.judged(documents))


# looked after like records


def test_sessions_are_verified_and_merged_with_records(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for name in SAMPLES:
        benchmarks.keep(other, benchmarks.read(SAMPLES[name]))
    merged = command("merge", other, "--results", mine)
    assert (merged.returncode, merged.stdout) == (0, f"{other}: 2 sessions copied, 0 there already\n")
    assert "0 sessions copied, 2 there already" in command("merge", other, "--results", mine).stdout
    checked = command("verify", "--results", mine)
    assert checked.returncode == 0
    assert "2 sessions of pytest-benchmark, none of them damaged" in checked.stdout
    first = benchmarks.sessions(mine)[0]
    first.path.write_bytes(first.path.read_bytes()[:-40])
    damaged = command("verify", "--results", mine)
    assert damaged.returncode == 3
    assert f"damaged: {first.path}: damaged" in damaged.stderr
    store.append(mine, builders.run_record())
    refused = command("merge", mine, "--results", tmp_path / "third")
    assert refused.returncode == 3
    assert not (tmp_path / "third").exists()


def test_an_export_without_pytest_benchmark_says_what_to_install(results: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from paretoboard import benchmarks, store\n"
        "from paretoboard.errors import InputError\n"
        f"records = store.read(Path({str(results)!r}), with_samples=True).records\n"
        "sys.meta_path.clear()  # nothing is installed any more\n"
        "try: benchmarks.of_records(records)\n"
        "except InputError as error: print(error)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert "pip install pytest-benchmark" in done.stdout, done.stderr


def test_a_stranger_s_names_don_t_reach_the_terminal_as_they_are(tmp_path: Path) -> None:
    content = sample()
    content["benchmarks"][0]["fullname"] = "\x1b[31mred\nnext"
    benchmarks.keep(tmp_path, Document(content=content))
    done = command("benchmarks", "--results", tmp_path)
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mred\\nnext" in done.stdout
