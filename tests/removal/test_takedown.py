"""Documents out of everything that a run has written. Run: pytest tests/removal/test_takedown.py"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

import dolma
from dolma.cli.main import run
from dolma.data.documents import Intake, Reading, read_batches
from dolma.data.items import read_asked
from dolma.data.manifest import read_manifest
from dolma.data.shards import Shard
from dolma.data.tokens import read_rows, read_token_manifest
from dolma.errors import ConfigError, DataError
from dolma.removal import commit
from dolma.removal.receipt import Receipt
from dolma.runner.lock import RunLock
from tests.removal.conftest import RECIPE, SAMPLE, SENTENCE, attributes, holding, tree, write_ids

BOOK = "moby/chapter_28"
GONE = (BOOK, "web/kept", "web/short", "more/3")
"""A book that is written twice, the kept one of a cluster, one that a rule drops, one of parquet."""


def take_down(*ids: str, **settings: Any) -> Receipt:
    return dolma.takedown(recipe="recipe.yaml", ids=write_ids(*ids), **settings)


def held_out() -> str:
    """An id that the mix holds out."""
    return str(json.loads(Path("run/mixed/holdout.jsonl").read_text().splitlines()[0])["id"])


def run_again() -> list[str]:
    """The stages that ran, and were not complete before."""
    return [name for name, of in dolma.run("recipe.yaml").items() if not all(one.complete_before for one in of)]


@pytest.mark.parametrize("tokens", ["pad", "rewrite"])
def test_neither_ids_nor_text_are_left_in_any_file(here: Path, tokens: str) -> None:
    gone = (*GONE, held_out())
    assert holding(here, SENTENCE) and all(holding("run", id) for id in gone)
    take_down(*gone, tokens=tokens)
    assert holding(here, *gone, SENTENCE) == []


@pytest.mark.parametrize("tokens", ["pad", "rewrite"])
def test_outputs_are_verified_and_finished_afterwards(here: Path, tokens: str) -> None:
    take_down(*GONE, held_out(), tokens=tokens)
    assert dolma.verify("run").problems == []
    assert dolma.verify(recipe="recipe.yaml").problems == []
    assert run_again() == []


def test_other_documents_stay_as_they_are(here: Path) -> None:
    def documents() -> dict[str, list[tuple[int, bytes]]]:
        found = {}
        for path in sorted(Path("raw").glob("*/documents/*")):
            shard = Shard(path=str(path), name=path.name, root="", inner="", size=path.stat().st_size)
            batches = read_batches(shard, Reading(), intake=Intake(), records=True)
            found[path.name] = [
                (int(line), record)
                for batch in batches
                for id, line, record in zip(batch.ids, batch.lines, batch.records or [], strict=True)
                if id not in GONE
            ]
        return found

    before, manuals = documents(), Path("raw/techdocs/documents/b.jsonl.zst").read_bytes()
    take_down(*GONE)
    assert documents() == before
    assert Path("raw/techdocs/documents/b.jsonl.zst").read_bytes() == manuals


def test_a_second_run_says_that_nothing_is_left(here: Path) -> None:
    take_down(*GONE)
    before = tree(here)
    receipt = take_down(*GONE)
    assert receipt.nothing_left and receipt.not_found == []
    assert tree(here) == before


def test_a_dry_run_says_the_same_and_touches_nothing(here: Path) -> None:
    before = tree(here)
    foreseen = take_down(*GONE, dry_run=True)
    assert tree(here) == before
    done = take_down(*GONE)
    counted = [(place.path, place.removed) for place in done.places if place.removed or place.kind != "summaries"]
    assert [(place.path, place.removed) for place in foreseen.places] == counted
    assert (foreseen.documents, foreseen.records) == (done.documents, done.records) == (4, sum(n for _, n in counted))


def test_the_receipt_has_checksums_and_no_text(here: Path) -> None:
    receipt = take_down(*GONE, "no/such/id")
    assert receipt.not_found == ["no/such/id"]
    assert all(place.before and place.before != place.after for place in receipt.places)
    said = json.dumps(receipt.to_dict())
    assert SENTENCE not in said and not any(id in said for id in GONE)


def test_copies_that_a_mix_has_written_go_too(here: Path) -> None:
    assert holding("run/mixed/documents", f"{BOOK}#2")
    take_down(BOOK)
    assert holding("run", f"{BOOK}#2") == []


def test_a_fresh_run_from_raw_text_does_not_bring_them_back(here: Path, made: Path) -> None:
    take_down(*GONE)
    shutil.rmtree("raw")
    shutil.copytree(made / "raw", "raw")
    assert holding("raw", *GONE)
    dolma.run("recipe.yaml", output="fresh", takedown="run/takedown.jsonl")
    assert holding("fresh", *GONE, SENTENCE) == []
    manifest = read_manifest("fresh/mixed")
    assert manifest is not None
    assert manifest.ledger["accounts"]["web"]["dropped"]["takedown"]["documents"] == 2
    assert dolma.verify("fresh").problems == []


def test_a_list_in_the_output_is_honoured_by_itself(here: Path, made: Path) -> None:
    take_down(*GONE)
    os.mkdir("fresh")
    shutil.copy("run/takedown.jsonl", "fresh")
    shutil.rmtree("raw")
    shutil.copytree(made / "raw", "raw")
    dolma.run("recipe.yaml", output="fresh")
    assert holding("fresh", *GONE, SENTENCE) == []
    assert dolma.verify("fresh").problems == []


def test_documents_that_stay_on_disk_are_passed_over(here: Path) -> None:
    raw = tree("raw")
    receipt = take_down(*GONE, read_only="raw")
    assert tree("raw") == raw
    assert {one.why for one in receipt.unreached if one.path.startswith("raw/")} == {"marked as read-only"}
    assert holding("run", *GONE, SENTENCE) == []
    assert dolma.verify(recipe="recipe.yaml").problems == []
    assert run_again() == []
    assert take_down(*GONE, read_only="raw").nothing_left


def test_the_next_copy_of_a_cluster_is_kept(here: Path) -> None:
    before = attributes("near")
    assert [before[id]["kept_id"] for id in ("web/kept", "web/copy", "web/other")] == [None, "web/kept", "web/kept"]
    receipt = take_down("web/kept")
    near = attributes("near")
    assert (near["web/copy"]["duplicate"], near["web/copy"]["kept_id"]) == (False, None)
    assert (near["web/other"]["duplicate"], near["web/other"]["kept_id"]) == (True, "web/copy")
    assert near["web/other"]["cluster_size"] == 2
    assert receipt.moved == 1
    others = before.keys() - {"web/kept", "web/copy", "web/other"}
    assert {id: near[id] for id in others} == {id: before[id] for id in others}


def test_a_document_that_is_left_alone_is_in_no_cluster(here: Path) -> None:
    take_down("web/twin")
    row = attributes("exact")["web/twins"]
    assert (row["duplicate"], row["cluster"], row["cluster_size"], row["kept_id"]) == (False, None, 1, None)


def test_the_account_of_copies_follows(here: Path) -> None:
    take_down("web/kept", "web/twin")
    manifest = read_manifest("run/attributes/near")
    assert manifest is not None
    rows = attributes("near")
    web = next(one for one in manifest.notes["sources"] if one["source"] == "web")
    mine = [row for id, row in rows.items() if id.startswith("web/")]
    assert manifest.notes["documents"] == len(rows)
    assert manifest.notes["duplicates"] == sum(row["duplicate"] for row in rows.values())
    assert (web["seen"], web["duplicates"]) == (len(mine), sum(row["duplicate"] for row in mine))
    assert web["unique"] == sum(row["cluster"] is None for row in mine)


def test_clusters_go_whole(here: Path) -> None:
    receipt = take_down("web/copy", with_cluster="near.cluster")
    assert receipt.documents == 3
    assert holding(here, "web/kept", "web/copy", "web/other") == []


def test_an_index_goes_and_its_set_stays_finished(here: Path) -> None:
    assert Path("run/attributes/exact/_index/index.json").exists()
    receipt = take_down(BOOK)
    assert not Path("run/attributes/exact/_index/index.json").exists()
    assert [one.path for one in receipt.unreached if "index" in one.why] == ["run/attributes/exact/_index"]
    assert dolma.verify("run").problems == [] and run_again() == []


def test_a_domain_takes_its_subdomains(here: Path) -> None:
    Path("../domains.txt").write_text("A.example\nhttps://www.c.example/page\nnone.example\n")
    receipt = dolma.takedown(recipe="recipe.yaml", domains="../domains.txt")
    assert receipt.documents == 3 and receipt.not_found == ["none.example"]
    assert holding(here, "web/kept", "web/other", '"web/twin"') == []
    assert holding("raw", "web/copy") and holding("raw", "web/twins")


def test_later_documents_of_a_domain_are_passed_over(here: Path) -> None:
    Path("../domains.txt").write_text("c.example\n")
    dolma.takedown(recipe="recipe.yaml", domains="../domains.txt")
    late = {"id": "tardy", "text": "A page that was crawled later.", "url": "https://sub.c.example/"}
    Path("late.jsonl").write_text(json.dumps(late) + "\n" + json.dumps(late | {"id": "fine", "url": ""}) + "\n")
    dolma.mix(documents="late.jsonl", attributes="none", output="later", takedown="run/takedown.jsonl")
    assert holding("later", "tardy") == [] and holding("later/documents", "fine")


def test_a_rule_says_which(here: Path) -> None:
    receipt = dolma.takedown(recipe="recipe.yaml", rule="length.words < 5 AND document.source = 'web'")
    assert receipt.documents == 1
    assert holding(here, "web/short") == []
    assert dolma.verify("run").problems == []


def test_a_rule_is_asked_of_what_the_list_of_a_folder_leaves(here: Path) -> None:
    places = {"documents": "raw/*/documents/*", "attributes": "run/attributes", "read_only": "raw"}
    dolma.takedown("run", ids=write_ids("web/kept"), **places)
    receipt = dolma.takedown("run", rule="length.words < 5 AND document.source = 'web'", **places)
    assert receipt.documents == 1 and holding("run", "web/short") == []


def test_urls_stand_where_the_list_says(here: Path) -> None:
    Path("../domains.txt").write_text("c.example\n")
    take_down(BOOK)
    dolma.takedown(recipe="recipe.yaml", domains="../domains.txt", url_field="url")
    assert json.loads(Path("run/takedown.jsonl").read_text().splitlines()[0])["urls"] == ["url"]
    Path("../domains.txt").write_text("a.example\n")
    with pytest.raises(
        ConfigError, match=r"--url-field: names other fields than run/takedown.jsonl, whose .* in url\n"
    ):
        dolma.takedown(recipe="recipe.yaml", domains="../domains.txt", url_field="metadata.url")


def test_strata_that_were_counted_with_them_are_named(here: Path) -> None:
    strata = [{"attribute": "near.duplicate"}]
    dolma.mix(documents="raw/*/documents/*", attributes="run/attributes", output="run/strata", strata=strata)
    receipt = take_down(BOOK)
    assert "run/strata/mixture.json" in {one.path for one in receipt.unreached if "strata" in one.why}
    assert holding("run", BOOK) == [] and dolma.verify("run/strata").problems == []


def test_a_tokenizer_that_was_trained_on_them_is_named(here: Path) -> None:
    train = ["tokenize", "train", "--documents", "raw/books/documents/*", "--vocab-size", "300"]
    assert run([*train, "--output", "run/trained", "-q"]) == 0
    receipt = take_down(BOOK)
    assert [one.why for one in receipt.unreached if one.path == "run/trained"] == [
        "was made of some of these documents by `tokenize train`: make it again"
    ]


def test_hits_of_benchmarks_name_them_no_more(here: Path) -> None:
    items = SAMPLE / "tasks" / "fables.jsonl"
    question = read_asked(str(items))[0].question
    os.mkdir("asked")
    records = [{"id": f"asked/{name}", "text": f"{name}. {question}"} for name in ("first", "other")]
    Path("asked/a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    settings = {"method": "decontaminate", "name": "items", "items": [str(items)], "report_items": True}
    dolma.dedupe(documents="asked/*", attributes="run/asked", **settings)
    assert len(holding("run/asked", "asked/first")) == 3
    receipt = dolma.takedown("run/asked", documents="asked/*", ids=write_ids("asked/first"))
    assert holding("run/asked", "asked/first") == []
    assert len(Path("run/asked/items/_items.jsonl").read_text().splitlines()) == len(read_asked(str(items)))
    assert len(Path("run/asked/items/_hits.jsonl").read_text().splitlines()) == 1
    assert any("counts of benchmarks" in one.why for one in receipt.unreached)
    assert dolma.verify("run/asked").problems == []


def test_what_stands_in_a_quarantine_alone_goes(here: Path) -> None:
    os.mkdir("run/quarantine")
    Path("run/quarantine/a.jsonl").write_text('{"id": "stray", "text": "Broken\n{"id": "left", "text": 4}\n')
    receipt = take_down("stray")
    assert [(place.kind, place.removed) for place in receipt.places] == [("quarantined", 1)]
    assert receipt.documents == 1 and receipt.not_found == []
    assert Path("run/quarantine/a.jsonl").read_text() == '{"id": "left", "text": 4}\n'


def test_bad_records_in_which_no_id_is_found_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("raw")
    Path("raw/a.csv").write_text("id,text\na,One.\nb,Two.,three cells\nc,Three.\n")
    recipe = {"documents": ["raw/*"], "output": "run", "on_error": "skip"}
    receipt = dolma.takedown(recipe=recipe, ids=write_ids("a"))
    assert [one.path for one in receipt.unreached] == ["1 record of raw/a.csv"]
    assert Path("raw/a.csv").read_text() == "id,text\n\nb,Two.,three cells\nc,Three.\n"


def test_what_is_put_on_the_list_alone_is_something(here: Path) -> None:
    shutil.rmtree("run")
    receipt = take_down(BOOK, read_only="raw")
    assert receipt.places == [] and receipt.documents == 1 and not receipt.nothing_left
    assert take_down(BOOK, read_only="raw").nothing_left


@pytest.mark.parametrize("pattern", ["./raw/*/documents/*", "{here}/raw/**", "run/../raw"])
def test_files_are_read_only_however_they_are_written(here: Path, pattern: str) -> None:
    raw = tree("raw")
    take_down(BOOK, read_only=pattern.format(here=here))
    assert tree("raw") == raw and holding("run", BOOK) == []


def test_a_pattern_of_no_file_that_is_to_stay_is_an_error(here: Path) -> None:
    before = tree(here)
    for pattern in ("rwa", "run/mixed"):
        with pytest.raises(ConfigError, match=rf"--read-only: no file of documents matches '{pattern}'"):
            take_down(BOOK, read_only=pattern)
    assert tree(here) == before


def test_single_folders_and_documents_can_be_named(here: Path) -> None:
    receipt = dolma.takedown("run", documents="raw/*/documents/*", ids=write_ids(*GONE))
    assert receipt.takedown == "run/takedown.jsonl"
    assert holding(here, *GONE, SENTENCE) == []
    assert dolma.verify("run").problems == [] and run_again() == []


def test_what_a_mix_says_of_itself_follows(here: Path) -> None:
    def rules() -> dict[str, list[int]]:
        rows = pq.read_table("run/mixed/waterfall.parquet").to_pylist()
        return {f"{row['rule']} {row['source']}": [row["documents"], row["total"]] for row in rows}

    before = rules()
    mixture = json.loads(Path("run/mixed/mixture.json").read_text())
    take_down("web/short", BOOK)
    after = rules()
    assert before["keep: length.words >= 20 web"] == [1, 1]
    assert after["keep: length.words >= 20 web"] == [0, 0]
    books = next(row for row in mixture["sources"] if row["source"] == "books")
    found = json.loads(Path("run/mixed/mixture.json").read_text())
    now = next(row for row in found["sources"] if row["source"] == "books")
    assert (now["documents"], now["left_documents"]) == (books["documents"] - 2, books["left_documents"] - 1)
    assert found["achieved"] == sum(row["achieved"] for row in found["sources"])


# --- tokens ----------------------------------------------------------------------------------------------------------


def test_padding_leaves_other_tokens_where_they_are(here: Path) -> None:
    before = read_rows("run/tokens/part-00000.npy").to_pylist()
    ids = Path("run/tokens/part-00000.npy").read_bytes()
    take_down(BOOK)
    after = read_rows("run/tokens/part-00000.npy").to_pylist()
    now = Path("run/tokens/part-00000.npy").read_bytes()
    itemsize = 2 if read_token_manifest("run/tokens").dtype == "uint16" else 4
    assert len(ids) == len(now) and len(before) == len(after)
    for was, is_ in zip(before, after, strict=True):
        where = slice(was["start"] * itemsize, was["end"] * itemsize)
        if was["id"].startswith(BOOK):
            assert is_ == {**was, "id": "", "path": "", "line": 0} and now[where] != ids[where]
        else:
            assert is_ == was and now[where] == ids[where]


def test_rewritten_shards_have_the_others_in_their_order(here: Path) -> None:
    before = read_rows("run/tokens/part-00000.npy").to_pylist()
    take_down(BOOK, tokens="rewrite")
    after = read_rows("run/tokens/part-00000.npy").to_pylist()
    kept = [row["id"] for row in before if not row["id"].startswith(BOOK)]
    assert [row["id"] for row in after] == kept
    assert read_token_manifest("run/tokens").shards[0].documents == len(kept)


@pytest.mark.parametrize("tokens", ["pad", "rewrite"])
def test_shards_made_of_shards_follow(here: Path, tokens: str) -> None:
    assert run(["tokenize", "reshard", "run/tokens", "--output", "run/again", "--seed", "3", "-q"]) == 0
    take_down(*GONE, tokens=tokens)
    assert holding("run", *GONE) == []
    assert dolma.verify("run/again").problems == []
    assert run(["tokenize", "reshard", "run/tokens", "--output", "run/again", "--seed", "3", "-q"]) == 0


def rows_of(folder: str) -> list[dict[str, Any]]:
    """The rows of all shards of a folder."""
    paths = [f"{folder}/{info.path}" for info in read_token_manifest(folder).shards]
    return [row for path in paths for row in read_rows(path).to_pylist()]


def test_padding_does_not_go_into_other_shards(here: Path) -> None:
    take_down(*GONE)
    padding = sum(row["end"] - row["start"] for row in rows_of("run/tokens") if not row["id"])
    left = read_token_manifest("run/tokens").tokens - padding
    assert run(["tokenize", "reshard", "run/tokens", "--output", "run/again", "-q"]) == 0
    assert run(["tokenize", "mix", "a=run/tokens", "--share", "a=1", "--max-repeat", "2", "-o", "run/twice", "-q"]) == 0
    for folder, times in (("run/again", 1), ("run/twice", 2)):
        assert all(row["id"][:1] not in ("", "#") for row in rows_of(folder))
        assert read_token_manifest(folder).tokens == times * left
        assert dolma.verify(folder).problems == []


def test_parts_of_a_document_that_is_cut_become_padding(here: Path) -> None:
    settings = {"tokenizer": "tokenizer.json", "max_tokens_per_shard": 2000, "split_long_documents": True}
    dolma.tokenize(documents="run/mixed/documents", output="run/parts", **settings)
    rows = [row for path in sorted(Path("run/parts").glob("*.npy")) for row in read_rows(str(path)).to_pylist()]
    assert any(row["parts"] > 1 and row["id"] == BOOK for row in rows)
    dolma.takedown("run", documents="raw/*/documents/*", ids=write_ids(BOOK))
    assert holding("run/parts", BOOK) == []
    assert dolma.verify("run/parts").problems == []


def test_a_training_run_goes_on_and_can_be_traced_over_padding(here: Path) -> None:
    pytest.importorskip("torch")
    train = {
        "model": {"d_model": 8, "layers": 1, "heads": 2, "mlp_hidden": 8},
        "sequence_length": 64, "batch_size": 8, "steps": 3, "sample_tokens": 1,
    }  # fmt: skip
    Path("recipe.yaml").write_text(yaml.safe_dump(RECIPE | {"train": train}))
    dolma.run("recipe.yaml")
    everything = [row["id"] for row in read_rows("run/tokens/part-00000.npy").to_pylist()]
    dolma.takedown(recipe="recipe.yaml", ids=write_ids(BOOK), dry_run=True)
    with pytest.raises(ConfigError, match=r"was trained on run/tokens, and could neither go on nor be traced"):
        take_down(*everything, tokens="rewrite")
    receipt = take_down(*everything[::2])
    (seen,) = receipt.trained
    assert (seen.run, seen.first, seen.last) == ("run/train", 1, 3)
    assert dolma.verify("run").problems == []
    assert run_again() == []
    assert take_down(*everything[::2]).nothing_left


# --- interruptions ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """In the place of a signal: nobody catches it."""


@pytest.fixture
def renames(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """Kills at the rename of this number; leaves all that lies there, as a kill does, and the same salt each time."""
    count = {"left": 1 << 30, "done": 0}
    real = os.replace

    def replace(source: Any, target: Any, **more: Any) -> None:
        if count["left"] == 0:
            raise Killed
        count["left"] -= 1
        count["done"] += 1
        real(source, target, **more)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(commit.Staging, "__exit__", lambda self, *exc: None)
    monkeypatch.setattr("secrets.token_bytes", lambda n: b"s" * n)
    yield count


@pytest.mark.slow
def test_a_kill_at_any_rename_and_another_run_come_to_the_same(
    here: Path, tmp_path: Path, renames: dict[str, int]
) -> None:
    shutil.copytree(here, tmp_path / "as it was")
    before = tree(here)
    take_down(*GONE)
    wanted, n_renames = tree(here), renames["done"]
    assert n_renames > 40
    every = int(os.environ.get("DOLMA_KILL_EVERY", "11"))
    for at in range(0, n_renames, every):
        for name in ("raw", "run"):
            shutil.rmtree(name)
            shutil.copytree(tmp_path / "as it was" / name, name)
        renames["left"] = at
        with pytest.raises(Killed):
            take_down(*GONE)
        if Path("run/.takedown/journal.json").exists():
            assert any("a take-down was interrupted here" in line for line in dolma.verify("run").problems)
        else:
            assert {path: before[path] for path in before} == {path: tree(here)[path] for path in before}, at
        renames["left"] = 1 << 30
        receipt = take_down(*GONE)
        assert tree(here) == wanted, at
        assert receipt.documents == 4 and receipt.places
    assert dolma.verify("run").problems == []


def test_a_dry_run_does_not_finish_another(here: Path, renames: dict[str, int]) -> None:
    take_down(BOOK)
    renames["left"] = renames["done"] - 2  # the journal is there, and some files are not in place
    with pytest.raises(Killed):
        take_down("web/kept")
    assert Path("run/.takedown/journal.json").exists()
    with pytest.raises(ConfigError, match="was interrupted and is still to be finished"):
        take_down("web/kept", dry_run=True)


def test_what_another_has_still_to_put_in_place_is_not_thrown_away(here: Path, renames: dict[str, int]) -> None:
    take_down(BOOK)
    renames["left"] = renames["done"] - 2
    with pytest.raises(Killed):
        take_down("web/kept")
    renames["left"] = 1 << 30
    os.mkdir("other")
    half = tree(here)
    for folders in (["other"], ["other", "run"]):
        with pytest.raises(ConfigError, match=r"a take-down in .*run was interrupted and is still to be finished"):
            dolma.takedown(*folders, documents="raw/*/documents/*", ids=write_ids("web/short"))
    assert tree(here) == half
    assert take_down("web/kept").continued
    assert holding(here, "web/kept") == [] and dolma.verify("run").problems == []


# --- what is refused -------------------------------------------------------------------------------------------------


def test_nothing_found_is_an_error(here: Path) -> None:
    before = tree(here)
    with pytest.raises(ConfigError, match=r"nothing was found of 2 ids in \d+ files of documents and \d+ file sets"):
        take_down("no/such/id", "none/either")
    assert tree(here) == before


def test_nothing_asked_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError, match="nothing says which documents"):
        dolma.takedown(recipe="recipe.yaml")


def test_nowhere_to_look_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError, match="nothing says where to look"):
        dolma.takedown(ids=write_ids(BOOK))


def test_an_unknown_cluster_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"no attribute 'near.clusters'; did you mean 'near.cluster'\?"):
        take_down(BOOK, with_cluster="near.clusters")


def test_a_rule_that_cannot_be_is_an_error(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"--rule: no attribute 'length.wrods'"):
        dolma.takedown(recipe="recipe.yaml", rule="length.wrods > 5")


def test_a_line_that_is_no_domain_is_an_error(here: Path) -> None:
    Path("../domains.txt").write_text("a.example\nno domain\n")
    with pytest.raises(DataError, match=r"domains.txt:2: 'no domain' is no domain"):
        dolma.takedown(recipe="recipe.yaml", domains="../domains.txt")


def test_a_folder_in_use_is_refused(here: Path) -> None:
    lock = RunLock(["run/mixed"])
    assert lock.alone()
    try:
        with pytest.raises(ConfigError, match="another run is at work in this folder"):
            take_down(BOOK)
    finally:
        lock.discard()
    assert holding("raw", BOOK)


def test_a_stage_that_is_not_finished_is_refused(here: Path) -> None:
    os.makedirs("run/mixed/.work")
    Path("run/mixed/.work/left").write_text(SENTENCE)
    with pytest.raises(ConfigError, match="run/mixed has a stage that is not finished"):
        take_down(BOOK)


def test_a_file_that_changed_since_it_was_written_is_refused(here: Path) -> None:
    path = Path("run/attributes/length/books/a.jsonl.gz.parquet")
    rows = pq.read_table(path)
    pq.write_table(rows, path, compression="gzip")
    before = tree(here)
    with pytest.raises(DataError, match=r"a.jsonl.gz.parquet: changed since it was written"):
        take_down(BOOK)
    assert tree(here) == before


def test_attributes_without_their_documents_are_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match="has 1 document that are to go, and 0 of them stand in"):
        dolma.takedown("run/attributes", ids=write_ids(BOOK))


def test_a_file_of_another_output_is_refused(here: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a file of the finished output in .*run/mixed, which was not named"):
        dolma.takedown("elsewhere", documents="run/mixed/documents/*/*", ids=write_ids(BOOK))


def test_links_are_not_followed_out_of_the_folders(here: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_text(json.dumps({"id": "linked", "text": "A text behind a link."}) + "\n")
    os.mkdir("linked")
    os.symlink(outside, "linked/a.jsonl")
    Path("linked/b.jsonl").write_text(json.dumps({"id": "here", "text": "A text."}) + "\n")
    receipt = dolma.takedown("linked", documents="linked/*", ids=write_ids("linked", "here"))
    assert "linked" in outside.read_text() and "here" not in Path("linked/b.jsonl").read_text()
    assert [one.path for one in receipt.unreached] == ["linked/a.jsonl"]


# --- files of a recipe that are of no stage --------------------------------------------------------------------------


def test_bad_records_and_files_of_ids_lose_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkdir("raw")
    lines = [json.dumps({"id": f"docu/{i}", "text": f"A text of its own, {i}."}) for i in range(8)]
    lines[3] = '{"id": "docu/3", "text": "Broken '
    lines[4] = '{"id": "docu/4", "text": 4}'
    Path("raw/a.jsonl").write_text("".join(f"{line}\n" for line in lines))
    Path("held.jsonl").write_text("".join(f'{{"id": "docu/{i}"}}\n' for i in (1, 2)))
    recipe = {
        "documents": ["raw/*"],
        "output": "run",
        "workers": 1,
        "on_error": "quarantine",
        "max_errors": 9,
        "tag": {"taggers": ["length"]},
        "mix": {"keep": ["length.words > 1"], "holdout": {"ids": "held.jsonl"}},
    }
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    dolma.run("recipe.yaml")
    kept = [path for path in Path("run/quarantine").glob("**/*.jsonl") if "reasons" not in path.name]
    assert any("docu/3" in path.read_text() for path in kept)
    Path("ids.txt").write_text("docu/1\ndocu/3\ndocu/6\n")
    receipt = dolma.takedown(recipe="recipe.yaml", ids="ids.txt")
    os.remove("ids.txt")
    assert {place.kind for place in receipt.places} >= {"quarantined", "held-out ids", "documents"}
    assert holding(".", "docu/1", "docu/3", "docu/6") == []
    assert holding("run/quarantine", "docu/4") and "docu/2" in Path("held.jsonl").read_text()
    assert dolma.verify("run").problems == []
    assert run_again() == []


def test_attributes_of_dolma_1_lose_their_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.makedirs("raw/documents")
    texts = ["One text that is there twice.", "Another text.", "One text that is there twice.", "A last one."]
    records = [{"id": f"d{i}", "text": text} for i, text in enumerate([*texts, texts[0]])]
    Path("raw/documents/a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    dolma.dedupe(documents="raw/documents/*", name="exact", attributes_format="dolma1")
    dolma.takedown("raw", documents="raw/documents/*", ids=write_ids("d0", "d3"))
    lines = [json.loads(line) for line in Path("raw/attributes/exact/a.jsonl").read_text().splitlines()]
    said = {line["id"]: {key.removeprefix("exact__exact__") for key in line["attributes"]} for line in lines}
    assert said["d2"] == {"duplicate", "cluster", "cluster_size"} and "kept_id__d2" in said["d4"]
    assert said.keys() == {"d1", "d2", "d4"}
    assert dolma.verify("raw").problems == []
