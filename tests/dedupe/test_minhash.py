"""Near-duplicates from documents on disk to attributes on disk. Run: `pytest tests/dedupe/test_minhash.py`."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import random
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig
from dolma.data import exchange
from dolma.data.dataset import Piece, Shard, pieces
from dolma.data.documents import Reading
from dolma.data.exchange import RunWriter
from dolma.dedupers import dedupe as stage_module
from dolma.dedupers import lsh, method, minhash, verdict
from dolma.dedupers.dedupe import METHODS
from dolma.dedupers.reference import near_duplicates
from dolma.errors import DataError, Unfinished
from dolma.kernels.reference import shingles as reference

if TYPE_CHECKING:
    from .conftest import Corpus

WORDS = [f"w{i}" for i in range(400)]
SMALL = {"word_ngrams": 1, "bands": 6, "rows": 2, "threshold": 0.5}


def columns(corpus: Corpus, name: str = "dedupe") -> dict[str, list]:
    rows = corpus.rows(name)
    return {key: [row[key] for row in rows] for key in rows[0]}


def expected(texts: Sequence[str], ids: Sequence[str], **given: Any) -> list[dict[str, Any]]:
    config = DedupeConfig(method="minhash", **given)
    method = METHODS["minhash"](config)
    assert isinstance(method, minhash.MinHash)
    likeness = method.likeness
    assert (likeness.folded, likeness.normalize, likeness.min_words) == (True, (), 0)
    make = reference.word_shingles if likeness.unit == "word" else reference.character_shingles
    return near_duplicates(
        ids,
        [make(text, likeness.n) for text in texts],
        bands=likeness.bands.n,
        rows=likeness.bands.rows,
        seed=likeness.seed,
        threshold=method.threshold,
        verify=method.verify,
        link=method.link,
        keep=config.keep,
        ranks={"longest": [len(text) for text in texts], "shortest": [-len(text) for text in texts]}.get(config.keep),
    )


def changed(words: Sequence[str], n: int, rng: random.Random) -> list[str]:
    """The words, `n` of them replaced by others."""
    found = list(words)
    for i in rng.sample(range(len(words)), n):
        found[i] = f"x{rng.random()}"
    return found


texts = st.lists(st.sampled_from("abcdefgh"), max_size=6).map(" ".join)


@pytest.mark.property
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(texts, max_size=6), min_size=1, max_size=3).filter(any),
    options=st.fixed_dictionaries(
        {
            "keep": st.sampled_from(["first", "last", "longest", "shortest", "none"]),
            "link": st.sampled_from(["components", "kept"]),
            "verify": st.booleans(),
            "threshold": st.sampled_from([0.3, 0.5, 1.0]),
        }
    ),
    unit=st.sampled_from(["word_ngrams", "character_ngrams"]),
)
def test_agrees_with_the_twin(tmp_path_factory: Any, shards: Sequence, options: dict[str, Any], unit: str) -> None:
    from .conftest import Corpus

    corpus = Corpus(tmp_path_factory.mktemp("corpus"))
    for i, shard in enumerate(shards):
        corpus.write_texts(f"{i}.jsonl", shard)
    options = SMALL | {"word_ngrams": None, unit: 2} | options
    corpus.dedupe(method="minhash", **options)
    everything = [text for shard in shards for text in shard]
    ids = [f"{i}.jsonl-{j}" for i, shard in enumerate(shards) for j in range(len(shard))]
    wanted = expected(everything, ids, **options)
    assert corpus.rows() == [{"id": id} | row for id, row in zip(ids, wanted, strict=True)]


def near(rng: random.Random, n: int) -> list[str]:
    """Texts of 60 words, most of them like another one, some the same."""
    originals = [rng.choices(WORDS, k=60) for _ in range(n // 4)]
    found = [changed(one, rng.choice([0, 0, 1, 2, 5]), rng) for one in originals for _ in range(4)]
    rng.shuffle(found)
    return [" ".join(words) for words in found]


def test_many_partitions_merges_and_pieces_change_nothing(corpora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = near(random.Random(5), 200)
    whole, cut = corpora(), corpora()
    for corpus in (whole, cut):
        corpus.write_texts("a.jsonl", shard)
    whole.dedupe(method="minhash")

    def small_pieces(shard: Shard) -> list[Piece]:
        return pieces(shard, piece_bytes=shard.size // 3)

    monkeypatch.setattr(stage_module, "pieces", small_pieces)
    monkeypatch.setattr(stage_module, "MEMORY", 1 << 14)
    monkeypatch.setattr(method, "PARTITION_BYTES", 20_000)
    monkeypatch.setattr(minhash, "_DOCUMENTS_PER_TASK", 20)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    cut.dedupe(method="minhash", reading=Reading(batch_bytes=2_000))
    assert cut.rows() == whole.rows()
    ids = [row["id"] for row in whole.rows()]
    assert whole.rows() == [{"id": id} | row for id, row in zip(ids, expected(shard, ids), strict=True)]
    assert sum(columns(whole)["duplicate"]) > 60


def test_two_workers_write_the_bytes_of_one(corpora: Any) -> None:
    rng = random.Random(3)
    shards = {f"{i}.jsonl.gz": near(rng, 40) for i in range(3)}
    one, two = corpora(), corpora()
    for name in shards:
        one.write_texts(name, shards[name])
    for name in reversed(shards):
        two.write_texts(name, shards[name])
    one.dedupe(method="minhash", workers=1)
    two.dedupe(method="minhash", workers=2)
    assert [path.read_bytes() for path in one.files()] == [path.read_bytes() for path in two.files()]


def test_a_large_component_is_compared_from_a_file(corpora: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    original = rng.choices(WORDS, k=200)
    shard = [" ".join(changed(original, 2, rng)) for _ in range(60)]
    held, spilled = corpora(), corpora()
    for corpus in (held, spilled):
        corpus.write_texts("a.jsonl", shard)
    held.dedupe(method="minhash")
    files: list[object] = []
    temporary = verdict.tempfile.TemporaryFile
    monkeypatch.setattr(verdict.tempfile, "TemporaryFile", lambda: files.append(temporary()) or files[-1])
    monkeypatch.setattr(stage_module, "MEMORY", 1 << 16)
    spilled.dedupe(method="minhash")
    assert len(files) == 1
    assert spilled.rows() == held.rows()
    assert columns(held)["cluster_size"] == [60] * 60


def test_a_chain_is_one_cluster_unless_only_the_kept_document_counts(corpus: Corpus) -> None:
    chain = ["a b c d e f g h", "c d e f g h i j", "e f g h i j k l"]
    corpus.write_texts("a.jsonl", chain)
    options: dict[str, Any] = {"method": "minhash", "word_ngrams": 1, "bands": 40, "rows": 1, "threshold": 0.5}
    report = corpus.dedupe(**options)
    corpus.dedupe(**options, link="kept", name="kept")
    assert columns(corpus)["duplicate"] == [False, True, True]
    assert columns(corpus)["similarity"] == [None, 0.6, 4 / 12]
    assert columns(corpus, "kept")["duplicate"] == [False, True, False]
    assert columns(corpus, "kept")["cluster"] == [0, 0, 0]
    assert (report.details.near.by_chain, report.details.near.clusters) == (1, 1)


def test_case_punctuation_and_white_space_make_no_difference(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["The quick brown fox, it jumps!", "the QUICK brown\nfox it jumps", "another text"])
    corpus.dedupe(method="minhash")
    assert columns(corpus)["similarity"] == [None, 1.0, None]


def test_documents_without_words_have_no_copy(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["", "", "...", "...", " ", "word", "word"])
    report = corpus.dedupe(method="minhash")
    assert columns(corpus)["duplicate"] == [False] * 6 + [True]
    assert report.details.without_key == 5


def test_the_document_with_the_highest_value_is_kept(corpus: Corpus) -> None:
    text = "one text that all of these documents have"
    values: list[Any] = [1, 7.5, None, 7.5, "2020-02-03"]
    corpus.write("a.jsonl", [{"id": str(i), "text": text, "metadata": {"x": x}} for i, x in enumerate(values[:4])])
    corpus.dedupe(method="minhash", keep="max:metadata.x", name="max")
    corpus.dedupe(method="minhash", keep="min:metadata.x", name="min")
    assert columns(corpus, "max")["duplicate"] == [True, False, True, True]
    assert columns(corpus, "min")["duplicate"] == [False, True, True, True]


def test_the_latest_date_is_kept(corpora: Any) -> None:
    for name in ("exact", "minhash"):
        corpus = corpora()
        dates = ["2020-01-31", "2021-01-01T00:00:00Z", None, "2020-12-31T23:59:59"]
        corpus.write("a.jsonl", [{"id": str(i), "text": "a b c", "created": date} for i, date in enumerate(dates)])
        corpus.dedupe(method=name, keep="max:created")
        assert columns(corpus)["duplicate"] == [True, False, True, True]


def test_a_value_that_cannot_be_compared_is_an_error(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": str(i), "text": "a b", "metadata": {"x": "good"}} for i in range(2)])
    with pytest.raises(DataError, match=r"a\.jsonl:1: `metadata\.x` is 'good', expected a number or a date"):
        corpus.dedupe(method="minhash", keep="max:metadata.x")


def test_many_near_copies_take_few_comparisons(corpus: Corpus) -> None:
    rng = random.Random(1)
    original = rng.choices(WORDS, k=80)
    corpus.write_texts("a.jsonl", [" ".join(changed(original, 1, rng)) for _ in range(2_000)])
    report = corpus.dedupe(method="minhash")
    assert columns(corpus)["cluster_size"] == [2_000] * 2_000
    assert report.details.near.compared < 10_000


# --- what is found, and nothing else ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bands", [(18, 7), (14, 8), (26, 11)])
def test_pairs_are_found_as_often_as_theory_says_and_none_below_the_threshold(
    corpus: Corpus, bands: tuple[int, int]
) -> None:
    rng = random.Random(1)
    n_pairs, n_shingles = 1_000, 180
    shard = []
    for n_different in (20, 22):  # similarities of 160 / 200, and of 158 / 202
        for _ in range(n_pairs):
            text = [f"w{rng.randrange(1 << 40)}" for _ in range(n_shingles + 4)]
            end = [f"w{rng.randrange(1 << 40)}" for _ in range(n_different)]
            shard += [" ".join(text), " ".join([*text[:-n_different], *end])]
    corpus.write_texts("a.jsonl", shard)
    corpus.dedupe(method="minhash", bands=bands[0], rows=bands[1], threshold=0.8)
    found = columns(corpus)
    alike, unlike = (found["duplicate"][2 * first + 1 : 2 * (first + n_pairs) : 2] for first in (0, n_pairs))
    assert abs(sum(alike) / n_pairs - lsh.Bands(n=bands[0], rows=bands[1]).found(0.8)) < 0.02
    assert sum(unlike) == 0
    assert set(found["similarity"]) == {None, 0.8}


def words(rng: random.Random, n: int, *, of: int = 20_000) -> list[str]:
    """Words as frequent as in a language: the k-th as often as 1/k."""
    return [f"w{int(of ** rng.random())}" for _ in range(n)]


def test_novels_are_no_copies(corpus: Corpus) -> None:
    rng = random.Random(1)
    corpus.write_texts("a.jsonl", [" ".join(words(rng, 30_000)) for _ in range(60)])
    report = corpus.dedupe(method="minhash")
    assert not any(columns(corpus)["duplicate"])
    assert set(columns(corpus)["cluster_size"]) == {1}
    assert report.details.near.clusters == 0


def test_code_with_one_licence_is_no_copy(corpus: Corpus) -> None:
    rng = random.Random(2)
    licence = "\n".join("# " + " ".join(words(rng, 10)) for _ in range(60))
    files = [licence + "".join(f"\n{' '.join(words(rng, 6, of=2_000))}" for _ in range(60)) for _ in range(500)]
    corpus.write_texts("a.jsonl", files)
    corpus.dedupe(method="minhash")
    assert not any(columns(corpus)["duplicate"])


def test_letters_with_one_frame_of_half_their_words_are_no_copies(corpus: Corpus) -> None:
    rng = random.Random(3)
    frame = words(rng, 120)
    corpus.write_texts("a.jsonl", [" ".join([*frame[:60], *words(rng, 120), *frame[60:]]) for _ in range(1_000)])
    report = corpus.dedupe(method="minhash")
    assert not any(columns(corpus)["duplicate"])
    assert report.details.near.compared > 0  # so that it was verification, too, that told them apart


def test_forms_that_differ_in_a_name_are_one_cluster_and_warned_of(corpus: Corpus) -> None:
    frame = words(random.Random(4), 200)
    corpus.write_texts("a.jsonl", [" ".join([*frame[:100], f"name{i}", *frame[100:]]) for i in range(1_000)])
    report = corpus.dedupe(method="minhash")
    found = columns(corpus)
    assert found["cluster_size"] == [1_000] * 1_000
    assert sum(found["duplicate"]) == 999
    assert min(similarity for similarity in found["similarity"] if similarity is not None) > 0.94
    (warning,) = report.warnings
    assert warning.startswith("999 of 1,000 documents of ")
    assert "are duplicates, more than `max_removal` 0.9\n  look at some" in warning


def test_real_text_with_words_changed(corpus: Corpus) -> None:
    import gzip

    shards = sorted(Path(__file__).parents[2].glob("data/sample/*/documents/*.jsonl.gz"))
    records = [json.loads(line) for path in shards for line in gzip.decompress(path.read_bytes()).splitlines()]
    originals = [record["text"] for record in records if len(record["text"].split()) > 200][:40]
    rng = random.Random(6)
    copies = [" ".join(changed(text.split(), len(text.split()) // 100, rng)) for text in originals]
    corpus.write_texts("a.jsonl", originals)
    corpus.write_texts("b.jsonl", copies)
    corpus.dedupe(method="minhash")
    found = columns(corpus)
    assert sum(found["duplicate"][len(originals) :]) >= 0.95 * len(copies)
    assert all(kept in (None, f"a.jsonl-{i}") for i, kept in enumerate(found["kept_id"][len(originals) :]))


def test_parts_of_a_run_add_up_to_the_whole(corpora: Any) -> None:
    rng = random.Random(7)
    shards = {f"{name}.jsonl": near(rng, 20) for name in "abc"}
    whole, parts = corpora(), corpora()
    for corpus in (whole, parts):
        for name in shards:
            corpus.write_texts(name, shards[name])
    whole.dedupe(method="minhash")
    for _ in range(20):
        for i in (1, 2):
            with contextlib.suppress(Unfinished):
                parts.dedupe(method="minhash", shard=(i, 2))
    assert [path.read_bytes() for path in parts.files()] == [path.read_bytes() for path in whole.files()]
    assert len(parts.files()) == 3


@pytest.mark.parametrize(
    "broken", ["SignPiece", "FindCandidates", "FindComponents", "TakeShingles", "VerifyClusters", "WriteShard"]
)
def test_a_run_that_breaks_off_in_any_phase_goes_on(corpora: Any, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    rng = random.Random(8)
    shards = {f"{name}.jsonl": near(rng, 20) for name in "ab"}
    whole, cut = corpora(), corpora()
    for corpus in (whole, cut):
        for name in shards:
            corpus.write_texts(name, shards[name])
    whole.dedupe(method="minhash")

    def fail(self: object, spec: object) -> None:
        raise DataError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="disk is full"):
        patch.setattr(stage_module.WriteShard if broken == "WriteShard" else getattr(minhash, broken), "__call__", fail)
        cut.dedupe(method="minhash")
    cut.dedupe(method="minhash")
    assert [path.read_bytes() for path in cut.files()] == [path.read_bytes() for path in whole.files()]


def test_components_take_a_hundred_bytes_for_each_document(tmp_path: Path) -> None:
    n, rng = 200_000, np.random.default_rng(0)
    places, texts = np.arange(n, dtype=np.uint64), rng.integers(0, 1 << 63, n, np.uint64)
    bands = np.repeat(rng.integers(0, 1 << 63, n // 2, np.uint64), 2)
    work = str(tmp_path)
    with RunWriter(minhash.LINKS, work, "links") as links, RunWriter(minhash.EDGES, work, "edges") as edges:
        for start in range(0, n, 10_000):
            rows = slice(start, start + 10_000)
            columns = [pa.array(column[rows]) for column in (places, texts, bands)]
            links.add(pa.RecordBatch.from_arrays(columns, schema=minhash.LINKS.schema))
            ends = [pa.array(places[rows][first::2]) for first in (0, 1)]
            edges.add(pa.RecordBatch.from_arrays(ends, schema=minhash.EDGES.schema))
    everything = dataclasses.replace(exchange.whole_runs([links.file]), end=exchange.END_OF_KEYS)
    find = minhash.FindComponents(work=work, memory=64 << 20)
    tracemalloc.start()
    try:
        find((everything, [edges.file]))
        _, peak = tracemalloc.get_traced_memory()  # of NumPy; what Arrow holds is bounded by `memory`
    finally:
        tracemalloc.stop()
    assert peak < 110 * n


def test_a_number_beyond_all_floats_is_compared(corpus: Corpus) -> None:
    values = [10**400, 5, -(10**400), None]
    corpus.write("a.jsonl", [{"id": str(i), "text": "a b", "metadata": {"x": x}} for i, x in enumerate(values)])
    corpus.dedupe(method="minhash", keep="max:metadata.x", name="max")
    corpus.dedupe(method="exact", keep="min:metadata.x", name="min")
    assert columns(corpus, "max")["duplicate"] == [False, True, True, True]
    assert columns(corpus, "min")["duplicate"] == [True, True, False, True]
