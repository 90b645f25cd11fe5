"""Exact dedupe from documents on disk to attributes on disk."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dolma.config import DedupeConfig, MixConfig
from dolma.data import exchange
from dolma.data.dataset import Dataset, Piece, Shard, pieces
from dolma.data.documents import Reading
from dolma.data.exchange import MEMORY
from dolma.data.manifest import read_manifest
from dolma.dedupers import dedupe as stage_module
from dolma.dedupers import exact, method, windows
from dolma.dedupers.dedupe import dedupe, plan
from dolma.dedupers.reference import duplicate_documents, duplicate_paragraphs, gate
from dolma.errors import ConfigError, DataError, OutputExistsError, Unfinished
from dolma.kernels.reference.normalize import normalized
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport

if TYPE_CHECKING:
    from .conftest import Corpus

Make = Callable[[], "Corpus"]

PARAGRAPHS = ["one", "two words", "é\u0301", "中文 文字", "😀👩‍👩‍👧", "", " ", "\u3000\u2003", "x" * 9]
texts = st.lists(st.sampled_from(PARAGRAPHS), max_size=5).map("\n".join)


def columns(corpus: Corpus, name: str = "dedupe") -> dict[str, list]:
    rows = corpus.rows(name)
    return {key: [row[key] for row in rows] for key in rows[0]}


def test_of_six_documents_with_five_equal_texts_four_are_duplicates(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["same", "same", "other", "same", "same", "same"])
    corpus.dedupe()
    assert columns(corpus)["duplicate"] == [False, True, False, True, True, True]


def test_a_duplicate_names_its_cluster_and_the_document_that_is_kept(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "y"])
    corpus.write_texts("b.jsonl.gz", ["y", "z", "y"])
    corpus.dedupe()
    found = columns(corpus)
    assert found["kept_id"] == [None, None, "a.jsonl-1", None, "a.jsonl-1"]
    assert found["cluster"] == [None, 1, 1, None, 1]
    assert found["cluster_size"] == [1, 3, 3, 1, 3]


def test_the_first_copy_is_in_the_shard_whose_name_comes_first(corpus: Corpus) -> None:
    corpus.write_texts("z.jsonl", ["x"])
    corpus.write_texts("a.jsonl", ["x"])
    corpus.dedupe()
    assert columns(corpus)["kept_id"] == [None, "a.jsonl-0"]


def test_the_report_and_the_manifest_count_documents_and_duplicates(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": str(i), "text": text, "source": "s"} for i, text in enumerate("xxy")])
    report = corpus.dedupe()
    manifest = read_manifest(str(corpus.folder / "attributes" / "dedupe"))
    assert report.ledger.total().out.documents == 3
    assert manifest is not None
    assert manifest.notes == {
        "unit": "documents",
        "documents": 3,
        "duplicates": 1,
        "without_key": 0,
        "sources": [{"source": "s", "seen": 3, "duplicates": 1, "unique": 1, "bytes": 3, "duplicate_bytes": 1}],
        "overlaps": [{"source": "s", "kept_source": "s", "documents": 1}],
        "near": None,
        "contamination": None,
        "growth": None,
        "references": 0,
        "references_failed": 0,
        "without_documents": [],
        "bloom": None,
    }
    assert report.remarks == ["1 of 3 documents are duplicates (33.3 %)"]


def test_a_rerun_does_nothing(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x", "y"])
    corpus.dedupe()
    before = [path.read_bytes() for path in corpus.files()]
    again = corpus.dedupe()
    assert again.complete_before
    assert [path.read_bytes() for path in corpus.files()] == before


def test_an_overwriting_rerun_gives_the_same_answer(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x", "y"])
    corpus.dedupe(by="text")
    before = corpus.rows()
    corpus.dedupe(by="paragraphs", overwrite=True)
    corpus.dedupe(by="text", overwrite=True)
    assert corpus.rows() == before


def test_another_configuration_is_refused_without_overwrite(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x", "y"])
    corpus.dedupe()
    with pytest.raises(OutputExistsError, match="--overwrite"):
        corpus.dedupe(min_length=3)


def sources(folder: Path) -> Path:
    """Two sources with one copy between them; their documents have no ids."""
    for name, texts in (("web", ["x", "y"]), ("code", ["x", "z"])):
        path = folder / name / "documents" / "a.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return folder


def run(*patterns: Path, attributes: Path | None = None, overwrite: bool = False) -> StageReport[Any]:
    dataset = Dataset(documents=tuple(map(str, patterns)), attributes=str(attributes) if attributes else None)
    return dedupe(dataset, DedupeConfig(), options=RunOptions(workers=1, overwrite=overwrite))


@pytest.mark.parametrize("within", [True, False])
def test_sets_are_the_same_whichever_patterns_match_the_documents(tmp_path: Path, within: bool) -> None:
    home = sources(tmp_path / "hf")
    attributes = None if within else tmp_path / "out"
    run(home / "*" / "documents" / "*.jsonl", attributes=attributes)
    assert run(home / "web" / "documents", home / "code" / "documents", attributes=attributes).complete_before
    web = sources(tmp_path / "one") / "web"
    run(web.parent / "w*" / "documents" / "*.jsonl")
    made = (web / "attributes" / "dedupe" / "a.jsonl.parquet").read_bytes()
    assert run(web / "documents").complete_before
    shutil.rmtree(web / "attributes")
    run(web / "documents")
    assert (web / "attributes" / "dedupe" / "a.jsonl.parquet").read_bytes() == made


@pytest.mark.parametrize("within", [True, False])
def test_a_source_of_several_that_were_deduped_together_is_mixed(tmp_path: Path, within: bool) -> None:
    home = sources(tmp_path / "hf")
    attributes = None if within else tmp_path / "out"
    run(home / "*" / "documents" / "*.jsonl", attributes=attributes)
    dataset = Dataset(
        documents=(str(home / "web" / "documents" / "*.jsonl"),), attributes=str(attributes) if attributes else None
    )
    rules = MixConfig(keep=["not dedupe.duplicate"])
    mixed = mix(dataset, rules, output=str(tmp_path / "mixed"), options=RunOptions(workers=1))
    assert (mixed.ledger.total().taken.documents, mixed.ledger.total().out.documents) == (2, 1)


def test_overwrite_removes_no_rows_of_documents_that_are_there(tmp_path: Path) -> None:
    home, out = sources(tmp_path / "hf"), tmp_path / "out"
    run(home / "*" / "documents" / "*.jsonl", attributes=out)
    before = {path: path.read_bytes() for path in out.rglob("*.parquet")}
    assert len(before) == 2
    with pytest.raises(OutputExistsError, match=r"has rows of .*/code/documents/a\.jsonl too, which `--overwrite`"):
        run(home / "web" / "documents" / "*.jsonl", attributes=out, overwrite=True)
    assert {path: path.read_bytes() for path in out.rglob("*.parquet")} == before
    (home / "code" / "documents" / "a.jsonl").unlink()
    run(home / "web" / "documents" / "*.jsonl", attributes=out, overwrite=True)
    assert len(list(out.rglob("*.parquet"))) == 1


def test_overwrite_of_a_source_removes_no_rows_of_one_beside_it(tmp_path: Path) -> None:
    home, out = sources(tmp_path / "hf"), tmp_path / "out"
    run(home / "web" / "documents" / "*.jsonl", attributes=out)
    with pytest.raises(OutputExistsError, match=r"has rows of .*/web/documents/a\.jsonl too, which `--overwrite`"):
        run(home / "code" / "documents" / "*.jsonl", attributes=out, overwrite=True)
    assert len(list(out.rglob("*.parquet"))) == 1


def test_overwrite_beside_documents_removes_no_rows_of_documents_that_are_there(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x"])
    corpus.write_texts("b.jsonl", ["x"])
    corpus.dedupe()
    with pytest.raises(OutputExistsError, match=r"has rows of .*documents/b\.jsonl too, which `--overwrite`"):
        run(corpus.folder / "documents" / "a.jsonl", overwrite=True)
    assert len(corpus.files()) == 2


def test_nothing_intermediate_is_left(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "x"])
    corpus.dedupe()
    left = [path.name for path in (corpus.folder / "attributes").rglob("*") if path.is_file()]
    assert sorted(left) == ["_manifest.json", "a.jsonl.parquet"]


def test_two_workers_write_the_bytes_of_one(corpora: Make) -> None:
    rng = random.Random(3)
    shards = {f"{i}.jsonl.gz": [rng.choice(PARAGRAPHS) for _ in range(40)] for i in range(4)}
    one, two = corpora(), corpora()
    for name in shards:
        one.write_texts(name, shards[name])
    for name in reversed(shards):
        two.write_texts(name, shards[name])
    one.dedupe(workers=1)
    two.dedupe(workers=2)
    assert [path.read_bytes() for path in one.files()] == [path.read_bytes() for path in two.files()]


def test_the_order_of_patterns_changes_nothing(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x", "y"])
    corpus.write_texts("b.jsonl", ["y", "x"])
    answers = []
    for i, names in enumerate((("a", "b"), ("b", "a"))):
        patterns = tuple(str(corpus.folder / "documents" / f"{name}.jsonl") for name in names)
        config = DedupeConfig(name=f"d{i}")
        dedupe(Dataset(documents=patterns), config, reading=Reading(), options=RunOptions(workers=1))
        answers.append(corpus.rows(f"d{i}"))
    assert answers[0] == answers[1]


def test_parts_of_a_run_add_up_to_the_whole(corpora: Make) -> None:
    whole, parts = corpora(), corpora()
    for corpus in (whole, parts):
        for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
            corpus.write_texts(name, ["x", name, "y"])
    whole.dedupe()
    for i in (1, 2, 1, 2, 1, 2):
        with contextlib.suppress(Unfinished):
            parts.dedupe(shard=(i, 2))
    assert [path.read_bytes() for path in parts.files()] == [path.read_bytes() for path in whole.files()]


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["metadata.url", ".metadata.url", "$.metadata.url"])
def test_a_field_may_be_written_in_three_ways(corpus: Corpus, by: str) -> None:
    records = [{"id": str(i), "text": str(i), "metadata": {"url": url}} for i, url in enumerate("aba")]
    corpus.write("a.jsonl", records)
    corpus.dedupe(by=by)
    assert columns(corpus)["duplicate"] == [False, False, True]


def test_documents_may_be_compared_by_id(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": id, "text": str(i)} for i, id in enumerate([1, 2, 1, "1"])])
    corpus.dedupe(by="id")
    assert columns(corpus)["duplicate"] == [False, False, True, False]


def test_a_record_without_the_field_is_no_duplicate_and_counted(corpus: Corpus) -> None:
    with_url = {"text": "t", "metadata": {"url": "u"}}
    odd = [{"text": "t"}, {"text": "t", "metadata": {}}, {"text": "t", "metadata": {"url": None}}]
    corpus.write("a.jsonl", [with_url, *odd, {"text": "t", "metadata": "none"}, with_url])
    corpus.dedupe(by="metadata.url")
    manifest = read_manifest(str(corpus.folder / "attributes" / "dedupe"))
    assert columns(corpus)["duplicate"] == [False] * 5 + [True]
    assert manifest is not None
    assert manifest.notes["without_key"] == 4


def test_a_field_that_no_record_has_is_an_error_with_those_that_are_there(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": "1", "text": "t", "metadata": {"link": "u"}}])
    with pytest.raises(DataError, match=r"a\.jsonl: no record .* at 'metadata\.url'\n.*id, metadata\.link, text"):
        corpus.dedupe(by="metadata.url")


def test_a_field_with_an_empty_part_is_a_config_error(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x"])
    with pytest.raises(ConfigError, match=r"\$\.dedupe\.by: 'metadata\.\.url' is no key"):
        corpus.dedupe(by="metadata..url")


def test_a_field_of_parquet_documents(corpus: Corpus) -> None:
    from dolma.data.documents import DocumentWriter

    path = corpus.folder / "documents" / "a.parquet"
    with DocumentWriter(str(path)) as writer:
        writer.write([b'{"id":"%d","text":"t","metadata":{"url":"u"}}' % i for i in range(3)])
    corpus.dedupe(by="metadata.url")
    assert columns(corpus)["duplicate"] == [False, True, True]


def test_blank_texts_are_copies_only_when_asked(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["", "", " \u3000", " \u3000"])
    corpus.dedupe(name="skipped")
    corpus.dedupe(name="counted", skip_empty=False)
    assert columns(corpus, "skipped")["duplicate"] == [False] * 4
    assert columns(corpus, "counted")["duplicate"] == [False, True, False, True]


@pytest.mark.parametrize("option", [{"min_length": 4}, {"min_words": 2}])
def test_short_texts_are_nobodys_copy(corpus: Corpus, option: dict[str, int]) -> None:
    corpus.write_texts("a.jsonl", ["é 中", "é 中", "é 中文", "é 中文", "四", "四"])
    corpus.dedupe(**option)
    long_enough = [False, option == {"min_words": 2}, False, True, False, False]
    assert columns(corpus)["duplicate"] == long_enough


# --- what is evened out before the comparison ------------------------------------------------------------------------


def test_texts_that_differ_in_case_punctuation_and_white_space_are_copies_when_asked(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["Hello, World!\n", "hello   world", "hello worlds", "¿Hello? World"])
    corpus.dedupe(name="plain")
    corpus.dedupe(name="even", normalize=["spaces", "lower", "punctuation"])
    assert columns(corpus, "plain")["duplicate"] == [False] * 4
    assert columns(corpus, "even")["duplicate"] == [False, True, False, True]


def test_texts_of_which_nothing_is_left_are_nobodys_copy(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["...", "!", "—", "a.", "a"])
    corpus.dedupe(normalize=["punctuation"])
    assert columns(corpus)["duplicate"] == [False] * 4 + [True]


def test_the_order_of_the_words_changes_nothing(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["É x", "e\u0301 X"])
    corpus.dedupe(normalize=["nfc", "lower"])
    assert corpus.dedupe(normalize=["lower", "nfc"]).complete_before
    assert columns(corpus)["duplicate"] == [False, True]


def test_paragraphs_and_strings_of_a_field_are_evened_out_and_other_values_are_not(corpus: Corpus) -> None:
    titles = ["The Title", "the title.", [1, 2], [12], [1, 2]]
    corpus.write("a.jsonl", [{"text": "One.\nTwo\nONE", "metadata": {"title": title}} for title in titles])
    corpus.dedupe(by="metadata.title", normalize=["lower", "punctuation"], name="title")
    corpus.dedupe(by="paragraphs", normalize=["lower", "punctuation"], name="paragraphs")
    assert columns(corpus, "title")["duplicate"] == [False, True, False, False, True]
    assert columns(corpus, "paragraphs")["n_duplicates"] == [1, 3, 3, 3, 3]


def test_urls_of_one_page_are_copies_when_asked(corpus: Corpus) -> None:
    urls = [
        "http://example.org/a?q=1",
        "HTTP://EXAMPLE.org:80/a/?utm_source=x&q=1#top",
        "https://example.org/a?q=1",
        "no url",
        " no url ",
    ]
    corpus.write("a.jsonl", [{"text": str(i), "metadata": {"url": url}} for i, url in enumerate(urls)])
    corpus.dedupe(by="metadata.url", name="plain")
    corpus.dedupe(by="metadata.url", name="url", normalize=["url"])
    assert columns(corpus, "plain")["duplicate"] == [False] * 5
    assert columns(corpus, "url")["duplicate"] == [False, True, False, False, True]


@pytest.mark.parametrize("given", [{"by": "text"}, {"by": "metadata.url", "normalize": ["url", "lower"]}])
def test_urls_are_evened_out_in_a_field_and_alone(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`normalize` has url, which is for a field and alone"):
        DedupeConfig(**{"normalize": ["url"]} | given)


def test_the_words_of_the_config_are_those_of_the_kernel() -> None:
    from dolma.kernels.normalize import WORDS
    from dolma.keys import keys_of

    words = next(key for key in keys_of(DedupeConfig) if key.name == "normalize").types[0].__args__[0].__args__
    assert sorted(words) == sorted((*WORDS, "url"))


# --- paragraphs ------------------------------------------------------------------------------------------------------


def test_spans_of_emoji_combining_marks_and_cjk_are_the_paragraphs(corpus: Corpus) -> None:
    shared = ["👩‍👩‍👧 family", "e\u0301te\u0301", "中文段落"]
    documents = ["\n".join(shared), "😀 new\n" + "\n".join(shared), "中文段落\n\n👩‍👩‍👧 family\nend"]
    corpus.write_texts("a.jsonl", documents)
    corpus.dedupe(by="paragraphs")
    found = [
        [text[span["start"] : span["end"]] for span in spans]
        for text, spans in zip(documents, columns(corpus)["spans"], strict=True)
    ]
    assert found == [[], [f"{shared[0]}\n", f"{shared[1]}\n", shared[2]], [f"{shared[2]}\n", f"{shared[0]}\n"]]


def test_a_paragraph_never_crosses_documents(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["a", "b", "a\nb", "ab"])
    corpus.dedupe(by="paragraphs")
    assert columns(corpus)["n_duplicates"] == [0, 0, 2, 0]


def test_a_paragraph_may_repeat_within_its_document(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["ab\n\nab"])
    corpus.dedupe(by="paragraphs")
    assert corpus.rows()[0] == {
        "id": "a.jsonl-0",
        "spans": [{"start": 4, "end": 6, "score": 1.0}],
        "fraction": 2 / 6,
        "n_paragraphs": 2,
        "n_duplicates": 1,
    }


# --- against the readable twin ---------------------------------------------------------------------------------------


@pytest.mark.property
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shards=st.lists(st.lists(texts, max_size=6), min_size=1, max_size=3).filter(lambda shards: any(shards)),
    options=st.fixed_dictionaries(
        {"skip_empty": st.booleans(), "min_length": st.integers(0, 3), "min_words": st.integers(0, 2)}
    ),
    by=st.sampled_from(["text", "paragraphs"]),
    keep=st.sampled_from(["first", "last", "none"]),
    words=st.sampled_from([[], ["spaces"], ["nfc", "digits"]]),
)
def test_agrees_with_the_twin(
    tmp_path_factory: Any, shards: Sequence, options: dict, by: str, keep: str, words: list[str]
) -> None:
    corpus = _corpus(tmp_path_factory.mktemp("corpus"))
    for i, shard in enumerate(shards):
        corpus.write_texts(f"{i}.jsonl", shard)
    corpus.dedupe(by=by, keep=keep if by == "text" else "first", normalize=words, **options)
    everything = [text for shard in shards for text in shard]
    ids = [f"{i}.jsonl-{j}" for i, shard in enumerate(shards) for j in range(len(shard))]
    if by == "text":
        keys = [normalized(text, words) for text in everything]
        expected = duplicate_documents(ids, keys, gate(**options), keep=keep)
    else:
        expected = [
            row | {"spans": [dict(zip(("start", "end", "score"), span, strict=True)) for span in row["spans"]]}
            for row in duplicate_paragraphs(everything, gate(**options), words)
        ]
    assert corpus.rows() == [{"id": id} | row for id, row in zip(ids, expected, strict=True)]


def _corpus(folder: Path) -> Corpus:
    from .conftest import Corpus

    return Corpus(folder)


@pytest.mark.parametrize("by", ["text", "paragraphs"])
def test_many_partitions_chunks_merges_and_pieces_change_nothing(
    corpora: Make, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    rng = random.Random(5)
    shard = ["\n".join(rng.choices(PARAGRAPHS, k=3)) for _ in range(300)]
    whole, cut = corpora(), corpora()
    for corpus in (whole, cut):
        corpus.write_texts("a.jsonl", shard)
    whole.dedupe(by=by)

    def small_pieces(shard: Shard) -> list[Piece]:
        return pieces(shard, piece_bytes=shard.size // 3)

    monkeypatch.setattr(stage_module, "pieces", small_pieces)
    monkeypatch.setattr(windows, "_BYTES_PER_KEY", MEMORY // 64)
    monkeypatch.setattr(method, "PARTITION_BYTES", 2_000)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 500)
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    cut.dedupe(by=by, reading=Reading(batch_bytes=2_000))
    assert cut.rows() == whole.rows()


# --- bad records, formats, plan --------------------------------------------------------------------------------------


def test_skipped_records_have_no_row(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": "1", "text": "x"}, b"{broken", {"id": "3", "text": "x"}])
    report = corpus.dedupe(reading=Reading(on_error="skip"))
    assert [(row["id"], row["duplicate"]) for row in corpus.rows()] == [("1", False), ("3", True)]
    assert report.ledger.total().failed == 1


def test_a_broken_record_stops_the_run(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [{"id": "1", "text": "x"}, b"{broken"])
    with pytest.raises(DataError, match=r"a\.jsonl:2: "):
        corpus.dedupe()
    assert corpus.files() == [] or not any(path.suffix == ".parquet" for path in corpus.files())


def test_damaged_text_is_compared_as_repaired(corpus: Corpus) -> None:
    corpus.write("a.jsonl", [rb'{"id": "1", "text": "a\ud800"}', rb'{"id": "2", "text": "a\udfff"}'])
    corpus.dedupe()
    assert columns(corpus)["duplicate"] == [False, True]


def test_a_damaged_field_is_compared_as_repaired(corpus: Corpus) -> None:
    records = [rb'{"text": "a", "metadata": {"url": "u\ud800"}}', rb'{"text": "b", "metadata": {"url": "u\udfff"}}']
    corpus.write("a.jsonl", records)
    corpus.dedupe(by="metadata.url")
    assert columns(corpus)["duplicate"] == [False, True]


def test_the_dolma_1_form_reads_back_the_same(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl.gz", ["x\ny", "x\ny", "z\nx"])
    for by in ("text", "paragraphs"):
        corpus.dedupe(by=by, name=f"native-{by}")
        corpus.dedupe(by=by, name=f"old-{by}", attributes_format="dolma1")
        native, old = corpus.rows(f"native-{by}"), corpus.rows(f"old-{by}")
        assert [path.name for path in corpus.files(f"old-{by}")] == ["a.jsonl.gz"]
        assert old == [row | ({"fraction": round(row["fraction"], 5)} if "fraction" in row else {}) for row in native]


def test_a_plan_touches_nothing(corpus: Corpus) -> None:
    corpus.write_texts("a.jsonl", ["x"])
    dataset = Dataset(documents=(str(corpus.folder / "documents" / "*.jsonl"),))
    rows = plan(dataset, DedupeConfig(), reading=Reading())
    assert [row["output"] for row in rows] == [str(corpus.folder / "attributes" / "dedupe" / "a.jsonl.parquet")]
    assert not (corpus.folder / "attributes").exists()


def test_real_text_with_injected_copies(corpus: Corpus) -> None:
    shards = sorted(Path(__file__).parents[2].glob("data/sample/*/documents/*.jsonl.gz"))
    records = [json.loads(line) for path in shards for line in gzip.decompress(path.read_bytes()).splitlines()]
    copies = [record | {"id": f"copy-{i}"} for i, record in enumerate(records[:20])]
    corpus.write("a.jsonl.gz", records)
    corpus.write("b.jsonl.gz", copies)
    corpus.dedupe()
    ids, everything = [row["id"] for row in corpus.rows()], [record["text"] for record in [*records, *copies]]
    expected = duplicate_documents(ids, everything, gate())
    assert corpus.rows() == [{"id": id} | row for id, row in zip(ids, expected, strict=True)]
    assert all(columns(corpus)["duplicate"][-20:])


def test_spans_of_real_text_are_its_repeated_paragraphs(corpus: Corpus) -> None:
    shards = sorted(Path(__file__).parents[2].glob("data/sample/multilingual/documents/*.jsonl.gz"))
    texts = [json.loads(line)["text"] for path in shards for line in gzip.decompress(path.read_bytes()).splitlines()]
    corpus.write_texts("a.jsonl.zst", [*texts, *texts[:5]])
    corpus.dedupe(by="paragraphs")
    expected = duplicate_paragraphs([*texts, *texts[:5]], gate())
    found = [[tuple(span.values()) for span in spans] for spans in columns(corpus)["spans"]]
    assert found == [row["spans"] for row in expected]


def test_a_run_that_broke_off_goes_on_where_it_was(corpora: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = corpora(), corpora()
    for corpus in (whole, broken):
        corpus.write_texts("a.jsonl", ["x", "y", "x"])
        corpus.write_texts("b.jsonl", ["y"])
    whole.dedupe()

    def fail(self: object, spec: object) -> None:
        raise DataError("the disk is full")

    with monkeypatch.context() as patch, pytest.raises(DataError, match="disk is full"):
        patch.setattr(exact.GroupDocuments, "__call__", fail)
        broken.dedupe()
    assert not broken.files() or all(path.suffix != ".parquet" for path in broken.files())
    with monkeypatch.context() as patch:
        patch.setattr(exact.HashDocuments, "__call__", fail)
        broken.dedupe()
    assert [path.read_bytes() for path in broken.files()] == [path.read_bytes() for path in whole.files()]
