"""Training: same bytes, whole outputs, errors. Run: pytest tests/classifier/test_training.py"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from dolma.classifier import training
from dolma.classifier.fitting import fit
from dolma.classifier.labelled import by_source
from dolma.classifier.model_card import Settings, read_card
from dolma.classifier.training import check_labels, check_settings, train
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.errors import ConfigError, OutputExistsError, WriteError
from dolma.models.fasttext import read_model


@pytest.fixture
def output(tmp_path) -> str:
    return str(tmp_path / "out" / "model.bin")


def changed(settings: Settings, **fields: object) -> Settings:
    return msgspec.structs.replace(settings, **fields)


def files(path: str) -> dict[str, bytes]:
    folder = Path(path).parent
    return {file.name: file.read_bytes() for file in folder.iterdir()} if folder.exists() else {}


# --- what comes out --------------------------------------------------------------------------------------------------


def test_the_model_tells_the_classes_apart(good_and_bad, tiny, output):
    report = train(good_and_bad, tiny, output=output)
    assert report == read_card(output)
    assert sorted(read_model(output).labels) == ["bad", "good"]
    assert report.held_out.accuracy == 1.0
    assert [row.auc for row in report.held_out.labels] == [1.0, 1.0]


def test_the_same_documents_give_the_same_bytes(good_and_bad, tiny, output, trained):
    train(good_and_bad, tiny, output=output)
    assert Path(output).read_bytes() == trained.read_bytes()
    assert Path(f"{output}.json").read_bytes() == Path(f"{trained}.json").read_bytes()


def test_names_and_order_of_files_and_ids_do_not_matter(tmp_path, tiny):
    models = []
    for turn, names in enumerate(("abc", "cab")):
        folder = tmp_path / str(turn)
        folder.mkdir()
        for part, name in enumerate(names):
            lines = [f'{{"id": "{name}{i}", "text": "good words {part} {i}"}}\n' for i in range(8)]
            (folder / f"{name}.jsonl").write_text("".join(lines))
        (folder / "z.jsonl").write_text("".join(f'{{"text": "bad words {i}"}}\n' for i in range(24)))
        good = tuple(str(folder / f"{name}.jsonl") for name in names)
        datasets = {"good": Dataset(documents=good), "bad": Dataset(documents=(str(folder / "z.jsonl"),))}
        labelled = by_source(datasets, reading=Reading())
        train(labelled, tiny, output=str(folder / "model.bin"))
        models.append([(folder / name).read_bytes() for name in ("model.bin", "model.bin.json")])
    assert models[0] == models[1]


def test_settings_are_told_to_the_library(good_and_bad, output, monkeypatch):
    told: dict[str, object] = {}

    def stopped(options: dict[str, object], *, model: str) -> str:
        told.update(options)
        return "stopped"

    monkeypatch.setattr(training, "fit", stopped)
    settings = Settings(seed=3, ngrams=4, buckets=5, dim=6, epochs=7, learning_rate=0.8, min_count=9)
    with pytest.raises(ConfigError, match="stopped"):
        train(good_and_bad, changed(settings, min_characters=10, max_characters=11), output=output)
    assert told.pop("input")
    assert told == {
        "seed": 3, "wordNgrams": 4, "bucket": 5, "dim": 6, "epoch": 7, "lr": 0.8, "minCount": 9, "minn": 10, "maxn": 11,
        "thread": 1, "verbose": 0,
    }  # fmt: skip


def test_settings_reach_the_model(good_and_bad, tiny, output):
    train(good_and_bad, changed(tiny, ngrams=3, min_characters=2, max_characters=4, buckets=77), output=output)
    model = read_model(output)
    assert (model.word_ngrams, model.min_chars, model.max_chars, model.bucket, model.dim) == (3, 2, 4, 77, 4)


def test_rare_words_have_no_row(good_and_bad, tiny, output):
    train(good_and_bad, changed(tiny, min_count=5), output=output)
    model = read_model(output)
    names = {model.name(i) for i in range(model.n_words)}
    assert b"careful" in names
    assert b"39" not in names


def test_lower_case(of_texts, tiny, output):
    report = train(
        of_texts({"good": [f"GOOD {i}" for i in range(30)], "bad": [f"Bad {i}" for i in range(30)]}),
        changed(tiny, lower=True),
        output=output,
    )
    names = {read_model(output).name(i) for i in range(read_model(output).n_words)}
    assert {b"good", b"bad"} <= names
    assert report.settings.lower


def test_three_classes(of_texts, tiny, output):
    texts = {name: [f"{name} {name} {i}" for i in range(30)] for name in ("one", "two", "three")}
    report = train(of_texts(texts), tiny, output=output)
    assert [row.label for row in report.held_out.labels] == ["one", "two", "three"]
    assert report.held_out.accuracy == 1.0


# --- all or nothing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.bin", "model.bin.json"])
def test_what_is_there_is_kept(good_and_bad, tiny, output, name):
    there = Path(output).with_name(name)
    there.parent.mkdir()
    there.write_text("mine")
    with pytest.raises(
        OutputExistsError, match=f"{name} is there already, expected a new name\n  give another --output"
    ):
        train(good_and_bad, tiny, output=output)
    assert files(output) == {name: b"mine"}


def test_what_is_there_is_replaced_if_asked(good_and_bad, tiny, output, trained):
    train(good_and_bad, changed(tiny, seed=1), output=output)
    assert Path(output).read_bytes() != trained.read_bytes()
    train(good_and_bad, tiny, output=output, overwrite=True)
    assert files(output) == {"model.bin": trained.read_bytes(), "model.bin.json": Path(f"{trained}.json").read_bytes()}


@pytest.mark.parametrize("at", ["fit", "judge"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_end_on_the_way_leaves_what_was_there(good_and_bad, tiny, output, monkeypatch, tmp_path, at, error):
    train(good_and_bad, changed(tiny, seed=1), output=output)
    before = files(output)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def stopped(*_: object, model: str = "", **__: object) -> None:
        if model:
            Path(model).write_bytes(b"half")
        raise error

    monkeypatch.setattr(training, at, stopped)
    with pytest.raises(error):
        train(good_and_bad, tiny, output=output, overwrite=True)
    assert files(output) == before
    assert list(scratch.iterdir()) == []


# --- the process that trains -----------------------------------------------------------------------------------------


def test_the_child_says_what_went_wrong(tmp_path):
    assert "none cannot be opened" in fit({"input": str(tmp_path / "none")}, model=str(tmp_path / "a.bin"))


def test_a_child_that_is_killed_has_failed(monkeypatch, tmp_path):
    program = tmp_path / "fitting.py"
    program.write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setattr("dolma.classifier.fitting.__file__", str(program))
    assert fit({}, model="") == "its process ended with status -9"


def test_the_child_ends_with_its_parent(monkeypatch, tmp_path):
    """It is told so by the end of its standard input, whatever it is doing."""
    from dolma.classifier import fitting

    (tmp_path / "fasttext.py").write_text(
        "import time\ndef train_supervised():\n    print('begun', flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, fitting.__file__, '{"options": {}, "model": ""}']
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"},
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        try:
            assert child.stdout.readline() == "begun\n"
            child.stdin.close()
            assert child.wait(timeout=60) == 1
        finally:
            child.kill()


# --- errors ----------------------------------------------------------------------------------------------------------


def test_words_that_are_all_too_rare(good_and_bad, tiny, output):
    with pytest.raises(
        ConfigError, match="no word occurs 1,000 times, expected some that do\n  give a lower --min-count"
    ):
        train(good_and_bad, changed(tiny, min_count=1000), output=output)
    assert files(output) == {}


def test_weights_that_are_no_numbers(good_and_bad, tiny, output):
    with pytest.raises(ConfigError, match=r"Encountered NaN.*\n  a lower --learning-rate"):
        train(good_and_bad, changed(tiny, learning_rate=1e30), output=output)
    assert files(output) == {}


def test_a_model_that_the_disk_has_no_room_for(good_and_bad, tiny, output, monkeypatch):
    def cut_short(options: dict[str, object], *, model: str) -> str:
        said = fit(options, model=model)
        os.truncate(model, 200)  # as fastText does on a full disk, without a word
        return said

    monkeypatch.setattr(training, "fit", cut_short)
    with pytest.raises(WriteError, match=r"model\.bin: is not whole after fastText wrote it: its disk may be full\n"):
        train(good_and_bad, tiny, output=output)
    assert files(output) == {}


def test_lines_that_the_disk_has_no_room_for(good_and_bad, tiny, output):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(WriteError, match=r"dolma-classifier-.*: cannot be written: File too large\n  make room"):
            train(good_and_bad, tiny, output=output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files(output) == {}


def test_a_side_without_documents(of_texts, tiny, output):
    few = of_texts({"good": ["good"], "bad": ["bad"]})
    with pytest.raises(
        ConfigError, match=r"has no document (to train on|held out to judge by), expected one at least\n"
    ):
        train(few, tiny, output=output)


def test_a_name_without_its_suffix(good_and_bad, tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"expected a name that ends in \.bin\n  give --output MODEL\.bin"):
        train(good_and_bad, tiny, output=str(tmp_path / "model"))


@pytest.mark.parametrize("held_out", [0, 1, -0.1, float("nan")])
def test_a_share_out_of_range(tiny, held_out):
    with pytest.raises(ConfigError, match="expected more than 0 and less than 1\n"):
        check_settings(changed(tiny, held_out=held_out))


def test_characters_the_wrong_way_round(tiny):
    with pytest.raises(ConfigError, match="parts of words of 3 to 0 characters, expected the shortest first\n"):
        check_settings(changed(tiny, min_characters=3))


def test_settings_and_classes_are_looked_at_before_documents(tiny, output):
    unread = SimpleNamespace(labels=("good", "bad"))  # cannot be gone through
    with pytest.raises(ConfigError, match="held out is 2"):
        train(unread, changed(tiny, held_out=2), output=output)


@pytest.mark.parametrize(("labels", "there"), [([], "none"), (["good"], "1")])
def test_one_class_is_too_few(labels, there):
    with pytest.raises(ConfigError, match=f"expected two or more, and there is {there}\n  give `--class good"):
        check_labels(labels)


@pytest.mark.parametrize("label", ["two words", "é", "a,b", "", "x\n"])
def test_what_is_no_name(label):
    with pytest.raises(ConfigError, match=r"a class cannot be called .*, expected letters, digits"):
        check_labels(["good", label])


@pytest.mark.parametrize("labels", [["a-b", "a.b"], ["good", "top"], ["1", "label_1"]])
def test_classes_that_would_be_one_output_of_the_tagger(labels):
    with pytest.raises(ConfigError, match="of the tagger, which is another's, expected one of its own\n  rename it"):
        check_labels(labels)
