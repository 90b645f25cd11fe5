"""References, scopes and sources that come first, of the methods that compare documents.

Run: `pytest tests/dedupe/test_dedupe.py`.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig, MixConfig
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.manifest import read_manifest
from dolma.dedupers.dedupe import METHODS, dedupe, plan
from dolma.dedupers.reference import Sources, duplicate_documents, gate, near_duplicates
from dolma.errors import ConfigError, Unfinished
from dolma.kernels.reference.shingles import word_shingles
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions

if TYPE_CHECKING:
    from .conftest import Corpus

Make = Callable[[], "Corpus"]
Documents = Sequence[tuple[str, str]]

METHOD = pytest.mark.parametrize("method", ["exact", "minhash"])
SMALL = {"word_ngrams": 1, "bands": 6, "rows": 2, "threshold": 0.5}


def write(corpus: Corpus, name: str, documents: Documents) -> None:
    """A shard of documents of (source, text)."""
    corpus.write(
        name, [{"id": f"{name}-{i}", "source": source, "text": text} for i, (source, text) in enumerate(documents)]
    )


def pattern(reference: Corpus) -> str:
    return str(reference.folder / "documents" / "*")


def columns(corpus: Corpus, *names: str, of: str = "dedupe") -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in corpus.rows(of)]


@METHOD
def test_copies_of_a_reference_are_marked_and_the_reference_is_not(corpora: Make, method: str) -> None:
    corpus, reference = corpora(), corpora()
    write(reference, "z.jsonl", [("wiki", "one two"), ("wiki", "one two"), ("wiki", "three four")])
    write(corpus, "a.jsonl", [("web", "one two"), ("web", "five six"), ("web", "five six"), ("web", "alone")])
    report = corpus.dedupe(method=method, reference=[pattern(reference)])
    assert columns(corpus, "id", "duplicate", "cluster", "cluster_size", "kept_id") == [
        ("a.jsonl-0", True, 0, 3, "z.jsonl-0"),
        ("a.jsonl-1", False, 4, 2, None),
        ("a.jsonl-2", True, 4, 2, "a.jsonl-1"),
        ("a.jsonl-3", False, None, 1, None),
    ]
    assert not (reference.folder / "attributes").exists()
    assert report.ledger.total().out.documents == report.details.documents == 4
    assert "compared with 3 reference documents" in report.remarks
    assert [(one.source, one.kept_source, one.documents) for one in report.details.overlaps] == [
        ("web", "web", 1),
        ("web", "wiki", 1),
    ]


@METHOD
@pytest.mark.parametrize("keep", ["last", "longest", "none", "max:metadata.x"])
def test_a_reference_is_kept_whatever_the_rule(corpora: Make, method: str, keep: str) -> None:
    corpus, reference = corpora(), corpora()
    reference.write("r.jsonl", [{"id": "r", "text": "one two three", "metadata": {"x": 1}}])
    corpus.write("a.jsonl", [{"id": str(i), "text": "one two three", "metadata": {"x": 5 + i}} for i in range(2)])
    corpus.dedupe(method=method, keep=keep, reference=[pattern(reference)])
    assert columns(corpus, "duplicate", "kept_id") == [(True, "r"), (True, "r")]


def test_paragraphs_of_a_reference_are_marked_in_the_corpus(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    write(reference, "r.jsonl", [("web", "one\ntwo")])
    write(corpus, "a.jsonl", [("web", "two\nthree"), ("books", "one\nthree")])
    corpus.dedupe(by="paragraphs", reference=[pattern(reference)])
    corpus.dedupe(by="paragraphs", reference=[pattern(reference)], scope="within-source", name="within")
    assert columns(corpus, "n_duplicates") == [(1,), (2,)]
    assert columns(corpus, "n_duplicates", of="within") == [(1,), (0,)]


@METHOD
def test_a_source_that_comes_first_wins(corpus: Corpus, method: str) -> None:
    write(corpus, "a.jsonl", [("web", "one two three"), ("books", "one two three"), ("wiki", "one two three")])
    corpus.dedupe(method=method, priority=["wiki", "books"], name="wiki")
    corpus.dedupe(method=method, priority=["books"], keep="longest", name="books")
    corpus.dedupe(method=method, keep="none", priority=["wiki"], name="none")
    assert columns(corpus, "duplicate", "kept_id", of="wiki") == [
        (True, "a.jsonl-2"),
        (True, "a.jsonl-2"),
        (False, None),
    ]
    assert columns(corpus, "duplicate", of="books") == [(True,), (False,), (True,)]
    assert columns(corpus, "duplicate", of="none") == [(True,)] * 3


@METHOD
def test_within_a_source_copies_in_others_do_not_count(corpus: Corpus, method: str) -> None:
    write(corpus, "a.jsonl", [("web", "one two"), ("wiki", "one two"), ("web", "one two"), ("wiki", "x")])
    corpus.dedupe(method=method, scope="within-source")
    assert columns(corpus, "duplicate", "cluster", "cluster_size", "kept_id") == [
        (False, 0, 2, None),
        (False, None, 1, None),
        (True, 0, 2, "a.jsonl-0"),
        (False, None, 1, None),
    ]


@METHOD
def test_a_text_that_is_the_name_of_its_source_is_no_copy_of_another(corpus: Corpus, method: str) -> None:
    write(corpus, "a.jsonl", [("web", "web"), ("wiki", "wiki")])
    corpus.dedupe(method=method, scope="within-source")
    assert columns(corpus, "duplicate") == [(False,), (False,)]


@METHOD
def test_across_sources_copies_in_the_source_of_the_kept_one_stay(corpus: Corpus, method: str) -> None:
    write(corpus, "a.jsonl", [("web", "one two"), ("wiki", "one two"), ("web", "one two"), ("wiki", "one two")])
    write(corpus, "b.jsonl", [("web", "x y"), ("web", "x y")])
    corpus.dedupe(method=method, scope="across-sources", name="first")
    report = corpus.dedupe(method=method, scope="across-sources", priority=["wiki"], name="wiki")
    assert columns(corpus, "duplicate", of="first") == [(False,), (True,), (False,), (True,), (False,), (False,)]
    assert columns(corpus, "duplicate", of="wiki") == [(True,), (False,), (True,), (False,), (False,), (False,)]
    assert columns(corpus, "cluster_size", of="wiki") == [(4,)] * 4 + [(2,)] * 2
    assert report.warnings == []


@METHOD
def test_a_source_that_nothing_is_of_is_warned_of(corpus: Corpus, method: str) -> None:
    write(corpus, "a.jsonl", [("web", "one two"), ("web", "one two")])
    report = corpus.dedupe(method=method, priority=["wikipdia", "web"])
    assert [warning.partition("\n")[0] for warning in report.warnings] == [
        "`priority` names wikipdia, of which there is no document"
    ]


texts = st.lists(st.sampled_from("abcdefgh"), max_size=5).map(" ".join)
documents = st.lists(st.tuples(st.sampled_from(["web", "wiki", "books"]), texts), max_size=6)


@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(documents, min_size=1, max_size=2).filter(any),
    references=st.lists(documents, min_size=1, max_size=2).filter(any) | st.just([]),
    keep=st.sampled_from(["first", "last", "longest", "none"]),
    scope=st.sampled_from(["all", "within-source", "across-sources"]),
    priority=st.permutations(["web", "wiki", "books", "none"]).flatmap(
        lambda names: st.integers(0, 3).map(lambda n: names[:n])
    ),
    method=st.sampled_from(["exact", "minhash"]),
    link=st.sampled_from(["components", "kept"]),
)
def test_agrees_with_the_twin(
    tmp_path_factory: Any,
    shards: Sequence[Documents],
    references: Sequence[Documents],
    keep: str,
    scope: str,
    priority: list[str],
    method: str,
    link: str,
) -> None:
    from .conftest import Corpus

    if scope == "across-sources" and keep == "none":
        keep = "first"
    home = tmp_path_factory.mktemp("corpus")
    corpus, reference = Corpus(home / "a"), Corpus(home / "b")
    for into, of in ((reference, references), (corpus, shards)):
        for i, shard in enumerate(of):
            write(into, f"{i}.jsonl", shard)
    options: dict[str, Any] = {"keep": keep, "scope": scope, "priority": priority}
    options |= {"method": method} | (SMALL | {"link": link} if method == "minhash" else {})
    corpus.dedupe(**options, **({"reference": [pattern(reference)]} if references else {}))
    ids = [f"{i}.jsonl-{j}" for of in (references, shards) for i, shard in enumerate(of) for j in range(len(shard))]
    everything = [document for shard in (*references, *shards) for document in shard]
    n_references = sum(map(len, references))
    given = {
        "keep": keep,
        "ranks": [len(text) for _, text in everything] if keep == "longest" else None,
        "sources": Sources([source for source, _ in everything], n_references, scope, priority),
    }
    if method == "exact":
        expected = duplicate_documents(ids, [text for _, text in everything], gate(), **given)
    else:
        shingles = [word_shingles(text, 1) for _, text in everything]
        expected = near_duplicates(ids, shingles, bands=6, rows=2, seed=1, threshold=0.5, link=link, **given)
    wanted = [{"id": id} | row for id, row in zip(ids, expected, strict=True)]
    assert corpus.rows() == wanted[n_references:]


def near(rng: random.Random, n: int) -> list[tuple[str, str]]:
    found = []
    for _ in range(n // 4):
        words = [f"w{rng.randrange(400)}" for _ in range(60)]
        for _ in range(4):
            words[rng.randrange(60)] = f"x{rng.randrange(3)}"
            found.append((rng.choice(["web", "wiki"]), " ".join(words)))
    return found


@METHOD
@pytest.mark.parametrize("scope", ["within-source", "across-sources"])
def test_workers_and_shards_of_a_run_change_nothing(corpora: Make, method: str, scope: str) -> None:
    rng = random.Random(3)
    reference, one, two, parts = corpora(), corpora(), corpora(), corpora()
    write(reference, "r.jsonl", near(rng, 40))
    other = {"web": "wiki", "wiki": "web"}
    again = near(random.Random(3), 40)
    shards = {f"{name}.jsonl": near(rng, 20) for name in "ab"}
    shards["c.jsonl"] = again[:20] + [(other[source], text) for source, text in again[20:]]
    for corpus in (one, two, parts):
        for name in shards:
            write(corpus, name, shards[name])
    options: dict[str, Any] = {"method": method, "scope": scope, "reference": [pattern(reference)]}
    one.dedupe(**options)
    two.dedupe(workers=2, **options)
    for _ in range(20):
        for i in (1, 2):
            with contextlib.suppress(Unfinished):
                parts.dedupe(shard=(i, 2), **options)
    assert any(duplicate for (duplicate,) in columns(one, "duplicate"))
    files = [path.read_bytes() for path in one.files()]
    assert [path.read_bytes() for path in two.files()] == files
    assert [path.read_bytes() for path in parts.files()] == files


def test_a_changed_reference_makes_the_answer_again(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    write(reference, "r.jsonl", [("web", "x")])
    write(corpus, "a.jsonl", [("web", "x"), ("web", "y")])
    corpus.dedupe(reference=[pattern(reference)])
    assert corpus.dedupe(reference=[str(reference.folder / "documents" / "r.jsonl")]).complete_before
    write(reference, "r.jsonl", [("web", "y!"), ("web", "y")])
    corpus.dedupe(reference=[pattern(reference)], overwrite=True)
    assert columns(corpus, "duplicate") == [(False,), (True,)]
    manifest = read_manifest(str(corpus.folder / "attributes" / "dedupe"))
    assert manifest is not None
    assert [file.name for file in manifest.inputs] == ["a.jsonl", ".references/r.jsonl"]


def test_a_corpus_is_mixed_by_what_was_said_of_it_and_a_reference_of_the_same_name(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    write(reference, "a.jsonl", [("web", "x")])
    write(corpus, "a.jsonl", [("web", "x"), ("web", "y")])
    corpus.dedupe(reference=[pattern(reference)])
    dataset = Dataset(documents=(pattern(corpus),))
    mixed = mix(
        dataset, MixConfig(drop=["dedupe.duplicate"]), output=str(corpus.folder / "out"), options=RunOptions(workers=1)
    )
    assert mixed.ledger.total().out.documents == 1


def test_bad_records_of_a_reference_are_counted_apart(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    reference.write("r.jsonl", [b"{broken", {"id": "r", "text": "x"}])
    write(corpus, "a.jsonl", [("web", "x")])
    skip = Reading(on_error="skip")
    report = corpus.dedupe(reference=[pattern(reference)], reading=skip)
    assert columns(corpus, "kept_id") == [("r",)]
    assert report.ledger.total().failed == 0
    assert "compared with 1 reference document; 1 record of these could not be read" in report.remarks


def test_a_limit_is_of_the_documents_and_not_of_the_reference(corpora: Make) -> None:
    corpus, reference = corpora(), corpora()
    write(reference, "r.jsonl", [("web", text) for text in "abc"])
    write(corpus, "a.jsonl", [("web", text) for text in "ca"])
    reading = Reading(limit=1)
    dataset = Dataset(documents=(pattern(corpus),), limited=reading)
    config = DedupeConfig(reference=[pattern(reference)])
    dedupe(dataset, config, reading=reading, options=RunOptions(workers=1))
    assert columns(corpus, "duplicate", "kept_id") == [(True, "r.jsonl-2")]


def test_a_reference_that_is_one_of_the_documents_is_an_error(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [("web", "x")])
    write(corpus, "b.jsonl", [("web", "x")])
    config = DedupeConfig(reference=[str(corpus.folder / "documents" / "b.jsonl")])
    dataset = Dataset(documents=(pattern(corpus),))
    for run in (lambda: dedupe(dataset, config), lambda: list(plan(dataset, config))):
        with pytest.raises(ConfigError, match=r"\$\.dedupe\.reference: .*b\.jsonl is one of the documents, too"):
            run()
    assert not corpus.files()


def test_a_reference_that_is_not_there_is_an_error(corpus: Corpus) -> None:
    write(corpus, "a.jsonl", [("web", "x")])
    with pytest.raises(ConfigError, match="no document file matches"):
        corpus.dedupe(reference=[str(corpus.folder / "none" / "*.jsonl")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "none", "scope": "across-sources"}, "`keep` is none, expected a rule that keeps one"),
        ({"priority": ["a", "b", "a"]}, "`priority` names a source twice"),
        ({"by": "paragraphs", "priority": ["a"]}, "`priority` and across-sources are for documents"),
        ({"by": "paragraphs", "scope": "across-sources"}, "`priority` and across-sources are for documents"),
    ],
)
def test_what_does_not_go_together_is_an_error(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DedupeConfig(**given)


@METHOD
def test_the_settings_are_in_the_parameters(method: str) -> None:
    config = DedupeConfig(method=method, scope="within-source", priority=["a"])  # type: ignore[arg-type]
    parameters = METHODS[method](config).parameters
    assert (parameters["scope"], parameters["priority"]) == ("within-source", ["a"])
