"""The stages as functions of `import dolma`."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

import dolma
from dolma.api.stages import function_of_stage

SAMPLE = "data/sample/*/documents/*"


@pytest.fixture
def documents(tmp_path):
    (tmp_path / "documents").mkdir()
    rows = [{"id": str(i), "text": "word " * (i + 1)} for i in range(4)] + [{"id": "copy", "text": "word word "}]
    (tmp_path / "documents" / "a.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(tmp_path / "documents" / "*")


def test_from_text_to_tokens(documents, tmp_path):
    attributes, mixed, tokens = (str(tmp_path / name) for name in ("measured", "mixed", "tokens"))
    assert dolma.tag(documents, taggers=["length"], attributes=attributes, workers=1).stage == "tag"
    assert dolma.dedupe(documents, attributes=attributes, name="exact").stage == "dedupe"
    report = dolma.mix(
        documents, attributes=attributes, output=mixed, keep=["length.words > 1"], drop=["exact.duplicate"]
    )
    assert report.ledger.total().out.documents == 3
    report = dolma.tokenize(f"{mixed}/documents/*", tokenizer="data/sample/tokenizer.json", output=tokens)
    assert report.ledger.total().out.documents == 3
    assert dolma.stat(f"{mixed}/documents/*").stage == "stat"


def test_the_account_of_a_report_is_a_table(documents, tmp_path):
    rows = dolma.tag(documents, taggers=["length"], attributes=str(tmp_path / "m")).to_pandas()
    assert rows["documents"].sum() == rows["kept_documents"].sum() == 5


def test_finished_outputs_are_verified(documents, tmp_path):
    folder = str(tmp_path / "m")
    dolma.tag(documents, taggers=["length"], attributes=folder)
    assert dolma.verify(folder).problems == []
    (path,) = (tmp_path / "m").rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    assert len(dolma.verify(folder).problems) == 1


def test_what_was_verified_is_plain_values(documents, tmp_path):
    folder = str(tmp_path / "m")
    dolma.tag(documents, taggers=["length"], attributes=folder)
    found = dolma.verify(folder).to_dict()
    assert found["problems"] == []
    assert json.loads(json.dumps(found)) == {
        "checked": [[f"{folder}/length", 1]],
        "problems": [],
        "notes": [],
    }


def test_fields_are_named_as_they_are_in_the_files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"url": "u", "content": "one two"}\n')
    dolma.tag(str(tmp_path / "*.jsonl"), text="content", id="url", taggers=["length"], attributes=str(tmp_path / "m"))
    (path,) = (tmp_path / "m").rglob("*.parquet")
    assert pq.read_table(path).select(["id", "words"]).to_pylist() == [{"id": "u", "words": 2}]


def test_a_recipe_is_a_file_or_a_mapping_with_arguments_over_it(documents, tmp_path):
    recipe = {"documents": [documents], "attributes": str(tmp_path / "m"), "tag": {"taggers": ["length"]}}
    assert dolma.tag(recipe=recipe).ledger.total().taken.documents == 5
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    assert dolma.tag(recipe=str(tmp_path / "r.yaml")).complete_before
    assert not dolma.tag(recipe=str(tmp_path / "r.yaml"), attributes=str(tmp_path / "n")).complete_before


def test_sets_are_names_and_attributes_is_the_folder(documents, tmp_path):
    folder = str(tmp_path / "measured")
    dolma.tag(documents, taggers=["length", "script"], attributes=folder)
    with pytest.raises(dolma.ConfigError, match="no attribute 'length"):
        dolma.mix(documents, attributes=folder, sets=["script"], keep=["length.words > 1"], output=str(tmp_path / "o"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tagers": ["length"]}, r"dolma\.tag has no argument 'tagers'; did you mean 'taggers'\?"),
        ({"taggers": ["lenght"]}, "no tagger 'lenght'; did you mean 'length'"),
        ({"taggers": ["length"], "on_error": "skp"}, r"\$\.on_error: no value 'skp' here; did you mean 'skip'\?"),
        ({"taggers": ["length"], "workers": 0}, "`workers` is 0, expected at least 1"),
        ({"texts": ["a"], "attributes": "x"}, "`texts` was given with `documents` or `attributes`"),
        ({}, "taggers"),
    ],
)
def test_a_wrong_argument_is_named(documents, arguments, said):
    given = {} if "texts" in arguments else {"documents": documents}
    with pytest.raises(dolma.ConfigError, match=said):
        dolma.tag(**given, **arguments)


def test_a_signature_has_the_keys_of_a_recipe_and_their_defaults():
    parameters = inspect.signature(dolma.tokenize).parameters
    assert list(parameters)[:3] == ["documents", "tokenizer", "output"]
    assert parameters["max_tokens_per_shard"].default == 2**28
    assert parameters["text"].default == "text"
    assert "sets" in inspect.signature(dolma.mix).parameters


def test_what_was_skipped_beyond_the_limit_is_an_error(documents, tmp_path):
    with open(tmp_path / "documents" / "a.jsonl", "a") as file:
        file.write("damaged\n")
    arguments = {"taggers": ["length"], "attributes": str(tmp_path / "m"), "on_error": "skip"}
    with pytest.raises(dolma.DolmaError, match="1 records were skipped; at most 0 may be"):
        dolma.tag(documents, **arguments)
    assert dolma.tag(documents, max_errors=1, **arguments).ledger.total().failed == 1


def test_a_recipe_runs_and_runs_again_only_where_it_changed(documents, tmp_path):
    recipe = {
        "documents": [documents],
        "output": str(tmp_path / "run"),
        "workers": 1,
        "tag": {"taggers": ["length"]},
        "mix": {"keep": ["length.words > 1"]},
    }
    first = dolma.run(recipe)
    assert [report.complete_before for reports in first.values() for report in reports] == [False, False]
    assert first["mix"][0].ledger.total().out.documents == 4
    again = dolma.run(recipe)
    assert [report.complete_before for reports in again.values() for report in reports] == [True, True]
    other = recipe | {"mix": {"keep": ["length.words > 2"]}}
    with pytest.raises(dolma.ConfigError, match="finished outputs would be replaced"):
        dolma.run(other)
    assert dolma.run(other, overwrite=True)["mix"][0].ledger.total().out.documents == 2
    assert list(dolma.run(other, only=["tag"])) == ["tag"]
    assert not dolma.verify(str(tmp_path / "run")).problems


def test_a_recipe_without_an_output_folder_is_refused(documents):
    with pytest.raises(dolma.ConfigError, match="the recipe names no output folder"):
        dolma.run({"documents": [documents], "tag": {"taggers": ["length"]}})


def test_notes_go_to_the_log(documents, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="dolma"):
        dolma.tokenize(documents, tokenizer="data/sample/tokenizer.json", output=str(tmp_path / "t"))
    assert "each document ends with" in caplog.text


def test_every_submodule_can_be_imported_and_every_public_name_is_still_there():
    code = (
        "import importlib, pkgutil, dolma\n"
        "for module in pkgutil.walk_packages(dolma.__path__, 'dolma.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        try:\n"
        "            importlib.import_module(module.name)\n"
        "        except ImportError as error:\n"
        "            assert not str(error.name).startswith('dolma'), error\n"
        "import types\n"
        "print([name for name in dolma.PUBLIC if isinstance(getattr(dolma, name), types.ModuleType)])\n"
    )
    found = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=600)
    assert found.stdout.splitlines()[-1:] == ["[]"], found.stderr


def test_public_names_are_listed_once():
    assert sorted(dolma.PUBLIC) == sorted(dolma.__all__)
    assert set(dolma.__all__) <= set(dir(dolma))
    with pytest.raises(AttributeError, match="module 'dolma' has no attribute 'tagg'"):
        _ = dolma.tagg


def script(tmp_path: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of one call, whose documents are worth several workers."""
    path = tmp_path / "program.py"
    path.write_text(body)
    return subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=600)


@pytest.mark.e2e
def test_a_program_without_a_main_guard_works_with_one_worker_and_else_says_what_to_write(tmp_path):
    call = (
        "import dolma\nprint(dolma.tag('data/sample/*/documents/*', taggers=['length'], attributes={!r}, workers={}))\n"
    )
    assert script(tmp_path, call.format(str(tmp_path / "a"), 1)).returncode == 0
    refused = script(tmp_path, call.format(str(tmp_path / "b"), 2))
    assert refused.returncode == 1
    assert "put the call under `if __name__ == '__main__':`, or pass `workers=1`" in refused.stderr


@pytest.mark.e2e
@pytest.mark.parametrize("arguments", [["-"], ["-i"], ["-c"]])
def test_a_program_that_is_no_file_may_have_workers(tmp_path, arguments):
    """As in a notebook, and with `python - <<EOF`."""
    call = f"import dolma; dolma.tag({SAMPLE!r}, taggers=['length'], attributes={str(tmp_path / 'a')!r}, workers=2)\n"
    typed, given = ("", [call]) if arguments == ["-c"] else (call, [])
    done = subprocess.run(
        [sys.executable, *arguments, *given], input=typed, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "a").rglob("*.parquet"))) == 6


@pytest.mark.e2e
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_start_method_of_the_program_does_not_matter(tmp_path, method):
    body = (
        "import multiprocessing, dolma\n"
        "if __name__ == '__main__':\n"
        f"    multiprocessing.set_start_method({method!r})\n"
        f"    dolma.tag({SAMPLE!r}, taggers=['length'], attributes={str(tmp_path / 'a')!r}, workers=2)\n"
    )
    done = script(tmp_path, body)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "a").rglob("*.parquet"))) == 6


@pytest.mark.e2e
def test_a_start_method_that_is_set_before_the_main_guard_is_an_error_that_says_what_to_write(tmp_path):
    body = (
        "import multiprocessing, dolma\n"
        "multiprocessing.set_start_method('fork')\n"
        "if __name__ == '__main__':\n"
        f"    dolma.tag({SAMPLE!r}, taggers=['length'], attributes={str(tmp_path / 'a')!r}, workers=2)\n"
    )
    refused = script(tmp_path, body)
    assert refused.returncode == 1
    assert "such as `set_start_method`, under `if __name__ == '__main__':`, or pass `workers=1`" in refused.stderr


@pytest.mark.e2e
def test_ctrl_c_leaves_no_process_behind(tmp_path):
    """As in a notebook: the program goes on after the interrupt."""
    (tmp_path / "slow.py").write_text(
        "import time, pathlib, dolma\n"
        "@dolma.document_tagger(name='slow', n=dolma.DocInt('nothing'))\n"
        "def slow(text):\n"
        f"    pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "    time.sleep(60)\n"
        "    return {'n': 0}\n"
    )
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, dolma\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        f"        dolma.tag('data/sample/*/documents/*', taggers=[{str(tmp_path / 'slow.py')!r}], "
        f"attributes={str(tmp_path / 'a')!r}, workers=2)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted', flush=True)\n"
        "        sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(program)], text=True, start_new_session=True, **pipes) as running:
        try:
            give_up = time.monotonic() + 300
            while not (tmp_path / "begun").exists() and time.monotonic() < give_up:
                time.sleep(0.05)
            os.killpg(running.pid, signal.SIGINT)
            assert running.stdout is not None
            assert running.stdout.readline() == "interrupted\n"
            left = psutil.Process(running.pid).children(recursive=True)
            assert [one.name() for one in left if "resource_tracker" not in " ".join(one.cmdline())] == []
        finally:
            running.kill()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: dolma.tag(documents=5, taggers=["length"]),
            r"`documents` is 5, expected a text or a path.*\n  such as",
        ),
        (lambda: dolma.stat([5]), r"`documents` is \[5\], expected a text or a path"),
        (lambda: dolma.Corpus(5), r"`documents` is 5, expected a text or a path.*\n  such as documents="),
        (lambda: dolma.tag(texts="one", taggers=["length"]), r"`texts` is 'one', expected several texts\n  such as"),
        (lambda: dolma.tag(texts=5, taggers=["length"]), r"`texts` is 5, expected several texts"),
    ],
)
def test_an_argument_of_another_type_is_refused_with_what_to_write(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_a_path_and_a_name_alone_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    path.write_text('{"id": "a", "text": "two words"}\n')
    assert dolma.tag(path, taggers="length", attributes=tmp_path / "out").ledger.total().out.documents == 1
    assert dolma.Corpus(path, attributes=tmp_path / "out").sets == ["length"]
    assert dolma.tag(texts=["a b"], taggers="length")["length.words"].to_pylist() == [2]


def test_a_stage_without_a_function_of_its_own_has_one(tmp_path: Path) -> None:
    path = tmp_path / "documents" / "a.jsonl"
    path.parent.mkdir()
    path.write_text('{"id": "a", "text": "two words"}\n')
    count = function_of_stage("stat")
    assert count(path).details == dolma.stat(path).details
    assert inspect.signature(count).parameters["bins"].default == 20
