"""`pytest tests/taggers/test_tag.py`: documents to attributes, through the whole stage."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dolma.config import TagConfig, TaggerSpec
from dolma.data import discovery, streams
from dolma.data.attributes import read_attributes
from dolma.data.columns import DocInt
from dolma.data.dataset import Dataset
from dolma.data.documents import DocumentWriter, Reading
from dolma.data.manifest import FileSet, manifest_of, read_manifest, write_manifest
from dolma.errors import ConfigError, DataError, OutputExistsError, RecordError
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.taggers import measuring
from dolma.taggers import tag as stage
from dolma.taggers.registry import _cached
from dolma.taggers.tag import plan, tag

ONE = RunOptions(workers=1)
COUNT = '''
import pyarrow as pa
from dolma.data.columns import DocInt

class Count:
    """Counts a character."""
    name, version, outputs = "count", 1, {"n": DocInt("how many")}

    def __init__(self, character="a"):
        self.character = character

    def __call__(self, batch):
        for text in batch.texts():
            if "crash" in text:
                raise ValueError("cannot count " + text)
        return {"n": pa.array([text.count(self.character) for text in batch.texts()])}
'''


@pytest.fixture(autouse=True)
def fresh_taggers() -> Iterator[None]:
    yield
    _cached.cache_clear()
    for name in [name for name in sys.modules if name.startswith("dolma_tagger_file_")]:
        del sys.modules[name]


@pytest.fixture
def count(tmp_path: Path) -> str:
    """The path of a tagger of the user's own."""
    path = tmp_path / "count.py"
    path.write_text(COUNT)
    return str(path)


def put(folder: Path, name: str, texts: list[str], *, ids: bool = True) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"text": text} | ({"id": f"{path.stem}-{i}"} if ids else {}) for i, text in enumerate(texts)]
    with streams.open_output(str(path)) as out:
        out.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Dataset:
    """Two sources; three, two and no documents."""
    put(tmp_path, "web/documents/a.jsonl.gz", ["a b", "", "aaa"])
    put(tmp_path, "web/documents/deep/b.jsonl.zst", ["xa", "\U0001f600"])
    put(tmp_path, "books/documents/c.jsonl", [])
    return Dataset(documents=(f"{tmp_path}/*/documents/**/*.jsonl*",))


def run(
    dataset: Dataset, *taggers: str | TaggerSpec, reading: Reading | None = None, **fields: Any
) -> StageReport[Any]:
    options = fields.pop("options", ONE)
    return tag(dataset, TagConfig(taggers=list(taggers), **fields), reading=reading, options=options)


def files(folder: Path, pattern: str = "*/attributes/**/*") -> dict[str, bytes]:
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and path.name != ".inputs.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def values(path: Path, output: str) -> list[Any]:
    return read_attributes(str(path)).column(output).to_pylist()


# --- what is written -------------------------------------------------------------------------------------------------


def test_a_row_per_document_in_the_same_order(tmp_path: Path, corpus: Dataset) -> None:
    report = run(corpus, "length")
    assert (report.outputs, report.complete_before) == (3, False)
    table = read_attributes(str(tmp_path / "web/attributes/length/a.jsonl.gz.parquet"))
    assert table.select(["id", "characters", "words"]).to_pydict() == {
        "id": ["a.jsonl-0", "a.jsonl-1", "a.jsonl-2"],
        "characters": [3, 0, 3],
        "words": [2, 0, 1],
    }
    assert values(tmp_path / "web/attributes/length/deep/b.jsonl.zst.parquet", "bytes") == [2, 4]
    assert values(tmp_path / "books/attributes/length/c.jsonl.parquet", "words") == []


def test_the_ledger_accounts_for_every_document(tmp_path: Path, corpus: Dataset) -> None:
    ledger = run(corpus, "length").ledger
    assert list(ledger.accounts) == ["web"]
    total = ledger.total()
    assert (total.taken.documents, total.out.documents, total.taken.bytes, total.failed) == (5, 5, 12, 0)
    manifest = read_manifest(str(tmp_path / "web/attributes/length"))
    assert manifest is not None
    assert [out.rows for out in manifest.outputs] == [3, 2]
    assert [file.name for file in manifest.inputs] == ["a.jsonl.gz", "deep/b.jsonl.zst"]


def test_a_second_run_does_nothing(tmp_path: Path, corpus: Dataset) -> None:
    first = run(corpus, "length")
    before = files(tmp_path)
    second = run(corpus, "length")
    assert (second.complete_before, second.ledger.total()) == (True, first.ledger.total())
    assert files(tmp_path) == before


def test_adding_a_tagger_runs_that_one_only(tmp_path: Path, corpus: Dataset, count: str) -> None:
    run(corpus, "length")
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/attributes/length/**/*")}
    report = run(corpus, "length", count)
    assert not report.complete_before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert values(tmp_path / "web/attributes/count/a.jsonl.gz.parquet", "n") == [1, 0, 3]


def test_options_reach_the_tagger_and_belong_to_the_run(tmp_path: Path, corpus: Dataset, count: str) -> None:
    run(corpus, TaggerSpec(use=count, options={"character": "b"}))
    assert values(tmp_path / "web/attributes/count/a.jsonl.gz.parquet", "n") == [1, 0, 0]
    with pytest.raises(OutputExistsError, match=r'options\.character was "b", now "x"'):
        run(corpus, TaggerSpec(use=count, options={"character": "x"}))


def test_a_changed_tagger_file_is_another_tagger(tmp_path: Path, corpus: Dataset, count: str) -> None:
    run(corpus, count)
    Path(count).write_text(COUNT + "\n# changed\n")
    with pytest.raises(OutputExistsError, match=r'tagger was "count\.py \w+", now "count\.py \w+"'):
        run(corpus, count)


OPENS = """
from pathlib import Path
import pyarrow as pa
import pyarrow.parquet as pq
from dolma.data.columns import DocInt

class Opens:
    "Counts what a list names."
    name, version, outputs = "opens", 1, {"n": DocInt("how many")}

    def __init__(self, path):
        self.files = (path,)
        self.words = Path(path).read_text().split()

    def __call__(self, batch):
        return {"n": pa.array([sum(map(text.count, self.words)) for text in batch.texts()])}
"""


@pytest.mark.parametrize("name", [None, "renamed"])
def test_a_changed_list_is_another_tagger(tmp_path: Path, corpus: Dataset, name: str | None) -> None:
    (tmp_path / "opens.py").write_text(OPENS)
    (tmp_path / "list.txt").write_text("a")
    spec = TaggerSpec(use=str(tmp_path / "opens.py"), name=name, options={"path": str(tmp_path / "list.txt")})
    run(corpus, spec)
    assert run(corpus, spec).complete_before
    (tmp_path / "list.txt").write_text("b")
    with pytest.raises(
        OutputExistsError, match=r'files now lacks \["list\.txt \w{32}"\] and has \["list\.txt \w{32}"\]'
    ):
        run(corpus, spec)


def test_one_tagger_under_two_names(tmp_path: Path, corpus: Dataset, count: str) -> None:
    run(corpus, count, TaggerSpec(use=count, name="bees", options={"character": "b"}))
    assert values(tmp_path / "web/attributes/count/a.jsonl.gz.parquet", "n") == [1, 0, 3]
    assert values(tmp_path / "web/attributes/bees/a.jsonl.gz.parquet", "n") == [1, 0, 0]


def test_two_taggers_at_one_place_are_refused_before_work(tmp_path: Path, corpus: Dataset, count: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\.tag\.taggers\[1\]: two taggers would both write attributes/length\n"):
        run(corpus, "length", TaggerSpec(use=count, name="length"))
    assert files(tmp_path) == {}


def test_attributes_in_a_folder_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, "corpus/books/a.jsonl", ["x"])
    dataset = Dataset(documents=(f"{tmp_path}/corpus/**/*.jsonl",), attributes=str(tmp_path / "out"))
    run(dataset, "length")
    assert values(tmp_path / "out/length/books/a.jsonl.parquet", "characters") == [1]


def test_missing_ids_stand_in_the_attributes(tmp_path: Path) -> None:
    put(tmp_path, "web/documents/a.jsonl", ["x", "y"], ids=False)
    run(Dataset(documents=(f"{tmp_path}/web/documents/*.jsonl",)), "length")
    assert values(tmp_path / "web/attributes/length/a.jsonl.parquet", "id") == ["a.jsonl:1", "a.jsonl:2"]


@pytest.mark.parametrize("experiment", [None, "first-run"])
def test_the_dolma_1_form(tmp_path: Path, corpus: Dataset, experiment: str | None) -> None:
    run(corpus, "length", attributes_format="dolma1", experiment=experiment)
    path = tmp_path / "web/attributes/length/a.jsonl.gz"
    first = json.loads(gzip.decompress(path.read_bytes()).splitlines()[0])
    key = f"{(experiment or 'length').replace('-', '_')}__length__words"
    assert (first["id"], first["attributes"][key], first["source"]) == ("a.jsonl-0", [[0, 3, 2]], "web")
    assert values(path, "words") == [2, 0, 1]


# --- the same bytes --------------------------------------------------------------------------------------------------


def test_workers_and_listing_order_leave_no_trace(tmp_path: Path, count: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for copy in "xyz":
        for i in range(5):
            put(tmp_path / copy, f"web/documents/{i}.jsonl", [f"{i} a" * n for n in range(20)])
    run(Dataset(documents=(f"{tmp_path}/x/*/documents/*",)), "length", count)
    run(Dataset(documents=(f"{tmp_path}/y/*/documents/*",)), "length", count, options=RunOptions(workers=2))
    find = discovery.find

    def find_backwards(pattern: str, **options: Any) -> discovery.Found:
        found = find(pattern, **options)
        return found._replace(paths=found.paths[::-1])

    monkeypatch.setattr(discovery, "find", find_backwards)
    run(Dataset(documents=(f"{tmp_path}/z/*/documents/*",)), "length", count)
    made = [files(tmp_path / copy) for copy in "xyz"]
    assert len(made[0]) == 12
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".parquet"])
def test_a_file_in_pieces_has_the_attributes_of_the_whole(tmp_path: Path, suffix: str, format: str) -> None:
    lines = [json.dumps({"text": "ab " * n}).encode() for n in range(200)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_ZSTD_FRAME_BYTES", 500)
        patch.setattr("dolma.data.formats.rows._GROUP_BYTES", 5_000)
        for copy in "xy":
            with DocumentWriter(str(tmp_path / copy / "web/documents" / f"a{suffix}")) as writer:
                for line in lines:
                    writer.write([line])
    tables = []
    for copy, piece_bytes in (("x", 1 << 30), ("y", 500)):
        dataset = Dataset(documents=(f"{tmp_path}/{copy}/web/documents/*",), piece_bytes=piece_bytes)
        assert (len(dataset.pieces(dataset.shards())) > 2) == (copy == "y")
        run(dataset, "length", attributes_format=format)
        (shard,) = dataset.shards()
        path = dataset.attribute_files("length", [shard])[0][1]
        assert path is not None
        manifest = read_manifest(str(tmp_path / copy / "web/attributes/length"))
        assert manifest is not None
        assert [out.rows for out in manifest.outputs] == [200]
        tables.append(read_attributes(path).to_pylist())
        assert not list((tmp_path / copy).rglob(".*"))
    assert len(tables[0]) == 200
    assert tables[0] == tables[1]


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_failing_tagger_names_the_document_where_that_is_asked_for(tmp_path: Path, count: str) -> None:
    path = put(tmp_path, "web/documents/a.jsonl", ["a", "b", "crash", "d"])
    with pytest.raises(
        RecordError,
        match=rf"{path}:3: the tagger 'count' failed on document 'a-2': ValueError: cannot count crash "
        r"\(count.py:15\)\n  without `--on-tagger",
    ):
        run(Dataset(documents=(str(path),)), count, on_tagger_error="fail")
    assert [name for name in files(tmp_path) if name.endswith(".parquet")] == []


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
def test_documents_that_a_tagger_fails_on_say_why_and_others_are_as_without_them(
    tmp_path: Path, count: str, format: str
) -> None:
    texts = ["a", "crash", "aa", "crash too", ""]
    put(tmp_path, "x/documents/a.jsonl", texts)
    put(tmp_path, "y/documents/a.jsonl", [text for text in texts if "crash" not in text])
    for name in "xy":
        report = run(Dataset(documents=(f"{tmp_path}/{name}/documents/*",)), count, "length", attributes_format=format)
        total = report.ledger.total()
        n = 5 if name == "x" else 3
        assert (total.taken.documents, total.out.documents, total.failed) == (n, n, 0)
        assert report.ledger.errors == ({"count: ValueError": 2} if name == "x" else {})
        firsts = {kind: (first.line, first.reason) for kind, first in report.ledger.first_errors.items()}
        reason = "document 'a-1': ValueError: cannot count crash (count.py:15)"
        assert firsts == ({"count: ValueError": (2, reason)} if name == "x" else {})
    suffix = ".parquet" if format == "parquet" else ""
    assert values(tmp_path / f"x/attributes/count/a.jsonl{suffix}", "n") == [1, None, 2, None, 0]
    assert values(tmp_path / f"x/attributes/count/a.jsonl{suffix}", "error") == [
        *(None, "ValueError: cannot count crash (count.py:15)"),
        *(None, "ValueError: cannot count crash too (count.py:15)", None),
    ]
    assert values(tmp_path / f"y/attributes/count/a.jsonl{suffix}", "n") == [1, 2, 0]
    assert values(tmp_path / f"y/attributes/count/a.jsonl{suffix}", "error") == [None] * 3
    assert values(tmp_path / f"x/attributes/length/a.jsonl{suffix}", "characters") == [1, 5, 2, 9, 0]
    assert values(tmp_path / f"x/attributes/length/a.jsonl{suffix}", "error") == [None] * 5


def test_a_tagger_that_fails_on_every_document_stops_the_run(tmp_path: Path, count: str) -> None:
    path = put(tmp_path, "web/documents/a.jsonl", ["crash"] * 300)
    with pytest.raises(
        RecordError, match=r"a\.jsonl:1: the tagger 'count' failed on document 'a-0': .*\n  it fails on every document"
    ):
        run(Dataset(documents=(str(path),)), count)


def test_records_that_are_no_documents_have_no_row(tmp_path: Path) -> None:
    path = put(tmp_path, "web/documents/a.jsonl", ["a", "b"])
    path.write_bytes(b"no JSON\n" + path.read_bytes() + b'{"text": "\\ud800"}\n')
    dataset = Dataset(documents=(str(path),))
    with pytest.raises(RecordError, match=r"a\.jsonl:1: not valid JSON"):
        run(dataset, "length")
    report = run(dataset, "length", reading=Reading(on_error="quarantine", quarantine=str(tmp_path / "bad")))
    assert values(tmp_path / "web/attributes/length/a.jsonl.parquet", "characters") == [1, 1, 1]
    assert (report.ledger.total().failed, report.ledger.repaired) == (1, {"lone_surrogate": 1})
    assert (tmp_path / "bad/a.jsonl.jsonl").read_bytes() == b"no JSON\n"


def test_a_truncated_file_stops_the_run_and_leaves_no_attributes_of_it(tmp_path: Path, corpus: Dataset) -> None:
    path = tmp_path / "web/documents/a.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"web/documents/a\.jsonl\.gz: truncated gzip: .*\(byte \d+\)"):
        run(corpus, "length")
    assert not any("a.jsonl.gz" in name for name in files(tmp_path))


def test_a_changed_document_file_is_noticed(tmp_path: Path, corpus: Dataset) -> None:
    run(corpus, "length")
    put(tmp_path, "web/documents/a.jsonl.gz", ["other"])
    with pytest.raises(OutputExistsError, match=r"input 'a\.jsonl\.gz' is changed"):
        run(corpus, "length")
    run(corpus, "length", options=RunOptions(workers=1, overwrite=True))
    assert values(tmp_path / "web/attributes/length/a.jsonl.gz.parquet", "characters") == [5]


def wrong_columns(kind: str) -> Callable[[Any], Any]:
    columns = {
        "none": {},
        "other": {"m": pa.array([1])},
        "short": {"n": pa.array([], pa.int64())},
        "type": {"n": pa.array(["x"])},
    }
    return lambda batch: columns[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("none", r"missing \['n'\], extra \[\]"),
        ("other", r"missing \['n'\], extra \['m'\]"),
        ("short", "'n' has 0 values for 1 documents"),
        ("type", "'n' is declared int"),
    ],
)
def test_a_tagger_that_returns_what_it_did_not_declare(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, message: str
) -> None:
    class Wrong:
        name, version, outputs = "wrong", 1, {"n": DocInt("a number")}

        def __call__(self, batch: Any) -> Any:
            return wrong_columns(kind)(batch)

    monkeypatch.setattr(stage, "declared_taggers", lambda specs: [Wrong()])
    monkeypatch.setattr(measuring, "tagger_of_process", lambda spec: Wrong())
    monkeypatch.setattr(measuring, "check_unchanged", lambda spec, identity: None)
    path = put(tmp_path, "web/documents/a.jsonl", ["x"])
    with pytest.raises(RecordError, match=rf"a\.jsonl:1: the tagger 'wrong' failed: ValueError: .*{message}"):
        run(Dataset(documents=(str(path),)), "wrong")


# --- plans and many files --------------------------------------------------------------------------------------------


def test_a_plan_names_every_output_and_touches_nothing(tmp_path: Path, corpus: Dataset, count: str) -> None:
    rows = list(plan(corpus, TagConfig(taggers=["length", count])))
    assert len(rows) == 6
    assert rows[5] == {
        "tagger": "count",
        "input": str(tmp_path / "web/documents/deep/b.jsonl.zst"),
        "bytes": (tmp_path / "web/documents/deep/b.jsonl.zst").stat().st_size,
        "columns": "text, id, source",
        "output": str(tmp_path / "web/attributes/count/deep/b.jsonl.zst.parquet"),
        "holds": ["n", "error"],
    }
    assert files(tmp_path) == {}


@pytest.mark.slow
def test_5000_files_with_256_open_ones(tmp_path: Path) -> None:
    folder = tmp_path / "web" / "documents"
    folder.mkdir(parents=True)
    for i in range(5000):
        (folder / f"{i:04}.jsonl").write_bytes(b'{"id":"%d","text":"some words"}\n' % i)
    program = (
        "import os, sys\n"
        "os.fsync = lambda number: None  # ten thousand of them take a slow disk a minute\n"
        "from dolma.config import TagConfig\n"
        "from dolma.data.dataset import Dataset\n"
        "from dolma.runner.options import RunOptions\n"
        "from dolma.taggers.tag import tag\n"
        "if __name__ == '__main__':\n"
        "    dataset = Dataset(documents=(sys.argv[1] + '/*',))\n"
        "    report = tag(dataset, TagConfig(taggers=['length']), options=RunOptions(workers=2))\n"
        "    print(report.outputs, report.ledger.total().out.documents)\n"
    )
    script = tmp_path / "many.py"
    script.write_text(program)
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.split(), done.returncode) == (["5000", "5000"], 0), done.stderr[-2000:]


# --- sets that grow --------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Three files of two sources in folders of no special name; without ids."""
    for name in ("hf/web/1.jsonl", "hf/web/2.jsonl", "hf/code/1.jsonl"):
        put(tmp_path, name, [name, "second"], ids=False)
    return tmp_path


def of(home: Path, *patterns: str, attributes: str = "out") -> Dataset:
    return Dataset(documents=tuple(str(home / pattern) for pattern in patterns), attributes=str(home / attributes))


def below(home: Path, folder: str = "out/length") -> list[str]:
    return sorted(str(path.relative_to(home / folder)) for path in (home / folder).rglob("*.parquet"))


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*.parquet")}


def listed(folder: Path) -> list[str]:
    manifest = read_manifest(str(folder))
    assert manifest is not None
    return [file.name for file in manifest.inputs]


def test_a_part_of_what_was_measured_is_there_under_any_pattern(sources: Path) -> None:
    run(of(sources, "hf/*/*.jsonl"), "length")
    before = stamps(sources / "out")
    for patterns in (["hf/web/*.jsonl"], ["hf/code"], ["hf/web/1.jsonl", "hf/code/1.jsonl"]):
        report = run(of(sources, *patterns), "length")
        assert report.complete_before
        assert report.ledger.total().taken.documents == 2 * len(list(of(sources, *patterns).shards()))
    assert stamps(sources / "out") == before
    assert listed(sources / "out/length") == ["code/1.jsonl", "web/1.jsonl", "web/2.jsonl"]


@pytest.mark.parametrize("first", ["hf/web/*.jsonl", "hf/web/1.jsonl", "hf/code/*.jsonl"])
def test_a_set_grows_and_leaves_the_files_that_it_has(sources: Path, first: str) -> None:
    run(of(sources, first), "length")
    before = stamps(sources / "out")
    report = run(of(sources, "hf/*/*.jsonl"), "length")
    assert before.items() <= stamps(sources / "out").items()
    assert len(listed(sources / "out/length")) == len(below(sources)) == 3
    assert (report.complete_before, report.ledger.total().taken.documents) == (False, 6)
    assert run(of(sources, "hf/*/*.jsonl"), "length").complete_before
    assert run(of(sources, first), "length").complete_before


def test_a_source_beside_the_first_one_may_grow_and_loses_nothing_of_the_first(sources: Path) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    run(of(sources, "hf/code/*.jsonl"), "length")
    put(sources, "hf/code/2.jsonl", ["later"], ids=False)
    run(of(sources, "hf/code/*.jsonl"), "length")
    assert run(of(sources, "hf/web/*.jsonl"), "length").complete_before
    assert listed(sources / "out/length") == ["1.jsonl", "2.jsonl", "code/1.jsonl", "code/2.jsonl"]


def test_overwrite_with_other_settings_removes_no_rows_of_documents_that_are_there(sources: Path) -> None:
    overwrite = RunOptions(workers=1, overwrite=True)
    run(of(sources, "hf/web/*.jsonl"), "length")
    run(of(sources, "hf/code/*.jsonl"), "length")
    before = files(sources / "out", "**/*")
    with pytest.raises(OutputExistsError, match=r"has rows of \S+hf/web/1\.jsonl and of 1 more file too, which"):
        run(of(sources, "hf/code/*.jsonl"), "length", attributes_format="dolma1", options=overwrite)
    assert files(sources / "out", "**/*") == before
    run(of(sources, "hf/*/*.jsonl"), "length", attributes_format="dolma1", options=overwrite)
    assert listed(sources / "out/length") == ["1.jsonl", "2.jsonl", "code/1.jsonl"]


def test_a_set_that_grew_is_as_one_that_was_made_at_once(sources: Path) -> None:
    run(of(sources, "hf/*/1.jsonl"), "length")
    run(of(sources, "hf/*/*.jsonl"), "length")
    run(of(sources, "hf/*/*.jsonl", attributes="whole"), "length")
    assert files(sources / "out", "**/*") == files(sources / "whole", "**/*")


def test_each_tagger_measures_what_it_has_not(sources: Path, count: str) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    before = stamps(sources / "out/length")
    run(of(sources, "hf/*/*.jsonl"), "length", count)
    assert before.items() <= stamps(sources / "out/length").items()
    assert len(below(sources)) == len(below(sources, "out/count")) == 3


def test_sets_beside_documents_grow_too(tmp_path: Path, corpus: Dataset) -> None:
    run(Dataset(documents=(f"{tmp_path}/web/documents/a.jsonl.gz",)), "length")
    before = stamps(tmp_path / "web/attributes")
    run(corpus, "length")
    assert before.items() <= stamps(tmp_path / "web/attributes").items()
    assert listed(tmp_path / "web/attributes/length") == ["a.jsonl.gz", "deep/b.jsonl.zst"]
    assert run(Dataset(documents=(f"{tmp_path}/web/documents",)), "length").complete_before


def test_a_file_that_is_gone_is_made_again_alone(sources: Path) -> None:
    run(of(sources, "hf/*/*.jsonl"), "length")
    whole, before = files(sources / "out", "**/*"), stamps(sources / "out")
    (sources / "out/length/web/1.jsonl.parquet").unlink()
    assert run(of(sources, "hf/code/*.jsonl"), "length").complete_before
    run(of(sources, "hf/web/*.jsonl"), "length")
    after = stamps(sources / "out")
    assert files(sources / "out", "**/*") == whole
    assert len(before.items() & after.items()) == 2


def test_only_documents_that_changed_are_measured_again(sources: Path) -> None:
    run(of(sources, "hf/*/*.jsonl"), "length")
    before = stamps(sources / "out")
    put(sources, "hf/web/2.jsonl", ["other"])
    with pytest.raises(OutputExistsError, match=r"input 'web/2\.jsonl' is changed\n  `--overwrite`"):
        run(of(sources, "hf/*/*.jsonl"), "length")
    assert run(of(sources, "hf/code/*.jsonl"), "length").complete_before
    report = run(of(sources, "hf/web/*.jsonl"), "length", options=RunOptions(workers=1, overwrite=True))
    assert len(before.items() & stamps(sources / "out").items()) == 2
    assert report.ledger.total().taken.documents == 3
    assert values(sources / "out/length/web/2.jsonl.parquet", "characters") == [5]
    manifest = read_manifest(str(sources / "out/length"))
    assert manifest is not None
    assert manifest.ledger["accounts"]["web"]["taken"]["documents"] == 3


def test_two_files_with_one_place_for_attributes_are_an_error_that_names_both(sources: Path) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    put(sources, "hf/1.jsonl", ["x"])
    with pytest.raises(
        ConfigError,
        match=r"hf/1\.jsonl and \S+hf/web/1\.jsonl would both have their attributes at \S+/1\.jsonl\.parquet",
    ):
        run(of(sources, "hf/**/*.jsonl"), "length")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("order", [("web/code", "code"), ("code", "web/code")])
def test_two_files_with_one_place_in_two_runs_are_an_error_that_names_both(
    sources: Path, order: tuple[str, str], overwrite: bool
) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    for folder in order:
        path = put(sources, f"hf/{folder}/1.jsonl", [f"text of {folder}"])
        if folder == order[0]:
            run(of(sources, str(path)), "length")
    before = files(sources / "out", "**/*")
    said = rf"{order[0]}/1\.jsonl and \S+{order[1]}/1\.jsonl would both have their attributes at \S+/code/1\.jsonl"
    with pytest.raises(ConfigError, match=said):
        run(of(sources, str(path)), "length", options=RunOptions(workers=1, overwrite=overwrite))
    assert files(sources / "out", "**/*") == before


def test_a_link_to_a_folder_beside_the_first_one_is_no_other_file(sources: Path) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    (sources / "hf/web/code").symlink_to(sources / "hf/code")
    run(of(sources, "hf/code/*.jsonl"), "length")
    assert run(of(sources, "hf/web/**/*.jsonl"), "length").complete_before


def test_documents_and_attributes_may_be_moved(sources: Path) -> None:
    run(of(sources, "hf/*/*.jsonl"), "length")
    (sources / "there").mkdir()
    (sources / "hf").rename(sources / "there/hf")
    assert run(of(sources, "there/hf/web/*.jsonl"), "length").complete_before
    (sources / "out").rename(sources / "there/out")
    assert run(of(sources / "there", "hf/web/*.jsonl"), "length").complete_before


@pytest.mark.parametrize("prefix", ["web/", ""])
def test_a_set_of_an_earlier_version_is_complete_and_grows(tmp_path: Path, prefix: str) -> None:
    put(tmp_path, "web/documents/a.jsonl", ["x"])
    dataset, home = Dataset(documents=(f"{tmp_path}/*/documents/*",)), str(tmp_path / "web/attributes/length")
    run(dataset, "length")
    manifest = read_manifest(home)
    assert manifest is not None
    made = FileSet(folder=home, stage="tag", name="length", config=manifest.config, inputs=manifest.inputs)
    inputs = [msgspec.structs.replace(file, name=prefix + file.name) for file in manifest.inputs]
    made = msgspec.structs.replace(made, inputs=inputs)
    write_manifest(home, manifest_of(made, outputs=manifest.outputs, ledger=manifest.ledger, notes={}))
    before = files(tmp_path)
    assert run(dataset, "length").complete_before
    assert files(tmp_path) == before
    put(tmp_path, "web/documents/b.jsonl", ["y", "z"])
    assert run(dataset, "length").ledger.total().taken.documents == 3
    assert listed(Path(home)) == ["a.jsonl", "b.jsonl"]
    assert run(dataset, "length").complete_before


def test_the_folder_of_a_set_is_one_table(sources: Path) -> None:
    run(of(sources, "hf/*/*.jsonl"), "length", TaggerSpec(use="length", name="again"))
    table = pq.read_table(str(sources / "out/length"))  # as pandas.read_parquet does
    assert sorted(table["id"].to_pylist())[:2] == ["code/1.jsonl:1", "code/1.jsonl:2"]
    assert len(table) == 6


def test_a_set_with_the_manifest_of_an_earlier_version_is_complete_until_it_grows(sources: Path) -> None:
    run(of(sources, "hf/web/*.jsonl"), "length")
    (sources / "out/length/_manifest.json").rename(sources / "out/length/manifest.json")
    assert run(of(sources, "hf/web/*.jsonl"), "length").complete_before
    run(of(sources, "hf/*/*.jsonl"), "length")
    assert [path.name for path in (sources / "out/length").glob("*manifest.json")] == ["_manifest.json"]
    assert len(listed(sources / "out/length")) == 3


def test_a_vector_of_a_tagger_of_ones_own_is_kept_and_1x_files_refuse_it(corpus, tmp_path):
    file = tmp_path / "counts.py"
    file.write_text(
        "import dolma\n\n\n"
        '@dolma.document_tagger(name="counts", v=dolma.DocVector("of the text", size=2))\n'
        "def counts(text):\n"
        '    return {"v": [len(text), 0.1]}\n'
    )
    use = f"{file}:counts"
    with pytest.raises(ConfigError, match=r"counts.v is a vector, which attributes of Dolma 1.x cannot hold"):
        run(corpus, use, attributes_format="dolma1")
