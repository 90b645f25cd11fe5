"""What `verify` finds in outputs that were damaged after they were finished. Run: pytest tests/test_verification.py"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest

from dolma.cli.main import run
from dolma.config import Recipe, make_recipe
from dolma.data import streams
from dolma.data.manifest import FileSet, Manifest, read_manifest, write_manifest
from dolma.errors import ConfigError
from dolma.verification import file_sets, verify

TOKENIZER = str(Path(__file__).parents[1] / "data" / "sample" / "tokenizer.json")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents and a run over them: attributes, mixed documents, tokens, statistics."""
    home = tmp_path_factory.mktemp("finished")
    for name in ("a", "b"):
        lines = [{"id": f"{name}{i}", "text": f"{name} number {i} " * (i + 1)} for i in range(20)]
        path = home / "documents" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (home / "recipe.yaml").write_bytes(
        msgspec.yaml.encode(
            {
                "documents": [f"{home}/documents/*.jsonl"],
                "output": f"{home}/out",
                "tag": {"taggers": ["length"]},
                "dedupe": {"by": "text"},
                "mix": {"keep": ["length.words > 6"], "format": ".jsonl"},
                "tokenize": {"tokenizer": TOKENIZER},
                "stat": {},
            }
        )
    )
    assert run(["run", str(home / "recipe.yaml")]) == 0
    return home


@pytest.fixture
def out(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    import shutil

    shutil.copytree(finished / "out", tmp_path / "out")
    return tmp_path / "out"


def problems(out: Path) -> list[str]:
    return verify([str(out)], Recipe()).problems


def manifest_of(folder: Path) -> Path:
    """The manifest of a file set."""
    return next(iter(folder.glob("*manifest.json")))


def flip(path: Path) -> None:
    """Change one bit in the middle of the file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_finished_run_has_no_problems(out: Path) -> None:
    found = verify([str(out)], Recipe())
    assert found.problems == []
    assert [Path(folder).relative_to(out).as_posix() for folder, _ in found.checked] == [
        "attributes/dedupe",
        "attributes/length",
        "mixed",
        "stat",
        "tokens",
    ]
    assert found.files == sum(len((read_manifest(folder) or pytest.fail()).outputs) for folder, _ in found.checked)


OUTPUTS = [
    "attributes/length/a.jsonl.parquet",
    "attributes/dedupe/b.jsonl.parquet",
    "mixed/documents/a.jsonl",
    "mixed/rows/a.parquet",
    "mixed/decisions/a.parquet",
    "tokens/part-00000.npy",
    "tokens/part-00000.csv.gz",
    "tokens/part-00000.parquet",
    "stat/stat.json",
]


@pytest.mark.parametrize("name", OUTPUTS)
def test_one_flipped_bit_is_found(out: Path, name: str) -> None:
    flip(out / name)
    assert f"{out / name}: its bytes have changed (xxh3 differs from the manifest)" in problems(out)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_deleted_file_is_found(out: Path, name: str) -> None:
    (out / name).unlink()
    assert f"{out / name}: gone" in problems(out)


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_cut_file_is_found(out: Path, name: str) -> None:
    data = (out / name).read_bytes()
    (out / name).write_bytes(data[:-1])
    assert f"{out / name}: {len(data) - 1:,} bytes, {len(data):,} were written" in problems(out)


def rerecord(folder: Path, name: str, **changes: object) -> None:
    """Another entry for a file in its manifest."""
    manifest = read_manifest(str(folder))
    assert manifest is not None
    outputs = [msgspec.structs.replace(out, **changes) if out.path == name else out for out in manifest.outputs]
    write_manifest(str(folder), msgspec.structs.replace(manifest, outputs=outputs))


def test_changed_rows_are_found_even_with_a_checksum_that_fits(out: Path) -> None:
    path = out / "attributes" / "length" / "a.jsonl.parquet"
    pq.write_table(pq.read_table(path).slice(1), path)
    rerecord(path.parent, path.name, bytes=path.stat().st_size, checksum=streams.checksum(str(path)))
    assert problems(out) == [
        f"{path}: 19 rows, its manifest says 20",
        f"{out}/mixed: was made from another attributes/length/a.jsonl than lies beside it",
        f"{out}/stat: was made from another attributes/length/a.jsonl than lies beside it",
    ]


def test_changed_documents_are_found_even_with_a_checksum_that_fits(out: Path) -> None:
    path = out / "mixed" / "documents" / "a.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    rerecord(out / "mixed", "documents/a.jsonl", bytes=path.stat().st_size, checksum=streams.checksum(str(path)))
    assert problems(out) == [
        f"{path}: {len(lines) - 1} rows, its manifest says {len(lines)}",
        f"{out}/tokens: was made from other documents than those in {out}/mixed",
    ]


def test_ids_of_other_documents_are_found(finished: Path) -> None:
    recipe = make_recipe({"documents": [f"{finished}/documents/*.jsonl"], "attributes": f"{finished}/out/attributes"})
    assert verify([], recipe).problems == []


@pytest.mark.parametrize("change", ["id", "fewer", "more"])
def test_documents_that_are_not_those_of_the_attributes_are_found(
    finished: Path, out: Path, tmp_path: Path, change: str
) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    lines = (finished / "documents" / "a.jsonl").read_text().splitlines(keepends=True)
    (path.parent / "b.jsonl").write_bytes((finished / "documents" / "b.jsonl").read_bytes())
    changed = {"id": [lines[0].replace('"a0"', '"z0"'), *lines[1:]], "fewer": lines[:-1], "more": [*lines, lines[0]]}
    path.write_text("".join(changed[change]))
    recipe = make_recipe({"documents": [f"{path.parent}/*.jsonl"], "attributes": str(out / "attributes")})
    found = verify([], recipe).problems
    assert len(found) == 2  # of length and of dedupe
    assert all(problem.startswith(str(path)) for problem in found)


def test_attributes_of_a_document_file_that_is_new_are_missing(finished: Path, out: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished / "documents", tmp_path / "documents")
    (tmp_path / "documents" / "c.jsonl").write_text('{"id": "c0", "text": "new"}\n')
    recipe = make_recipe({"documents": [f"{tmp_path}/documents/*.jsonl"], "attributes": str(out / "attributes")})
    expected = [
        f"{out}/attributes/{name}/c.jsonl.parquet: missing for {tmp_path}/documents/c.jsonl"
        for name in ("dedupe", "length")
    ]
    assert verify([], recipe).problems == expected


def test_a_folder_without_any_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no manifest\.json at or below it"):
        file_sets([str(tmp_path)])


def test_nothing_to_verify_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to verify\n  name a folder"):
        verify([], Recipe())


def test_a_manifest_of_another_program_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "an extension"}')
    (problem,) = verify([str(tmp_path)], Recipe()).problems
    assert problem.startswith(f"{tmp_path}/manifest.json: not a manifest: ")


# --- manifests that do not fit ---------------------------------------------------------------------------------------

SETS = ["attributes/length", "attributes/dedupe", "mixed", "tokens", "stat"]
NOT_AS_WRITTEN = "is not as a stage of this version of dolma wrote it: its own checksum does not fit"
EDITS: dict[str, object] = {
    "format_version": 2,
    "stage": "mix?",
    "name": "other",
    "code_version": "0",
    "fingerprint": "0" * 32,
    "config": {},
    "inputs": [],
    "outputs": [],
    "ledger": {},
    "notes": {"more": 1},
    "checksum": "0" * 32,
}


def edit(folder: Path, **changes: object) -> None:
    path = manifest_of(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_every_key_of_a_manifest_is_edited_here() -> None:
    assert set(EDITS) == set(Manifest.__struct_fields__)


@pytest.mark.parametrize("key", EDITS)
@pytest.mark.parametrize("name", SETS)
def test_an_edited_key_is_found(out: Path, name: str, key: str) -> None:
    edit(out / name, **{key: EDITS[key]})
    assert problems(out) == [f"{manifest_of(out / name)}: {NOT_AS_WRITTEN}"]


def test_a_key_that_is_gone_or_new_is_found(out: Path) -> None:
    path = out / "mixed" / "manifest.json"
    whole = json.loads(path.read_text())
    for damaged in (whole | {"extra": 1}, {key: value for key, value in whole.items() if key != "checksum"}):
        path.write_text(json.dumps(damaged))
        assert problems(out) == [f"{path}: {NOT_AS_WRITTEN}"]


def test_an_input_of_a_manifest_that_was_edited_is_found(out: Path) -> None:
    path = out / "tokens" / "manifest.json"
    whole = json.loads(path.read_text())
    whole["inputs"][0]["size"] += 1
    path.write_text(json.dumps(whole))
    assert problems(out) == [f"{path}: {NOT_AS_WRITTEN}"]


def reseal(folder: Path, **changes: object) -> None:
    """Another manifest with a checksum that fits."""
    manifest = read_manifest(str(folder))
    assert manifest is not None
    manifest_of(folder).unlink()
    write_manifest(str(folder), msgspec.structs.replace(manifest, **changes))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("key", ["format_version", "stage", "name", "fingerprint", "config", "inputs", "outputs"])
def test_keys_that_do_not_fit_are_found_even_with_a_checksum_that_fits(out: Path, name: str, key: str) -> None:
    reseal(out / name, **{key: EDITS[key]})
    assert problems(out)


@pytest.mark.parametrize(
    ("name", "key", "value", "said"),
    [
        ("attributes/length", "version", 9, r"its version is 9, a\.jsonl\.parquet has \d"),
        ("attributes/length", "options", {"a": 1}, r"its options is \{'a': 1\}, a\.jsonl\.parquet has \{\}"),
        ("attributes/length", "outputs", {}, r"its outputs is \{\}, a\.jsonl\.parquet has \{'"),
        ("attributes/dedupe", "by", "paragraphs", "its options is .* has"),
        ("tokens", "tokenizer_sha256", "0", "its tokenizer is '0', tokens.json has"),
        ("tokens", "seed", 7, "its seed is 7, tokens.json has 0"),
        ("tokens", "shuffle", False, "its shuffle is False, tokens.json has True"),
        ("stat", "attributes", [], r"its attributes is \[\], stat.json has"),
    ],
)
def test_a_config_is_compared_with_the_outputs(out: Path, name: str, key: str, value: object, said: str) -> None:
    manifest = read_manifest(str(out / name))
    assert manifest is not None
    config = manifest.config | {key: value}
    made_by = FileSet(folder="", stage=manifest.stage, name=manifest.name, config=config, inputs=manifest.inputs)
    reseal(out / name, config=config, fingerprint=made_by.fingerprint)
    first = problems(out)[0]
    assert re.fullmatch(rf"{re.escape(str(manifest_of(out / name)))}: {said}.*", first)


@pytest.mark.parametrize("name", ["mixed", "tokens"])
def test_a_ledger_is_compared_with_the_outputs(out: Path, name: str) -> None:
    reseal(out / name, ledger={})
    assert re.search("its number of (tokens|documents) in the ledger is 0, ", problems(out)[0])


def test_a_ledger_that_does_not_balance_is_found(out: Path) -> None:
    manifest = read_manifest(str(out / "mixed"))
    assert manifest is not None
    (source,) = manifest.ledger["accounts"]
    manifest.ledger["accounts"][source]["taken"]["documents"] += 1
    reseal(out / "mixed", ledger=manifest.ledger)
    assert "its ledger is none: mix: the ledger does not balance" in problems(out)[0]


# --- what should not be there, and what should -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixed/documents/c.jsonl", "tokens/part-00001.npy", "attributes/length/x.parquet"])
def test_a_file_that_no_run_has_written_is_found(out: Path, name: str) -> None:
    (out / name).write_bytes(b"x")
    assert problems(out) == [f"{out / name}: no run has written it"]


@pytest.mark.parametrize("name", SETS)
def test_a_file_set_of_a_run_that_is_gone_is_found(out: Path, name: str) -> None:
    import shutil

    shutil.rmtree(out / name)
    expected = f"{out / name}: gone, or not finished: the run's recipe.yaml has it"
    assert problems(out) == [expected]
    shutil.rmtree(out / ("stat" if name != "stat" else "tokens"))
    assert expected in problems(out)


def reseal_tokens(folder: Path, **changes: object) -> None:
    edited = json.loads((folder / "tokens.json").read_text()) | changes
    (folder / "tokens.json").write_text(json.dumps(edited))
    reseal_output(folder, "tokens.json")


def reseal_output(folder: Path, name: str) -> None:
    manifest = read_manifest(str(folder))
    assert manifest is not None
    path = str(folder / name)
    now = {"bytes": streams.size(path), "checksum": streams.checksum(path)}
    reseal(folder, outputs=[msgspec.structs.replace(o, **now) if o.path == name else o for o in manifest.outputs])


@pytest.mark.parametrize(("key", "value"), [("vocab_size", 60000), ("pad_id", 0), ("tokenizer", "part-00000.npy")])
def test_what_tokens_json_says_of_the_tokenizer_is_compared_with_it(out: Path, key: str, value: object) -> None:
    reseal_tokens(out / "tokens", **{key: value})
    assert len(problems(out)) == 1


def test_another_format_of_tokens_json_is_found(out: Path) -> None:
    reseal_tokens(out / "tokens", format_version=2)
    assert any("its format has version 2, expected 1" in problem for problem in problems(out))


def test_another_tokenizer_beside_the_shards_is_found(out: Path) -> None:
    path = out / "tokens" / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b"\n")
    reseal_output(out / "tokens", path.name)
    assert "sha256" in problems(out)[0]


def test_shards_whose_documents_begin_and_end_with_one_token_are_fine(finished: Path, tmp_path: Path) -> None:
    frame = ["--bos", "<|endoftext|>", "--eos", "<|endoftext|>", "--tokenizer", TOKENIZER]
    assert run(["tokenize", *frame, "--documents", str(finished / "documents"), "-o", str(tmp_path / "t")]) == 0
    assert problems(tmp_path / "t") == []


def test_documents_of_a_mix_that_went_to_another_of_its_files_are_found(out: Path) -> None:
    manifest = read_manifest(str(out / "mixed"))
    assert manifest is not None
    a, b = (out / "mixed" / "documents" / f"{name}.jsonl" for name in "ab")
    lines = a.read_bytes().splitlines(keepends=True)
    a.write_bytes(b"".join(lines[:-1]))
    b.write_bytes(b.read_bytes() + lines[-1])
    for path, more in ((a, -1), (b, 1)):
        name = f"documents/{path.name}"
        reseal_output(out / "mixed", name)
        resealed = read_manifest(str(out / "mixed"))
        assert resealed is not None
        outputs = [msgspec.structs.replace(o, rows=o.rows + more * (o.path == name)) for o in resealed.outputs]
        reseal(out / "mixed", outputs=outputs)
    assert [f"documents/{name}.jsonl has" in said for name, said in zip("ab", problems(out)[:2], strict=True)] == [
        True
    ] * 2


def test_a_text_that_changed_under_its_id_is_found(finished: Path, out: Path, tmp_path: Path) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    (path.parent / "b.jsonl").write_bytes((finished / "documents" / "b.jsonl").read_bytes())
    recipe = make_recipe({"documents": [f"{path.parent}/*.jsonl"], "attributes": str(out / "attributes")})
    path.write_bytes((finished / "documents" / "a.jsonl").read_bytes())
    assert verify([], recipe).problems == []
    path.write_bytes(path.read_bytes().replace(b"number", b"nombre"))
    made = "was made from: its bytes have changed since"
    expected = [
        f"{path}: is not the file that {out}/attributes/{name}/a.jsonl.parquet {made}" for name in ("dedupe", "length")
    ]
    assert verify([], recipe).problems == expected


@pytest.mark.parametrize("name", ["attributes/length", "mixed", "stat", ""])
def test_documents_that_a_folder_was_not_made_from_are_found(
    finished: Path, out: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    (path.parent / "b.jsonl").write_bytes((finished / "documents" / "b.jsonl").read_bytes())
    path.write_bytes((finished / "documents" / "a.jsonl").read_bytes())
    recipe = make_recipe({"documents": [f"{path.parent}/*.jsonl"]})
    assert verify([str(out / name)], recipe).problems == []
    path.write_bytes(path.read_bytes().replace(b"number", b"nombre"))
    found = verify([str(out / name)], recipe).problems
    assert found and all(problem.startswith(f"{path}: is not ") for problem in found)


def test_documents_outside_of_a_folder_called_so_are_looked_at_too(finished: Path, out: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes((finished / "documents" / "a.jsonl").read_bytes().replace(b'"a0"', b'"z0"'))
    recipe = make_recipe({"documents": [f"{tmp_path}/a.jsonl"]})
    (problem,) = verify([str(out / "attributes" / "length")], recipe).problems
    assert problem.startswith(f"{tmp_path}/a.jsonl:1: id 'z0', but its row in")


def test_two_files_with_the_same_ids_that_changed_places_are_found(tmp_path: Path) -> None:
    a, b = (tmp_path / "documents" / f"{name}.jsonl" for name in "ab")
    a.parent.mkdir()
    a.write_text('{"id": "1", "text": "short"}\n')
    b.write_text('{"id": "1", "text": "a longer one"}\n')
    assert run(["tag", "-t", "length", "--documents", str(a.parent)]) == 0
    recipe = make_recipe({"documents": [str(a.parent)]})
    assert verify([], recipe).problems == []
    a.rename(tmp_path / "other")
    b.rename(a)
    (tmp_path / "other").rename(b)
    made = "was made from: its bytes have changed since"
    assert verify([], recipe).problems == [
        f"{path}: is not the file that {tmp_path}/attributes/length/{path.name}.parquet {made}" for path in (a, b)
    ]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_says_ok(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(out)]) == 0
    assert "ok: " in capsys.readouterr().out


def test_the_command_names_every_problem_and_ends_with_status_3(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(out / OUTPUTS[0])
    (out / OUTPUTS[1]).unlink()
    assert run(["verify", str(out)]) == 3
    err = capsys.readouterr().err
    assert f"problem: {out / OUTPUTS[0]}: its bytes have changed" in err
    assert f"problem: {out / OUTPUTS[1]}: gone" in err
    assert "2 problems in" in err


def test_the_command_takes_a_recipe(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "-c", str(finished / "recipe.yaml")]) == 0
    assert "in 5 file sets" in capsys.readouterr().out


def test_verifying_writes_nothing(out: Path) -> None:
    def state() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}

    before = state()
    problems(out)
    assert state() == before


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_the_next_stage_stops_at_a_damaged_input_despite_its_done_mark(
    out: Path, tmp_path: Path, damage: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    damage(out / "mixed" / "documents" / "a.jsonl")
    arguments = ["tokenize", "--tokenizer", TOKENIZER, "--output", str(tmp_path / "tokens")]
    status = run([*arguments, "--documents", str(out / "mixed" / "documents" / "*.jsonl")])
    err = capsys.readouterr().err
    assert status == 3
    assert str(out / "mixed" / "documents" / "a.jsonl") in err


def another_run(finished: Path, tmp_path: Path, **changes: object) -> Path:
    recipe = msgspec.yaml.decode((finished / "recipe.yaml").read_bytes()) | changes | {"output": f"{tmp_path}/other"}
    (tmp_path / "other.yaml").write_bytes(msgspec.yaml.encode(recipe))
    assert run(["run", str(tmp_path / "other.yaml")]) == 0
    return tmp_path / "other"


def replace_set(out: Path, other: Path, name: str) -> None:
    import shutil

    shutil.rmtree(out / name)
    shutil.copytree(other / name, out / name)


def test_a_set_of_a_run_with_other_settings_is_found(finished: Path, out: Path, tmp_path: Path) -> None:
    other = another_run(finished, tmp_path, mix={"keep": ["length.words > 3"], "format": ".jsonl"})
    replace_set(out, other, "mixed")
    found = problems(out)
    assert f"{out}/mixed: is not what the run's recipe.yaml makes: keep" in "\n".join(found)
    assert f"{out}/tokens: was made from other documents than those in {out}/mixed" in found


def test_a_set_of_a_run_over_other_documents_is_found(finished: Path, out: Path, tmp_path: Path) -> None:
    other = another_run(finished, tmp_path, documents=[f"{finished}/documents/a.jsonl"])
    replace_set(out, other, "attributes/length")
    found = problems(out)
    assert f"{out}/attributes/dedupe: was made from other documents than {out}/attributes/length" in found


@pytest.mark.parametrize("name", ["notes.jsonl", "attributes/length.parquet", "more/mixed/documents/a.jsonl"])
def test_a_file_beside_the_sets_of_a_run_is_found(out: Path, name: str) -> None:
    (out / name).parent.mkdir(parents=True, exist_ok=True)
    (out / name).write_bytes(b"x")
    assert problems(out) == [f"{out}/{name}: no run has written it"]


@pytest.mark.parametrize("target", ["/dev/zero", "nothing"])
def test_a_recipe_that_is_no_file_is_found(out: Path, target: str) -> None:
    (out / "recipe.yaml").unlink()
    (out / "recipe.yaml").symlink_to(target)
    assert problems(out) == [f"{out}/recipe.yaml: is no file, but a device, a folder or a link to nothing"]


def test_documents_of_a_mix_in_another_order_are_found_by_the_tokens_made_of_them(out: Path) -> None:
    path = out / "mixed" / "documents" / "a.jsonl"
    path.write_bytes(b"".join(reversed(path.read_bytes().splitlines(keepends=True))))
    reseal_output(out / "mixed", "documents/a.jsonl")
    assert problems(out) == [f"{out}/tokens: was made from other documents than those in {out}/mixed"]


def test_a_set_that_was_copied_under_a_second_name_is_found(out: Path) -> None:
    import shutil

    shutil.copytree(out / "attributes" / "length", out / "attributes" / "size")
    assert problems(out) == [
        f"{out}/attributes/size/_manifest.json: it is of the attributes 'length', which its folder "
        "is not called: a copy, or renamed"
    ]


def test_a_recipe_that_is_gone_is_found(out: Path) -> None:
    (out / "recipe.yaml").unlink()
    expected = f"{out}/recipe.yaml: gone: `dolma run` leaves the recipe there by which it made the file sets below"
    assert problems(out) == [expected]


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_was_copied_out_of_its_run_needs_no_recipe(out: Path, tmp_path: Path, name: str) -> None:
    import shutil

    shutil.copytree(out / name, tmp_path / "elsewhere" / Path(name).name)
    assert problems(tmp_path / "elsewhere") == []


def test_what_single_commands_have_made_side_by_side_is_fine(finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "by-hand"
    documents = ["--documents", str(finished / "documents"), "--attributes", str(home / "attributes")]
    assert run(["tag", "-t", "length", *documents]) == 0
    assert run(["mix", "--keep", "length.words > 6", *documents, "-o", str(home / "mixed")]) == 0
    assert problems(home) == []


@pytest.mark.parametrize("name", ["mixed/manifest.json", "attributes/length/_manifest.json"])
def test_a_lost_manifest_of_a_single_command_is_found(finished: Path, tmp_path: Path, name: str) -> None:
    home = tmp_path / "by-hand"
    documents = ["--documents", str(finished / "documents"), "--attributes", str(home / "attributes")]
    assert run(["tag", "-t", "length", *documents]) == 0
    assert run(["mix", "--keep", "length.words > 6", *documents, "-o", str(home / "mixed")]) == 0
    (home / name).unlink()
    assert problems(home) == [
        f"{(home / name).parent}: has no manifest: it was lost, or its stage has not finished; run that again"
    ]


def test_attributes_that_do_not_lie_with_the_mix_made_from_them_are_noted(finished: Path, tmp_path: Path) -> None:
    home = tmp_path / "by-hand"
    documents = ["--documents", str(finished / "documents"), "--attributes", str(home / "attributes")]
    assert run(["tag", "-t", "length", *documents]) == 0
    assert run(["mix", "--keep", "length.words > 6", *documents, "-o", str(home / "mixed")]) == 0
    assert verify([str(home)], Recipe()).notes == []
    (home / "attributes" / "length").rename(tmp_path / "length")
    found = verify([str(home / "mixed")], Recipe())
    assert found.problems == []
    assert found.notes == [
        f"{home / 'mixed'}: not compared with attributes/length: what it was made from does not lie in these folders"
    ]


OTHERS = [
    ("tag", "attributes/length", {"tag": {"taggers": ["length"], "max_document_bytes": 10_000}}, "its max_document_b"),
    ("tag", "attributes/pii", {"tag": {"taggers": [{"use": "pii", "options": {"kinds": ["email"]}}]}}, "its options"),
    ("dedupe", "attributes/dedupe", {"dedupe": {"by": "text", "min_length": 3}}, "min_length"),
    ("stat", "stat", {"stat": {"bins": 5}}, "its bins is 20, recipe.yaml has 5"),
]


@pytest.mark.parametrize(("stage", "name", "changes", "said"), OTHERS, ids=[stage for stage, *_ in OTHERS])
def test_other_settings_in_the_recipe_of_a_run_are_found(
    finished: Path, tmp_path: Path, stage: str, name: str, changes: dict[str, object], said: str
) -> None:
    home = another_run(finished, tmp_path, tag={"taggers": ["length", "pii"]})
    recipe = msgspec.yaml.decode((home / "recipe.yaml").read_bytes())
    (home / "recipe.yaml").write_bytes(msgspec.yaml.encode(recipe | changes))
    (problem,) = problems(home)
    assert problem.startswith(f"{home}/{name}: is not what the run's recipe.yaml makes: ")
    assert said in problem


def test_a_given_recipe_is_compared_with_the_run_in_its_output(finished: Path, tmp_path: Path) -> None:
    home = another_run(finished, tmp_path)
    given = msgspec.yaml.decode((tmp_path / "other.yaml").read_bytes())
    assert verify([], make_recipe(given)).problems == []
    found = verify([], make_recipe(given | {"mix": {"keep": ["length.words > 3"], "format": ".jsonl"}})).problems
    assert [problem.partition(":")[0] for problem in found] == [f"{home}/mixed"]


def test_statistics_of_another_run_are_found(finished: Path, out: Path, tmp_path: Path) -> None:
    replace_set(out, another_run(finished, tmp_path, documents=[f"{finished}/documents/a.jsonl"]), "stat")
    found = problems(out)
    assert any(problem.startswith(f"{out}/stat: was made from ") for problem in found)


def test_statistics_of_other_attributes_are_found(finished: Path, out: Path, tmp_path: Path) -> None:
    other = another_run(finished, tmp_path, dedupe={"by": "text", "min_words": 9})
    replace_set(out, other, "stat")
    assert problems(out) == [
        f"{out}/stat: was made from another attributes/dedupe/{name}.jsonl than lies beside it" for name in "ab"
    ]


# --- made again ------------------------------------------------------------------------------------------------------


def deep_problems(out: Path) -> list[str]:
    return verify([str(out)], Recipe(), deep=True).problems


def test_what_is_made_again_is_what_is_there(out: Path) -> None:
    assert deep_problems(out) == []


def sealed_anew(out: Path, name: str) -> None:
    folder = next(folder for folder in (out / name).parents if any(folder.glob("*manifest.json")))
    reseal_output(folder, str((out / name).relative_to(folder)))


def test_a_value_that_was_changed_and_sealed_again_is_found(out: Path) -> None:
    path = out / "attributes/length/a.jsonl.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("lines")
    values = [7, *table.column("lines").to_pylist()[1:]]
    pq.write_table(table.set_column(column, table.schema.field("lines"), [values]), path)
    sealed_anew(out, "attributes/length/a.jsonl.parquet")
    assert f"{path}: is not what is made again" in deep_problems(out)


def test_a_text_of_a_mix_that_was_changed_and_sealed_again_is_found(out: Path) -> None:
    path = out / "mixed/documents/a.jsonl"
    path.write_bytes(path.read_bytes().replace(b"number", b"nombre", 1))
    sealed_anew(out, "mixed/documents/a.jsonl")
    assert f"{path}: is not what is made again" in deep_problems(out)


def test_a_token_that_was_changed_and_sealed_again_is_found(out: Path) -> None:
    path = out / "tokens/part-00000.npy"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    sealed_anew(out, "tokens/part-00000.npy")
    edited = json.loads((out / "tokens/tokens.json").read_text())
    edited["shards"][0]["xxh3"] = streams.checksum(str(path))
    reseal_tokens(out / "tokens", **edited)
    assert f"{path}: is not what is made again" in deep_problems(out)


def test_a_number_of_statistics_that_was_changed_and_sealed_again_is_found(out: Path) -> None:
    path = out / "stat/stat.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"sources": {}}))
    sealed_anew(out, "stat/stat.json")
    assert f"{path}: is not what is made again" in deep_problems(out)


def test_a_run_over_other_documents_that_was_copied_in_whole_is_found(finished: Path, tmp_path: Path) -> None:
    other = another_run(finished, tmp_path, documents=[f"{finished}/documents/a.jsonl"])
    recipe = msgspec.yaml.decode((other / "recipe.yaml").read_bytes())
    (other / "recipe.yaml").write_bytes(msgspec.yaml.encode(recipe | {"documents": [f"{finished}/documents/*.jsonl"]}))
    assert any("its inputs is not what it is when the set is made again" in problem for problem in deep_problems(other))


def test_documents_that_are_gone_are_said(finished: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(finished / "documents", tmp_path / "documents")
    other = another_run(finished, tmp_path, documents=[f"{tmp_path}/documents/*.jsonl"])
    shutil.rmtree(tmp_path / "documents")
    found = deep_problems(other)
    assert f"{other}/attributes: cannot be made again: " in found[0]


def test_code_that_a_recipe_names_does_not_run(finished: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (tmp_path / "mine.py").write_text(
        "import dolma\n\n\n@dolma.document_tagger(name='mine', n=dolma.DocInt('one'))\n"
        "def mine(text):\n    return {'n': 1}\n"
    )
    home = another_run(finished, tmp_path, tag={"taggers": ["length", f"{tmp_path}/mine.py:mine"]})
    (tmp_path / "mine.py").write_text(f"open({str(marker)!r}, 'w')\n")
    deep_problems(home)
    assert not marker.exists()


def test_the_command_makes_things_again(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "--deep", str(out)]) == 0


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .*NOPE"):
        file_sets([str(tmp_path / "NOPE")])


def test_documents_are_read_as_they_were_when_they_were_measured(tmp_path: Path) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    texts = ["one", "x" * 300, "two"]
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    options = ["--max-line-bytes", "200", "--on-error", "skip", "--max-errors", "1"]
    assert run(["tag", "-t", "length", "--documents", str(path), *options]) == 0
    assert verify([], make_recipe({"documents": [str(path)]})).problems == []
    assert run(["show", "2", "--documents", str(path)]) == 0
