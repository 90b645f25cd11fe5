from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from dolma.config import TokenizeConfig
from dolma.data import exchange, streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.manifest import read_manifest
from dolma.data.tokens import TokenManifest, TokenShard, read_token_manifest
from dolma.errors import ConfigError, DataError, OutputExistsError, RecordError
from dolma.models.encoder import Encoder
from dolma.models.tokenizer_facts import read_facts
from dolma.runner.ledger import Tally
from dolma.runner.options import RunOptions
from dolma.runner.report import StageReport
from dolma.runner.task import TaskResult
from dolma.tokens import tokenize as stage_module
from dolma.tokens.tokenize import EncodePieces, WritePart, plan, tokenize
from dolma.tokens.verify import verify_tokens

Write = Callable[..., str]
Tokenize = Callable[..., StageReport[Any]]
Files = Callable[..., dict[str, bytes]]


def shards_of(folder: Path) -> tuple[TokenManifest, list[TokenShard]]:
    manifest = read_token_manifest(str(folder))
    return manifest, [TokenShard(str(folder / info.path), manifest.dtype) for info in manifest.shards]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of all shards, in order, each with its `tokens`."""
    found = []
    for shard in shards_of(folder)[1]:
        for i, row in enumerate(shard.rows.to_pylist()):
            found.append(row | {"tokens": shard.document(i)})
    return found


# --- the sample corpus -----------------------------------------------------------------------------------------------


@pytest.fixture
def sample_pattern(sample: Path) -> str:
    return str(sample / "*" / "documents" / "*.jsonl.gz")


def test_every_sample_document_decodes_to_its_text(
    tmp_path: Path, sample: Path, sample_pattern: str, run: Tokenize
) -> None:
    path = str(sample / "tokenizer.json")
    run([sample_pattern], tokenizer=path, max_tokens_per_shard=200_000)
    encoder = Encoder(read_facts(TokenizeConfig(tokenizer=path)))
    texts = {}
    for file in sample.glob("*/documents/*.jsonl.gz"):
        for number, line in enumerate(gzip.decompress(file.read_bytes()).splitlines(), start=1):
            texts[f"{file.parent.parent.name}/{file.name}", number] = json.loads(line)
    rows = rows_of(tmp_path / "tokens")
    assert len(rows) == len(texts) == 989
    for row in rows:
        document = texts.pop((row["path"], row["line"]))
        assert row["id"] == document["id"]
        assert encoder.decode(row["tokens"]) == document["text"]
    assert verify_tokens(str(tmp_path / "tokens")) == []


def test_the_ledger_counts_tokens_per_source(tmp_path: Path, sample: Path, sample_pattern: str, run: Tokenize) -> None:
    report = run([sample_pattern], tokenizer=str(sample / "tokenizer.json"))
    manifest, _ = shards_of(tmp_path / "tokens")
    assert len(report.ledger.accounts) > 5
    assert report.ledger.total().out.tokens == manifest.tokens
    for account in report.ledger.accounts.values():
        assert account.taken == account.out == account.written and account.out.tokens > account.out.documents > 0


# --- same bytes ------------------------------------------------------------------------------------------------------


@pytest.fixture
def corpus(documents: Write) -> list[str]:
    """Two sources of 300 short documents each, one in two files."""
    names = ["books/documents/a.jsonl.gz", "books/documents/b.json.gz", "web/documents/a.jsonl"]
    sizes = [200, 100, 300]
    return [
        documents([f"{name[0]}{i} " * (1 + i % 7) for i in range(size)], name)
        for name, size in zip(names, sizes, strict=True)
    ]


def test_two_workers_and_another_file_order_write_the_same_bytes(
    corpus: list[str], run: Tokenize, files: Files
) -> None:
    run(corpus, output="one", workers=1, max_tokens_per_shard=3000)
    run(corpus[::-1], output="two", workers=2, max_tokens_per_shard=3000)
    assert len(files("one")) > 6
    assert files("one") == files("two")


def test_runs_blocks_merges_and_batches_leave_no_trace(
    corpus: list[str], run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "_ROWS_PART", 2000)
    run(corpus, output="large", max_tokens_per_shard=3000)
    monkeypatch.setattr(stage_module, "MEMORY", 3000)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 300)
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    run(corpus, output="small", max_tokens_per_shard=3000, reading=Reading(batch_bytes=300))
    assert files("large") == files("small")


def test_pieces_of_a_file_leave_no_trace(
    corpus: list[str], run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, output="whole", max_tokens_per_shard=3000)
    in_pieces = stage_module.pieces
    monkeypatch.setattr(stage_module, "pieces", lambda shard: in_pieces(shard, piece_bytes=2000))
    run(corpus, output="pieces", max_tokens_per_shard=3000)
    assert files("whole") == files("pieces")


def test_another_seed_gives_another_order_of_the_same_documents(
    tmp_path: Path, corpus: list[str], run: Tokenize
) -> None:
    run(corpus, output="one", seed=1)
    run(corpus, output="two", seed=2)
    one, two = ([row["id"] for row in rows_of(tmp_path / name)] for name in ("one", "two"))
    assert one != two and sorted(one) == sorted(two)


@pytest.mark.parametrize("work", [EncodePieces, WritePart])
def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes(
    work: type, corpus: list[str], run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(corpus, output="whole", max_tokens_per_shard=3000)
    does, calls = work.__call__, 0

    def fails_at_the_second(self: Any, spec: Any) -> TaskResult:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise DataError("the disk went away")
        return does(self, spec)

    with monkeypatch.context() as patch:
        patch.setattr(work, "__call__", fails_at_the_second)
        with pytest.raises(DataError, match="the disk went away"):
            run(corpus, output="broken", max_tokens_per_shard=3000)
    assert "tokens.json" not in files("broken") and "manifest.json" not in files("broken")
    run(corpus, output="broken", max_tokens_per_shard=3000)
    assert files("broken") == files("whole")


def test_a_finished_run_is_not_done_again(corpus: list[str], run: Tokenize, files: Files) -> None:
    assert not run(corpus).complete_before
    before = files()
    report = run(corpus)
    assert report.complete_before and report.ledger.total().out.documents == 600
    assert files() == before


def test_another_configuration_does_not_write_over_a_finished_run(corpus: list[str], run: Tokenize) -> None:
    run(corpus)
    with pytest.raises(OutputExistsError, match=r"max_tokens_per_shard was .*, now 3000"):
        run(corpus, max_tokens_per_shard=3000)
    assert run(corpus, max_tokens_per_shard=3000, overwrite=True).outputs > 4


# --- order and shards ------------------------------------------------------------------------------------------------


def test_rows_in_parquet_tell_source_path_and_line(tmp_path: Path, corpus: list[str], run: Tokenize) -> None:
    run(corpus, shuffle=False)
    rows = pq.read_table(tmp_path / "tokens" / "part-00000.parquet").slice(199, 2).to_pylist()
    (last, first) = ({key: row[key] for key in ("id", "source", "path", "line", "part", "parts")} for row in rows)
    of_both = {"source": "books", "part": 0, "parts": 1}
    assert last == {"id": "books/a/199", "path": "books/a.jsonl.gz", "line": 200} | of_both
    assert first == {"id": "books/b/0", "path": "books/b.json.gz", "line": 1} | of_both
    assert rows[1]["start"] == rows[0]["end"]


# --- shards of each source -------------------------------------------------------------------------------------------


def test_each_source_has_shards_of_its_own(tmp_path: Path, corpus: list[str], run: Tokenize, notes: Any) -> None:
    run(corpus, output="mixed", max_tokens_per_shard=1500)
    run(corpus, group_by="source", max_tokens_per_shard=1500, reporter=notes)
    manifest, shards = shards_of(tmp_path / "tokens")
    names = {
        info.source: [other.path for other in manifest.shards if other.source == info.source]
        for info in manifest.shards
    }
    assert {source: (found[0], len(found) > 1) for source, found in names.items()} == {
        "books": ("books/part-00000.npy", True),
        "web": ("web/part-00000.npy", True),
    }
    for info, shard in zip(manifest.shards, shards, strict=True):
        assert set(shard.rows["source"].to_pylist()) == {info.source}
    ids = [sorted(row["id"] for row in rows_of(tmp_path / folder)) for folder in ("tokens", "mixed")]
    assert ids[0] == ids[1]
    assert verify_tokens(str(tmp_path / "tokens")) == []
    assert any(f"go into {len(manifest.shards)} shards of 2 sources" in line for line in notes.lines)


def test_grouped_shards_are_shuffled_as_mixed_ones_are(tmp_path: Path, corpus: list[str], run: Tokenize) -> None:
    run(corpus, output="mixed", max_tokens_per_shard=1500)
    run(corpus, group_by="source", max_tokens_per_shard=1500)
    of_web = [
        [row["id"] for row in rows_of(tmp_path / folder) if row["source"] == "web"] for folder in ("mixed", "tokens")
    ]
    assert of_web[0] == of_web[1] != sorted(of_web[0])


def test_the_source_of_a_record_counts_not_that_of_its_file(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    paths = [documents(["a", "b"], "books/documents/a.jsonl", source="x"), documents(["c"], source="y/z")]
    run(paths, group_by="source")
    found = {info.source: (info.path, info.documents) for info in shards_of(tmp_path / "tokens")[0].shards}
    assert found == {"x": ("x/part-00000.npy", 2), "y/z": ("y%2Fz/part-00000.npy", 1)}


def test_more_sources_than_shards_are_good_for_are_refused(
    documents: Write, run: Tokenize, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage_module, "MOST_SOURCES", 1)
    paths = [documents(["a"], "x/documents/a.jsonl"), documents(["b"], "y/documents/a.jsonl")]
    with pytest.raises(
        DataError, match="there are 2 sources, and each would have shards of its own: expected at most 1"
    ):
        run(paths, group_by="source")


GROUPED = {"group_by": "source", "max_tokens_per_shard": 60, "split_long_documents": True}


def test_workers_memory_and_merges_leave_no_trace_in_groups_and_parts(
    documents: Write, corpus: list[str], run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = [*corpus, documents(["long words " * n for n in range(1, 30)], "books/documents/long.jsonl")]
    run(corpus, output="one", **GROUPED)
    run(corpus[::-1], output="two", workers=2, **GROUPED)
    monkeypatch.setattr(stage_module, "MEMORY", 3000)
    monkeypatch.setattr(exchange, "BLOCK_BYTES", 300)
    monkeypatch.setattr(exchange, "FAN_IN", 3)
    in_pieces = stage_module.pieces
    monkeypatch.setattr(stage_module, "pieces", lambda shard: in_pieces(shard, piece_bytes=2000))
    run(corpus, output="small", reading=Reading(batch_bytes=300), **GROUPED)
    assert len(files("one")) > 100
    assert files("one") == files("two") == files("small")


# --- documents that are longer than a shard --------------------------------------------------------------------------


def test_a_long_document_is_cut_at_words_and_ends_once(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    text = "".join(f" word{i}" for i in range(60))
    run([documents(["a", text, "b"])], max_tokens_per_shard=100, split_long_documents=True)
    manifest, _ = shards_of(tmp_path / "tokens")
    rows = [row for row in rows_of(tmp_path / "tokens") if row["id"] == "books/a/1"]
    assert [(row["part"], row["parts"]) for row in rows] == [(i, len(rows)) for i in range(len(rows))]
    assert len(rows) > 3 and all(len(row["tokens"]) <= 100 for row in rows)
    assert [row["offset"] for row in rows] == [0, *np.cumsum([len(row["tokens"]) for row in rows])[:-1].tolist()]
    assert all(row["tokens"][0] == ord(" ") for row in rows)
    whole = np.concatenate([row["tokens"] for row in rows])
    assert np.flatnonzero(whole == 256).tolist() == [len(whole) - 1]
    assert sum(info.documents for info in manifest.shards) == 3
    assert verify_tokens(str(tmp_path / "tokens")) == []


@pytest.mark.parametrize("shuffle", [True, False])
def test_parts_joined_are_the_document_uncut(
    tmp_path: Path, sample: Path, sample_pattern: str, run: Tokenize, shuffle: bool
) -> None:
    settings = {"tokenizer": str(sample / "tokenizer.json"), "max_tokens_per_shard": 2000, "shuffle": shuffle}
    uncut = run([sample_pattern], output="whole", **settings)
    cut = run([sample_pattern], output="cut", split_long_documents=True, **settings)
    joined: dict[str, list[int]] = {}
    for row in rows_of(tmp_path / "cut"):
        joined.setdefault(row["id"], []).extend(row["tokens"].tolist())
    assert joined == {row["id"]: row["tokens"].tolist() for row in rows_of(tmp_path / "whole")}
    assert max(info.tokens for info in shards_of(tmp_path / "cut")[0].shards) <= 2000
    assert cut.ledger == uncut.ledger


def test_shuffled_sources_do_not_correlate_with_position(tmp_path: Path, corpus: list[str], run: Tokenize) -> None:
    run(corpus, max_tokens_per_shard=3000)
    label = np.array([row["id"].startswith("books") for row in rows_of(tmp_path / "tokens")], dtype=float)
    line = np.array([row["line"] for row in rows_of(tmp_path / "tokens")])
    position = np.arange(len(label))
    assert abs(np.corrcoef(label, position)[0, 1]) < 0.1
    assert abs(np.corrcoef(line, position)[0, 1]) < 0.1


def test_without_shuffling_the_order_is_that_of_the_corpus(tmp_path: Path, corpus: list[str], run: Tokenize) -> None:
    run(corpus[::-1], shuffle=False, max_tokens_per_shard=3000)
    expected = [("books/a", 200), ("books/b", 100), ("web/a", 300)]
    ids = [row["id"] for row in rows_of(tmp_path / "tokens")]
    assert ids == [f"{stem}/{i}" for stem, n in expected for i in range(n)]


def test_shards_are_even_and_below_the_limit(tmp_path: Path, corpus: list[str], run: Tokenize) -> None:
    run(corpus, max_tokens_per_shard=3000)
    sizes = [info.tokens for info in shards_of(tmp_path / "tokens")[0].shards]
    assert max(sizes) <= 3000 and max(sizes) - min(sizes) < 100


def test_the_number_of_shards_is_told_before_they_are_written(
    tmp_path: Path, corpus: list[str], run: Tokenize, notes: Any
) -> None:
    run(corpus, max_tokens_per_shard=3000, reporter=notes)
    manifest, _ = shards_of(tmp_path / "tokens")
    told = f"{manifest.tokens:,} tokens of 600 documents go into {len(manifest.shards)} shards"
    assert any(told in line for line in notes.lines)


def test_a_document_is_never_cut_between_shards(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    texts = ["a" * 30, "b" * 500, "c" * 30, "d" * 30]
    run([documents(texts)], max_tokens_per_shard=100)
    manifest, _ = shards_of(tmp_path / "tokens")
    assert sorted(info.tokens for info in manifest.shards if info.documents == 1)[-1] == 501
    assert all(info.tokens <= 100 for info in manifest.shards if info.documents > 1)
    assert {len(row["tokens"]) for row in rows_of(tmp_path / "tokens")} == {31, 501}


def test_one_document_and_many_workers_give_one_shard(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    run([documents(["only"])], workers=16)
    manifest, shards = shards_of(tmp_path / "tokens")
    assert [info.documents for info in manifest.shards] == [1]
    assert shards[0].ids.tolist() == [*b"only", 256]


def test_many_files_of_two_suffixes_give_the_shards_that_were_told(
    tmp_path: Path, documents: Write, run: Tokenize, notes: Any
) -> None:
    for i in range(29):
        documents([f"text {i}"], f"web/documents/{i:02d}.jsonl.gz")
        documents([f"text {i}"], f"web/documents/{i:02d}x.json.gz")
    run([str(tmp_path / "web/documents/*.gz")], max_tokens_per_shard=60, reporter=notes)
    manifest, _ = shards_of(tmp_path / "tokens")
    assert sum(info.documents for info in manifest.shards) == 58
    assert any(f"58 documents go into {len(manifest.shards)} shards" in line for line in notes.lines)


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_a_corpus_without_text_is_an_error_and_leaves_no_shard(
    texts: list[str], tmp_path: Path, documents: Write, run: Tokenize
) -> None:
    path = documents(texts, "web/documents/a.jsonl")
    with pytest.raises(DataError, match=rf"nothing to write to .*: {len(texts)} documents were read"):
        run([path])
    assert list((tmp_path / "tokens").glob("part-*")) == []


def test_documents_without_text_are_dropped_and_counted(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    report = run([documents(["a", "", "\n", ""], source="mine")], shuffle=False)
    account = report.ledger.accounts["mine"]
    assert account.taken == Tally(documents=4, bytes=2, tokens=4)
    assert account.out == Tally(documents=2, bytes=2, tokens=4)
    assert account.dropped == {"empty": Tally(documents=2, bytes=0, tokens=0)}
    assert [(row["id"], row["line"]) for row in rows_of(tmp_path / "tokens")] == [("books/a/0", 1), ("books/a/2", 3)]


def test_as_many_end_of_text_tokens_as_documents(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    run([documents(["a<|endoftext|>", "<|endoftext|>", "b", "c\n\n"])])
    (shard,) = shards_of(tmp_path / "tokens")[1]
    assert int(np.count_nonzero(shard.ids == 256)) == len(shard.rows) == 4


def test_rows_name_line_and_file_as_the_manifest_does(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    paths = [documents(["a", "b"], f"{name}/documents/{name}.jsonl") for name in ("books", "web")]
    run(paths, shuffle=False)
    names = [file.name for file in read_manifest(str(tmp_path / "tokens")).inputs]
    assert names == ["books/books.jsonl", "web/web.jsonl"]
    found = [(row["path"], row["line"]) for row in rows_of(tmp_path / "tokens")]
    assert found == [(name, line) for name in names for line in (1, 2)]


def test_the_same_documents_elsewhere_give_the_same_bytes(
    tmp_path: Path, documents: Write, run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("books", "web"):
        documents(["a", "b"], f"here/{name}/documents/{name}.jsonl", source=name)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    patterns = "*/documents/*.jsonl"
    run([f"{tmp_path}/here/{patterns}"], output="absolute")
    run([f"{tmp_path}/there/{patterns}"], output="moved")
    monkeypatch.chdir(tmp_path)
    run([f"here/{patterns}"], output="relative")
    assert files("absolute") == files("moved") == files("relative")
    for name, content in files("absolute").items():
        plain = gzip.decompress(content) if name.endswith(".gz") else content
        assert str(tmp_path).encode() not in plain


def test_a_bad_record_is_left_out_and_counted(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    path = documents(["a", "b"], "web/documents/a.jsonl")
    Path(path).write_text(Path(path).read_text() + "{broken\n")
    report = run([path], reading=Reading(on_error="skip"))
    total = report.ledger.total()
    assert (total.taken.documents, total.out.documents, total.failed) == (3, 2, 1)
    assert report.ledger.failed[0].line == 3


UNIGRAM = {"type": "Unigram", "unk_id": None, "vocab": [["</s>", 0.0], ["a", -1.0], ["c", -1.0]]}


@pytest.fixture
def failing_on_b(tokenizer: Write, token: Any) -> str:
    """A tokenizer that fails on all texts with letters other than a and c."""
    return tokenizer({"version": "1.0", "added_tokens": [token(0, "</s>")], "model": UNIGRAM}, "failing.json")


def test_a_text_that_the_tokenizer_fails_on_names_its_line(failing_on_b: str, documents: Write, run: Tokenize) -> None:
    with pytest.raises(RecordError, match=r"a.jsonl.gz:2: the tokenizer fails on this text: ") as caught:
        run([documents(["a", "b", "c"])], tokenizer=failing_on_b)
    assert str(caught.value).count("--on-error skip") == 1


def test_a_text_that_the_tokenizer_fails_on_may_be_skipped(
    failing_on_b: str, tmp_path: Path, documents: Write, run: Tokenize
) -> None:
    report = run([documents(["a", "b", "c"])], tokenizer=failing_on_b, reading=Reading(on_error="skip"))
    assert (report.ledger.total().out.documents, report.ledger.total().failed) == (2, 1)
    assert (report.ledger.failed[0].line, report.ledger.failed[0].reason[:19]) == (2, "the tokenizer fails")
    assert sorted(row["id"] for row in rows_of(tmp_path / "tokens")) == ["books/a/0", "books/a/2"]


@pytest.mark.parametrize("name", ["books/documents/a.jsonl", "books/documents/a.jsonl.gz"])
def test_a_text_that_the_tokenizer_fails_on_may_be_quarantined(
    name: str, failing_on_b: str, tmp_path: Path, documents: Write, run: Tokenize
) -> None:
    path = documents(["a", "b", "c"], name)
    reading = Reading(on_error="quarantine", quarantine=str(tmp_path / "bad"))
    report = run([path], tokenizer=failing_on_b, reading=reading)
    assert (report.ledger.total().out.documents, report.ledger.total().failed) == (2, 1)
    kept = sorted((tmp_path / "bad").rglob("*.jsonl"))
    records, reasons = (json.loads(file.read_text()) for file in kept)
    assert (records["id"], records["text"], reasons["line"]) == ("books/a/1", "b", 2)


# --- characters that have no token -----------------------------------------------------------------------------------


@pytest.fixture
def dropping(tokenizer: Write, token: Any) -> str:
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [], "unk_token": None}
    return tokenizer({"version": "1.0", "added_tokens": [token(2, "</s>")], "model": model}, "dropping.json")


def test_characters_that_vanish_are_warned_of_and_counted(
    dropping: str, tmp_path: Path, documents: Write, run: Tokenize, notes: Any
) -> None:
    run(
        [documents(["axyb", "日本", "a"]), documents(["zzz"], "web/documents/b.jsonl")],
        tokenizer=dropping,
        reporter=notes,
    )
    warned, told = (
        next(i for i, line in enumerate(notes.lines) if part in line)
        for part in ("has neither a token for each byte nor one for unknown text", "7 characters had no token")
    )
    assert warned < told
    made = read_manifest(str(tmp_path / "tokens"))
    assert made is not None and made.notes["dropped_characters"] == 7


def test_nothing_is_said_of_them_where_none_can_vanish(documents: Write, run: Tokenize, notes: Any) -> None:
    run([documents(["日本"])], reporter=notes)
    assert not any("token for each byte" in line or "had no token" in line for line in notes.lines)


# --- white space -----------------------------------------------------------------------------------------------------


def test_outer_white_space_is_text_unless_it_is_to_be_stripped(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    path = documents([" a b\n", "\u3000\u00a0\n", "c", "\u200bd\x1c"], source="mine")
    run([path], output="whole", shuffle=False)
    report = run([path], output="stripped", shuffle=False, strip=True)
    whole, stripped = ([bytes(row["tokens"][:-1].tolist()).decode() for row in rows_of(tmp_path / name)]
                       for name in ("whole", "stripped"))  # fmt: skip
    assert whole == [" a b\n", "\u3000\u00a0\n", "c", "\u200bd\x1c"]
    assert stripped == ["a b", "c", "\u200bd"]
    account = report.ledger.accounts["mine"]
    assert (account.taken.documents, account.out.documents, account.dropped["empty"].documents) == (4, 3, 1)
    assert [row["line"] for row in rows_of(tmp_path / "stripped")] == [1, 3, 4]


def test_stripping_is_part_of_what_a_run_is(documents: Write, run: Tokenize) -> None:
    path = documents(["a "])
    run([path])
    with pytest.raises(OutputExistsError, match=r"strip was .*"):
        run([path], strip=True)


# --- what stands beside ----------------------------------------------------------------------------------------------


def test_the_folder_describes_itself(tmp_path: Path, documents: Write, run: Tokenize, tokenizer: Write) -> None:
    path = tokenizer()
    run([documents(["a"])], seed=7)
    manifest, _ = shards_of(tmp_path / "tokens")
    assert (manifest.dtype, manifest.vocab_size, manifest.eos_id, manifest.seed) == ("uint16", 257, 256, 7)
    assert (tmp_path / "tokens" / manifest.tokenizer).read_bytes() == Path(path).read_bytes()
    made = read_manifest(str(tmp_path / "tokens"))
    assert made is not None
    names = [
        "olmo-core.yaml",
        "part-00000.csv.gz",
        "part-00000.npy",
        "part-00000.parquet",
        "tokenizer.json",
        "tokens.json",
    ]
    assert [out.path for out in made.outputs] == names
    assert made.config["tokenizer_sha256"] == manifest.tokenizer_sha256


def test_the_end_of_text_token_and_why_it_is_that_one_is_told(
    tmp_path: Path, documents: Write, run: Tokenize, notes: Any
) -> None:
    run([documents(["a"])], reporter=notes)
    because = "the only special token with such a name"
    assert f"tokenize: each document ends with '<|endoftext|>', id 256: {because}" in notes.lines
    made = read_manifest(str(tmp_path / "tokens"))
    assert made is not None
    assert made.notes == {
        "eos": {"token": "<|endoftext|>", "id": 256, "because": because},
        "encoded_by": made.notes["encoded_by"],
    }
    assert made.notes["encoded_by"]


def test_an_old_library_is_noted(documents: Write, run: Tokenize, notes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "slow_note", lambda: "slow\n  run `pip install 'dolma[fast]'`")
    run([documents(["a"])], reporter=notes)
    assert any("dolma[fast]" in line for line in notes.lines)


def test_a_dry_run_names_the_files_and_writes_nothing(tmp_path: Path, documents: Write, tokenizer: Write) -> None:
    dataset = Dataset(documents=(documents(["a"]), documents(["b"], "web/documents/b.jsonl")))
    rows = list(plan(dataset, TokenizeConfig(tokenizer=tokenizer()), output=str(tmp_path / "tokens")))
    assert [Path(row["input"]).name for row in rows] == ["a.jsonl.gz", "b.jsonl"]
    assert rows[0]["holds"] == "uint16 ids of 257, at most 268,435,456 to a shard"
    assert not (tmp_path / "tokens").exists()


def test_a_wrong_tokenizer_is_refused_before_anything_is_made(tmp_path: Path, documents: Write, run: Tokenize) -> None:
    with pytest.raises(ConfigError, match=r"no such file: none\.json"):
        run([documents(["a"])], tokenizer="none.json")
    assert not (tmp_path / "tokens").exists()


# --- object storage --------------------------------------------------------------------------------------------------


def test_shards_on_s3_are_those_of_a_local_folder(
    tmp_path: Path, corpus: list[str], run: Tokenize, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3", reason="boto3 is not installed (dolma[s3])")
    moto = pytest.importorskip("moto", reason="moto is not installed (dolma[dev])")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    run(corpus, output="local", max_tokens_per_shard=3000)
    with moto.mock_aws():
        boto3.client("s3").create_bucket(Bucket="corpus")
        config = TokenizeConfig(tokenizer=str(tmp_path / "tokenizer.json"), max_tokens_per_shard=3000)
        tokenize(Dataset(documents=tuple(corpus)), config, output="s3://corpus/tokens", options=RunOptions(workers=1))
        paths = [path for path in streams.list_files("s3://corpus/tokens") if not path.endswith("/.inputs.json")]
        found = {path.removeprefix("s3://corpus/tokens/"): streams.read_bytes(path) for path in paths}
        assert verify_tokens("s3://corpus/tokens") == []
    assert found == files("local")


# --- goldens ---------------------------------------------------------------------------------------------------------


@pytest.mark.golden
def test_the_order_and_the_shards_of_some_documents_stay_as_they_are(
    tmp_path: Path, documents: Write, run: Tokenize
) -> None:
    # Documents of two tokens each: half of the tokens lie in the middle of one, which goes to the first shard.
    paths = [
        documents(["a", "b", "c"], "books/documents/a.jsonl"),
        documents(["d", "e", "f", "g"], "web/documents/a.jsonl"),
    ]
    run(paths, seed=7, max_tokens_per_shard=8)
    folder = tmp_path / "tokens"
    shards = [path.read_bytes() for path in sorted(folder.glob("*.npy"))]
    rows = [gzip.decompress(path.read_bytes()).decode() for path in sorted(folder.glob("*.csv.gz"))]
    eos = b"\0\1"
    assert shards == [b"".join(bytes([token, 0]) + eos for token in some) for some in (b"bdae", b"gfc")]
    assert rows == [
        "0,2,books/a/1,books/a.jsonl,2\n2,4,web/a/0,web/a.jsonl,1\n4,6,books/a/0,books/a.jsonl,1\n6,8,web/a/1,web/a.jsonl,2\n",
        "0,2,web/a/3,web/a.jsonl,4\n2,4,web/a/2,web/a.jsonl,3\n4,6,books/a/2,books/a.jsonl,3\n",
    ]
