"""Sets that go on from an index: the answer of one run over old documents, then new ones.

Run: `pytest tests/dedupe/test_growth.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig
from dolma.data.attributes import read_attributes
from dolma.data.dataset import Dataset
from dolma.data.manifest import read_manifest
from dolma.dedupers import growth
from dolma.dedupers.dedupe import dedupe, plan
from dolma.errors import ConfigError, DataError, OutputExistsError
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from tests.e2e.every_phase import Killed, KillOnce, small

Documents = Sequence[tuple[str, str]]
WINDOWS = {"method": "windows", "by": "paragraphs"}
SMALL = {"method": "minhash", "word_ngrams": 1, "bands": 6, "rows": 2, "threshold": 0.5}
METHOD = pytest.mark.parametrize("method", [{}, SMALL, WINDOWS], ids=["exact", "minhash", "windows"])


class Place:
    """Documents in a folder, and sets of attributes in another one."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def write(self, name: str, documents: Documents, *, ids: str = "") -> None:
        """A file of documents of (source, text)."""
        path = self.home / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"id": f"{ids or name}-{i}", "source": source, "text": text, "metadata": {"x": len(text) % 3}})
            for i, (source, text) in enumerate(documents)
        ]
        path.write_text("".join(line + "\n" for line in lines))

    def dedupe(
        self, *names: str, out: str = "out", since: str | None = None, workers: int = 1, **config: Any
    ) -> StageReport[Any]:
        """Run the stage over files of these names."""
        dataset = Dataset(
            documents=tuple(str(self.home / "in" / name) for name in names), attributes=str(self.home / out)
        )
        index = True if since is None else None
        where = None if since is None else str(self.home / since)
        given = {"index": index, "since": where} | config
        return dedupe(dataset, DedupeConfig(**given), options=RunOptions(workers=workers, progress=False))

    def folder(self, out: str = "out") -> Path:
        return self.home / out / "dedupe"

    def files(self, out: str = "out") -> dict[str, bytes]:
        """The attribute files, by name."""
        found = sorted(self.folder(out).rglob("*.parquet"))
        return {path.relative_to(self.folder(out)).as_posix(): path.read_bytes() for path in found}

    def rows(self, name: str, out: str = "out") -> list[dict[str, Any]]:
        return read_attributes(str(self.folder(out) / f"{name}.parquet")).to_pylist()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_old_document_without_a_copy_gets_one(place: Place) -> None:
    place.write("m.jsonl", [("web", "one two"), ("web", "three")])
    place.write("n.jsonl", [("web", "alone")])
    place.dedupe("m.jsonl", "n.jsonl")
    before = place.files()
    place.write("a.jsonl", [("web", "one two")])
    report = place.dedupe("a.jsonl", since="out/dedupe")
    assert [row["cluster_size"] for row in place.rows("m.jsonl")] == [2, 1]
    assert place.rows("a.jsonl") == [
        {"id": "a.jsonl-0", "duplicate": True, "cluster": 0, "cluster_size": 2, "kept_id": "m.jsonl-0"}
    ]
    assert report.details.growth.rewritten == ["m.jsonl.parquet"]
    assert place.files()["n.jsonl.parquet"] == before["n.jsonl.parquet"]
    assert report.remarks == [
        "1 of 4 documents are duplicates (25.0 %)",
        "3 documents were there before; of their files 1 are rewritten: m.jsonl.parquet, 1 stay as they were",
    ]


def start(place: Place, *, n: int = 3, **config: Any) -> None:
    """A set of some documents with an index, and new documents."""
    for i in range(n):
        place.write(f"m{i}.jsonl", [("web", f"one {i}"), ("wiki", "two three"), ("web", f"x {i % 2}")])
    place.dedupe("m*", **config)
    place.write("a.jsonl", [("web", "one 1"), ("web", "new"), ("wiki", "new")])
    place.write("z.jsonl", [("web", "two three")])


def state(place: Place) -> dict[str, bytes]:
    """All of the set, its index and its manifest."""
    folder = place.folder()
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def left(place: Place) -> list[str]:
    """What lies beside the set."""
    return sorted(path.name for path in (place.home / "out").iterdir() if path.name != ".inputs.json")


def test_a_rerun_has_nothing_to_do(place: Place) -> None:
    start(place)
    place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe")
    before = state(place)
    again = place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe")
    assert again.complete_before
    assert again.details.documents == 13
    assert state(place) == before
    assert left(place) == ["dedupe"]


def test_an_old_file_that_is_given_again_is_no_new_one(place: Place) -> None:
    start(place)
    place.dedupe("*", since="out/dedupe")
    every = state(place)
    assert place.dedupe("m1.jsonl", since="out/dedupe").complete_before
    assert state(place) == every
    assert [row["cluster"] for row in place.rows("a.jsonl")] == [3, 10, 10]


@pytest.mark.parametrize("method", [{}, SMALL], ids=["exact", "minhash"])
def test_old_documents_may_be_gone(place: Place, method: dict[str, Any]) -> None:
    start(place, **method)
    (place.home / "in" / "m1.jsonl").unlink()
    place.dedupe("a.jsonl", since="out/dedupe", **method)
    assert [row["kept_id"] for row in place.rows("a.jsonl")] == ["m1.jsonl-0", None, "a.jsonl-1"]
    assert [row["cluster_size"] for row in place.rows("m1.jsonl")] == [2, 3, 1]


def test_a_window_in_one_more_document_changes_old_scores_and_no_other_file(place: Place) -> None:
    for name, text in (("m", "one\ntwo"), ("n", "two\nthree"), ("o", "four\nfive")):
        place.write(f"{name}.jsonl", [("web", text)])
    place.dedupe("*", **WINDOWS)
    before = place.files()
    place.write("a.jsonl", [("web", "two\nfive\nsix")])
    report = place.dedupe("*", since="out/dedupe", **WINDOWS)
    (row,) = place.rows("n.jsonl")
    assert row["spans"] == [{"start": 0, "end": 4, "score": 3.0}]
    (row,) = place.rows("a.jsonl")
    assert [span["score"] for span in row["spans"]] == [3.0, 2.0]
    assert report.details.growth.rewritten == ["n.jsonl.parquet"]
    assert {name for name, data in place.files().items() if before.get(name) != data} == {
        "a.jsonl.parquet",
        "n.jsonl.parquet",
    }


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"method": "bloom"}, "whose filter has all that is needed of old documents"),
        ({"method": "substring"}, "as which text of old documents is repeated takes a second reading"),
        ({"method": "decontaminate", "items": ["x"]}, "as how common words are in all documents"),
        ({"method": "semantic", "by": "a.b"}, "as each new vector may move the cells of old ones"),
    ],
)
@pytest.mark.parametrize("key", [{"index": True}, {"since": "set"}], ids=["index", "since"])
def test_a_method_that_cannot_go_on_says_why(config: dict[str, Any], said: str, key: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(key))}` is not for {config['method']}, {said}"):
        DedupeConfig(**config, **key)


def test_an_old_file_under_another_name_is_a_file_of_copies(place: Place) -> None:
    start(place)
    (place.home / "in" / "m1.jsonl").rename(place.home / "in" / "n.jsonl")
    place.dedupe("n.jsonl", since="out/dedupe")
    assert all(row["duplicate"] for row in place.rows("n.jsonl"))


def test_an_old_file_that_holds_something_else_is_an_error(place: Place) -> None:
    start(place)
    before = state(place)
    place.write("m1.jsonl", [("web", "changed")])
    with pytest.raises(ConfigError, match=r"m1\.jsonl is another one than when the index .* was made\n  give the new"):
        place.dedupe("*", since="out/dedupe")
    assert state(place) == before
    assert left(place) == ["dedupe"]


def test_in_another_folder_the_old_set_stays(place: Place) -> None:
    start(place)
    before = state(place)
    place.dedupe("*", since="out/dedupe", out="later")
    assert state(place) == before
    assert place.dedupe("*", since="out/dedupe/_index", out="later").complete_before
    place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe")
    assert place.files("later") == place.files("out")
    place.write("b.jsonl", [("web", "new")])
    place.dedupe("b.jsonl", since="later/dedupe", out="last")
    assert list(place.files("last")) == [f"{name}.jsonl.parquet" for name in ("a", "b", "m0", "m1", "m2", "z")]


@METHOD
def test_workers_and_small_partitions_change_nothing(place: Place, method: dict[str, Any]) -> None:
    start(place, n=5, **method)
    places = {}
    for workers in (1, 2):
        for is_small in (False, True):
            out = f"out-{workers}-{is_small}"
            with small() if is_small else contextlib.nullcontext():
                place.dedupe("*", since="out/dedupe", out=out, workers=workers, **method)
            places[out] = place.files(out)
    first = places.popitem()[1]
    assert all(files == first for files in places.values())
    assert len(first) == 7


@METHOD
def test_killed_in_each_phase_and_run_again(tmp_path: Path, method: dict[str, Any]) -> None:
    def begin(name: str) -> Place:
        place = Place(tmp_path / name)
        start(place, **method)
        return place

    with small():
        whole = begin("whole")
        old = state(whole)
        whole.dedupe("a.jsonl", "z.jsonl", since="out/dedupe", **method)
        new, spared = state(whole), set[str]()
        while True:
            place = begin(f"place-{len(spared)}")
            with KillOnce(spared) as kill:
                place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe", **method)
            assert state(place) == (old if kill.at else new), kill.at
            place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe", **method)
            assert state(place) == new, kill.at
            assert left(place) == ["dedupe"]
            if not kill.at:
                break
            spared.add(kill.at)
    near = {"sign", "candidates", "components", "shingles", "verify"}
    own = near if method == SMALL else {"hash", "group"}
    assert own | {"rewrite", "write", "keep", "index", "the manifest"} <= spared


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("more", [False, True])
def test_killed_where_the_sets_are_exchanged(
    place: Place, monkeypatch: pytest.MonkeyPatch, when: str, more: bool
) -> None:
    start(place)
    old, swap = state(place), growth.swap_folders

    def kill(*folders: str) -> None:
        if when == "after":
            swap(*folders)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(growth, "swap_folders", kill)
        place.dedupe("a.jsonl", since="out/dedupe")
    assert left(place) == [".dedupe.next", "dedupe"]
    assert (state(place) == old) == (when == "before")
    place.dedupe("a.jsonl", *(["z.jsonl"] if more else []), since="out/dedupe")
    assert left(place) == ["dedupe"]
    assert len(place.files()) == 4 + more
    assert [row["cluster_size"] for row in place.rows("m1.jsonl")] == [2, 3 + more, 1]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_where_folders_are_exchanged_in_three_steps(
    place: Place, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    start(place)
    rename, n = os.rename, 0

    def dying(one: str, other: str) -> None:
        nonlocal n
        n += 1
        if n == step:
            raise Killed
        rename(one, other)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ctypes, "CDLL", lambda *_, **__: None)
        patch.setattr(os, "rename", dying)
        place.dedupe("a.jsonl", since="out/dedupe")
    place.dedupe("a.jsonl", since="out/dedupe")
    assert left(place) == ["dedupe"]
    assert [row["cluster_size"] for row in place.rows("m1.jsonl")] == [2, 3, 1]


def test_a_set_that_was_changed_meanwhile_is_not_replaced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    start(place)
    put_in_place = growth.Growth.put_in_place

    def late(self: growth.Growth, report: StageReport[Any]) -> StageReport[Any]:
        with monkeypatch.context() as patch:
            patch.setattr(growth.Growth, "put_in_place", put_in_place)
            place.dedupe("z.jsonl", since="out/dedupe", out="later")
            os.rename(place.folder(), place.home / "past")
            os.rename(place.folder("later"), place.folder())
        return put_in_place(self, report)

    with monkeypatch.context() as patch:
        patch.setattr(growth.Growth, "put_in_place", late)
        with pytest.raises(ConfigError, match="is another set than when this run began\n  run the same command again"):
            place.dedupe("a.jsonl", since="out/dedupe")
    place.dedupe("a.jsonl", since="out/dedupe")
    assert len(place.files()) == 5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"by": "id"}, "has an index of other settings: its `by` is 'text', here it is 'id'"),
        ({"keep": "last"}, "its `keep` is 'first', here it is 'last'"),
        ({"name": "other"}, "its `name` is 'dedupe', here it is 'other'"),
        ({"attributes_format": "dolma1"}, "its `attributes_format` is 'parquet', here it is 'dolma1'"),
    ],
)
def test_an_index_of_other_settings_is_an_error(place: Place, config: dict[str, Any], message: str) -> None:
    start(place)
    before = state(place)
    with pytest.raises(ConfigError, match=message):
        place.dedupe("a.jsonl", since="out/dedupe", **config)
    assert state(place) == before
    assert left(place) == ["dedupe"]


def test_a_set_without_an_index_and_a_folder_without_a_set_are_errors(place: Place) -> None:
    start(place, index=None)
    with pytest.raises(ConfigError, match=r"has no index\n  name the set that `dolma dedupe --index` has made"):
        place.dedupe("a.jsonl", since="out/dedupe")
    with pytest.raises(ConfigError, match="is no finished set of attributes"):
        place.dedupe("a.jsonl", since="none")


@pytest.mark.parametrize("name", ["_index/index.json", "_index/keys/000000", "_index/rows/000000", "m1.jsonl.parquet"])
@pytest.mark.parametrize("how", ["gone", "short"])
def test_an_index_that_is_not_whole_is_an_error(place: Place, name: str, how: str) -> None:
    start(place)
    path = place.folder() / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1])
    message = "is gone" if how == "gone" else "is of another size"
    with pytest.raises(DataError, match=f"{name}: {message} since its set was made\n  put it back"):
        place.dedupe("a.jsonl", since="out/dedupe")
    assert left(place) == ["dedupe"]


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ({}, "index.json"),
        ({}, "keys/000000"),
        ({}, "rows/000000"),
        (SMALL, "bands/000000"),
        (SMALL, "shingles/000000"),
    ],
)
def test_a_damaged_index_is_an_error(place: Place, method: dict[str, Any], name: str) -> None:
    start(place, **method)
    path = place.folder() / "_index" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = state(place)
    with pytest.raises(DataError, match=r"is no index of this version|holds other bytes than were written"):
        place.dedupe("a.jsonl", "z.jsonl", since="out/dedupe", **method)
    assert state(place) == before


def test_a_reference_that_the_index_does_not_hold_is_an_error(place: Place) -> None:
    place.write("../references/r.jsonl", [("web", "one 0")])
    reference = [str(place.home / "references" / "*")]
    start(place, reference=reference)
    place.dedupe("a.jsonl", since="out/dedupe", reference=reference)
    place.write("../references/s.jsonl", [("web", "two")])
    with pytest.raises(ConfigError, match=r"s\.jsonl is a reference that the index of .* does not hold"):
        place.dedupe("z.jsonl", since="out/dedupe", reference=reference)


def test_shards_of_a_run_replace_no_set(place: Place) -> None:
    start(place)
    dataset = Dataset(documents=(str(place.home / "in" / "a.jsonl"),), attributes=str(place.home / "out"))
    config = DedupeConfig(since=str(place.home / "out" / "dedupe"))
    with pytest.raises(ConfigError, match="would be replaced, which is done by one run, without `--shard`"):
        dedupe(dataset, config, options=RunOptions(workers=1, shard=(1, 2)))


def test_an_index_of_sets_in_several_folders_is_an_error(place: Place) -> None:
    for source in ("web", "wiki"):
        place.write(f"{source}/documents/a.jsonl", [("web", "x")])
    dataset = Dataset(documents=(str(place.home / "in" / "*" / "documents" / "*"),))
    with pytest.raises(ConfigError, match=r"\$\.dedupe\.index: these documents have their attributes in 2 folders"):
        dedupe(dataset, DedupeConfig(index=True))


def test_beside_documents_a_set_goes_on_from_itself(tmp_path: Path) -> None:
    place = Place(tmp_path)
    documents = tmp_path / "in" / "documents"
    place.write("documents/m/a.jsonl", [("web", "x"), ("web", "y")])
    dataset = Dataset(documents=(str(documents / "**" / "*"),))
    dedupe(dataset, DedupeConfig(index=True), options=RunOptions(workers=1))
    place.write("documents/b.jsonl", [("web", "y")])
    folder = tmp_path / "in" / "attributes" / "dedupe"
    report = dedupe(dataset, DedupeConfig(since=str(folder)), options=RunOptions(workers=1))
    assert read_attributes(str(folder / "b.jsonl.parquet"))["cluster"].to_pylist() == [1]
    assert report.details.growth.rewritten == ["m/a.jsonl.parquet"]


def test_overwrite_leaves_the_index_that_is_read(place: Place) -> None:
    start(place)
    place.dedupe("*", since="out/dedupe", out="later")
    with pytest.raises(OutputExistsError, match="since"):
        place.dedupe("*", since="later/dedupe", out="out")


def test_a_plan_names_new_files_alone(place: Place) -> None:
    start(place)
    dataset = Dataset(documents=(str(place.home / "in" / "*"),), attributes=str(place.home / "out"))
    rows = list(plan(dataset, DedupeConfig(since=str(place.home / "out" / "dedupe"))))
    assert [Path(row["input"]).name for row in rows] == ["a.jsonl", "z.jsonl"]
    assert rows[0]["output"] == str(place.folder() / "a.jsonl.parquet")


def test_dolma_1_attributes_go_on_too(place: Place) -> None:
    start(place, attributes_format="dolma1")
    place.dedupe("*", since="out/dedupe", attributes_format="dolma1")
    assert read_attributes(str(place.folder() / "a.jsonl"))["cluster_size"].to_pylist() == [2, 2, 2]


def test_a_new_document_joins_two_clusters(place: Place) -> None:
    place.write("m.jsonl", [("web", "a b c d"), ("web", "a b c d")])
    place.write("n.jsonl", [("web", "e f g h"), ("web", "e f g h i")])
    place.write("o.jsonl", [("web", "p q r s"), ("web", "p q r s")])
    config = SMALL | {"threshold": 0.4}
    place.dedupe("*", **config)
    before = place.files()
    place.write("a.jsonl", [("web", "a b c d e f g h")])
    report = place.dedupe("*", since="out/dedupe", **config)
    assert [row["cluster"] for name in "mna" for row in place.rows(f"{name}.jsonl")] == [0] * 5
    assert place.rows("a.jsonl")[0]["similarity"] == 0.5
    assert report.details.growth.rewritten == ["m.jsonl.parquet", "n.jsonl.parquet"]
    assert place.files()["o.jsonl.parquet"] == before["o.jsonl.parquet"]


texts = st.lists(st.sampled_from("abcd"), max_size=3).map(" ".join)
documents = st.lists(st.tuples(st.sampled_from(["web", "wiki"]), texts), max_size=5)
BY = [
    {},
    {"normalize": ["lower"]},
    {"by": "metadata.x"},
    {"by": "paragraphs"},
    SMALL,
    SMALL | {"link": "kept"},
    SMALL | {"verify": False},
    {"method": "windows", "by": "paragraphs"},
    {"method": "windows", "by": "sentences", "window": 1, "min_documents": 2},
]


@pytest.mark.property
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    increments=st.lists(st.lists(documents, min_size=1, max_size=2), min_size=2, max_size=4).filter(
        lambda all: any(text for shard in all[0] for _, text in shard)
    ),
    names=st.randoms(use_true_random=False),
    by=st.sampled_from(BY),
    keep=st.sampled_from(["first", "last", "longest", "shortest", "none", "max:metadata.x", "min:metadata.x"]),
    scope=st.sampled_from(["all", "within-source", "across-sources"]),
    priority=st.sampled_from([None, ["wiki"]]),
    reference=st.booleans(),
)
def test_the_answer_is_that_of_one_run_over_old_and_then_new_documents(
    tmp_path_factory: Any,
    increments: list[list[Documents]],
    names: Any,
    by: dict[str, Any],
    keep: str,
    scope: str,
    priority: list[str] | None,
    reference: bool,
) -> None:
    config = by | {"keep": keep, "scope": scope, "priority": priority}
    if by == {"by": "paragraphs"}:
        config |= {"keep": "first", "priority": None, "scope": "within-source" if scope == "within-source" else "all"}
    if by.get("method") == "windows":
        scope = "within-source" if scope == "within-source" else "all"
        config |= {"keep": keep if keep == "none" else "first", "priority": None, "scope": scope}
    if config["scope"] == "across-sources" and keep == "none":
        config["keep"] = "first"
    grown, whole = (Place(tmp_path_factory.mktemp("growth")) for _ in range(2))
    order = list(range(sum(map(len, increments))))
    names.shuffle(order)
    for place in (grown, whole):
        place.write("../references/r.jsonl", [("web", "a b"), ("wiki", "c")])
    n, called = 0, []
    for number, shards in enumerate(increments):
        batch = sorted(f"{name:03d}.jsonl" for name in order[n : n + len(shards)])
        for name, shard in zip(batch, shards, strict=True):
            grown.write(name, shard)
            whole.write(f"{n:03d}.jsonl", shard, ids=name)
            called.append(name)
            n += 1
        config["reference"] = [str(grown.home / "references" / "*")] if reference else None
        grown.dedupe(*batch, since="out/dedupe" if number else None, **config)
        config["reference"] = [str(whole.home / "references" / "*")] if reference else None
        whole.dedupe("*", out=f"out-{n}", **config)
        expected = list(whole.files(f"out-{n}").values())
        files = grown.files()
        assert [files[f"{name}.parquet"] for name in called] == expected
        ours, theirs = (read_manifest(str(folder)) for folder in (grown.folder(), whole.folder(f"out-{n}")))
        assert ours is not None and theirs is not None
        same = ("documents", "duplicates", "without_key", "sources", "overlaps", "near", "references")
        assert {key: ours.notes[key] for key in same} == {key: theirs.notes[key] for key in same}
        assert ours.ledger == theirs.ledger
