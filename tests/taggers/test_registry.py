"""`pytest tests/taggers/test_registry.py`: from names, modules, files and entry points to taggers."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dolma.config import TaggerSpec
from dolma.data.batch import TextBatch
from dolma.errors import ConfigError
from dolma.taggers import registry
from dolma.taggers.catalogue import catalogue
from dolma.taggers.length import Length
from dolma.taggers.names import BUILT_IN
from dolma.taggers.registry import (
    _cached,
    available,
    find,
    make_tagger,
    make_taggers,
    place_of,
    tagger_of_process,
)
from dolma.taggers.tagger import Tagger, needs_of

HEAD = (
    "import pyarrow as pa\n"
    "from dolma.data.columns import DocInt, Spans\n"
    "from dolma.taggers.tagger import document_tagger\n"
)
ONE_FUNCTION = HEAD + (
    "@document_tagger(name='shout', n=DocInt('marks'), places=Spans('where'))\n"
    "def shout(text):\n"
    "    'Counts exclamation marks.'\n"
    "    at = [i for i, c in enumerate(text) if c == '!']\n"
    "    return {'n': len(at), 'places': [(i, i + 1, 1.0) for i in at]}\n"
)
CLASS = (
    "class {name}:\n"
    "    name, version, outputs = '{name}', 1, {{'n': DocInt('a number')}}\n"
    "    def __init__(self, *, least: int = 0): self.least = least\n"
    "    def __call__(self, batch): return {{'n': pa.array([self.least] * len(batch))}}\n"
)
FACTORY = "def make(least): return {name}(least=least)\n"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    before = set(sys.modules)
    yield
    _cached.cache_clear()
    for name in [name for name in set(sys.modules) - before if name.startswith(("dolma_tagger_file_", "my_taggers"))]:
        del sys.modules[name]


def written(folder: Path, code: str, name: str = "mine.py") -> str:
    (folder / name).write_text(code)
    return str(folder / name)


def made(use: str, **fields: Any) -> Tagger:
    return make_tagger(TaggerSpec(use=use, **fields))


def wrong(use: str, **fields: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        made(use, **fields)
    return str(caught.value)


# --- where taggers come from -----------------------------------------------------------------------------------------


def without_needs() -> list[str]:
    return [name for name in BUILT_IN if not needs_of(find(name))]


@pytest.mark.parametrize("name", without_needs())
def test_a_built_in_tagger_answers_to_its_name(name: str) -> None:
    tagger = made(name)
    columns = tagger(TextBatch.of(["some text", ""]))
    assert tagger.name == name
    assert {key: len(column) for key, column in columns.items()} == dict.fromkeys(tagger.outputs, 2)


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_tagger_says_what_it_measures(name: str) -> None:
    (entry,) = catalogue([name])
    assert entry.meaning.endswith(".")


def test_a_function_in_a_file(tmp_path: Path) -> None:
    tagger = made(written(tmp_path, ONE_FUNCTION))
    columns = tagger(TextBatch.of(["a!\u00e9!", ""]))
    assert columns["n"].to_pylist() == [2, 0]
    assert columns["places"].to_pylist()[0] == [
        {"start": 1, "end": 2, "score": 1.0},
        {"start": 3, "end": 4, "score": 1.0},
    ]


def test_a_class_in_a_file_with_options(tmp_path: Path) -> None:
    use = written(tmp_path, HEAD + CLASS.format(name="A") + CLASS.format(name="B"))
    assert made(f"{use}:B", options={"least": 3})(TextBatch.of([""]))["n"].to_pylist() == [3]


def test_a_function_that_makes_a_tagger(tmp_path: Path) -> None:
    use = written(tmp_path, HEAD + CLASS.format(name="A") + FACTORY.format(name="A"))
    assert made(f"{use}:make", options={"least": 2})(TextBatch.of([""]))["n"].to_pylist() == [2]


def test_imported_taggers_are_not_the_file_s_own(tmp_path: Path) -> None:
    assert (
        made(written(tmp_path, "from dolma.taggers.length import Length\n" + HEAD + CLASS.format(name="A"))).name == "A"
    )


def test_two_files_of_one_name_are_two_taggers(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, HEAD + CLASS.format(name=folder))
    assert [made(str(tmp_path / folder / "mine.py")).name for folder in "ab"] == ["a", "b"]


def test_a_module_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE_FUNCTION, "my_taggers.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert made("my_taggers:shout").name == "shout"


def test_an_entry_point_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE_FUNCTION, "my_taggers.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [
        importlib.metadata.EntryPoint("shout", "my_taggers:shout", "dolma.taggers"),
        importlib.metadata.EntryPoint("length", "my_taggers:shout", "dolma.taggers"),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "installed", registry.installed.__wrapped__)
    assert list(available()) == sorted({*BUILT_IN, "shout"})
    assert made("shout").name == "shout"
    assert isinstance(made("length"), Length)


def test_another_name(tmp_path: Path) -> None:
    tagger = made("length", name="size")
    assert (tagger.name, tagger.version, list(tagger.outputs)) == ("size", 1, list(Length.outputs))
    assert tagger(TextBatch.of(["ab"]))["bytes"].to_pylist() == [2]


def test_a_process_makes_a_tagger_once() -> None:
    spec = TaggerSpec(use="length")
    assert tagger_of_process(spec) is tagger_of_process(TaggerSpec(use="length"))
    assert tagger_of_process(spec) is not tagger_of_process(TaggerSpec(use="length", name="other"))


def test_a_process_makes_a_tagger_anew_when_a_file_of_its_options_has_changed(tmp_path: Path) -> None:
    use = written(tmp_path, HEAD + CLASS.format(name="Mine"))
    (tmp_path / "list").write_text("1")
    spec = TaggerSpec(use=use, options={"least": [{"path": str(tmp_path / "list")}]})
    first = tagger_of_process(spec)
    assert tagger_of_process(spec) is first
    (tmp_path / "list").write_text("12")
    assert tagger_of_process(spec) is not first


def test_the_identity_of_a_file_is_what_stands_in_it(tmp_path: Path) -> None:
    use = written(tmp_path, ONE_FUNCTION)
    first = place_of(f"{use}:shout")
    assert first.startswith("mine.py:shout ")
    written(tmp_path, ONE_FUNCTION + "\n")
    assert place_of(f"{use}:shout") != first
    assert place_of("length") == "length"


# --- what is said about wrong ones -----------------------------------------------------------------------------------


def test_a_misspelt_name() -> None:
    assert wrong("gophr").startswith("no tagger 'gophr'; did you mean 'gopher'?\n  `dolma list` shows all; your own: ")


def test_a_file_that_is_not_there() -> None:
    assert wrong("nowhere/mine.py:x").startswith("no such file for a tagger: nowhere/mine.py\n  give the path")


def test_a_module_that_is_not_there() -> None:
    assert wrong("no_such_module:x").startswith("cannot import 'no_such_module' for the tagger 'no_such_module:x': ")


def test_an_attribute_that_is_not_there(tmp_path: Path) -> None:
    use = written(tmp_path, ONE_FUNCTION)
    assert wrong(f"{use}:shoot") == f"{use}:shoot: no 'shoot' there; did you mean 'shout'?"


def test_a_file_of_no_tagger_says_what_makes_one(tmp_path: Path) -> None:
    use = written(tmp_path, "x = 1\n")
    hint = "a tagger has `@document_tagger(...)` over it: docs/tag.md, 'Your own tagger'"
    assert wrong(use) == f"{use} has 0 taggers, expected one\n  {hint}"


def test_a_file_of_two_taggers_names_both(tmp_path: Path) -> None:
    use = written(tmp_path, HEAD + CLASS.format(name="A") + CLASS.format(name="B"))
    assert wrong(use) == f"{use} has 2 taggers, expected one\n  name it: `{use}:A` or `{use}:B`"


def test_a_file_named_as_a_module_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, ONE_FUNCTION, "my_own_taggers.py")
    monkeypatch.chdir(tmp_path)
    assert wrong("my_own_taggers:shout").endswith("\n  did you mean the file, `my_own_taggers.py:shout`?")


@pytest.mark.parametrize("code", ["import os\nos._exit(0)\n", "from os import _exit\n_exit(0)\n"])
def test_a_file_that_ends_the_process_at_once(tmp_path: Path, code: str) -> None:
    """In a process of its own, as its end would be that of the tests."""
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "a.jsonl").write_text('{"id": "a", "text": "a"}\n')
    use = written(tmp_path, code, "ending.py")
    command = [sys.executable, "-m", "dolma", "tag", "-t", use, "--documents", str(tmp_path / "documents")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"cannot run {use} for a tagger: SystemExit: 0" in ended.stderr


def test_a_child_of_a_file_ends_as_ever(tmp_path: Path) -> None:
    code = "import os\nif not (child := os.fork()):\n    os._exit(7)\nassert os.waitpid(child, 0)[1] == 7 << 8\n"
    assert wrong(written(tmp_path, code, "forking.py")).endswith("docs/tag.md, 'Your own tagger'")
    assert "has 0 taggers" in wrong(str(tmp_path / "forking.py"))


def test_a_file_that_cannot_be_run(tmp_path: Path) -> None:
    use = written(tmp_path, "import no_such_module\n")
    assert wrong(use).startswith(
        f"cannot run {use} for a tagger: ModuleNotFoundError: No module named 'no_such_module'"
    )
    use = written(tmp_path, "import sys\nsys.exit(0)\n", "ending.py")
    assert wrong(use).startswith(f"cannot run {use} for a tagger: SystemExit: 0")
    use = written(tmp_path, "def (\n", "other.py")
    assert wrong(use).startswith(f"cannot run {use} for a tagger: SyntaxError: ")


def test_something_that_is_no_tagger() -> None:
    assert wrong("json:dumps", options={"obj": 1}).startswith("'json:dumps' is no tagger: it needs `name`, `version`")


def test_options_that_it_does_not_take(tmp_path: Path) -> None:
    assert wrong("length", options={"x": 1}) == "the tagger 'length' takes no options, given: x\n  leave `options` out"
    use = written(tmp_path, ONE_FUNCTION)
    assert wrong(use, options={"x": 1}) == f"the tagger {use!r} takes no options, given: x\n  leave `options` out"


@pytest.mark.parametrize("name", ["a.b", "1a", "", "a b", "a/b", "a-b"])
def test_a_name_that_rules_could_not_use(name: str) -> None:
    assert (
        wrong("length", name=name) == f"a tagger cannot be called {name!r}: letters, digits and `_`, not a digit first"
        "\n  give it another `name`"
    )


@pytest.mark.parametrize("outputs", ["{}", "{'id': DocInt('x')}", "{'a-b': DocInt('x')}", "{'n': int}"])
def test_outputs_that_rules_could_not_use(tmp_path: Path, outputs: str) -> None:
    code = HEAD + f"class A:\n    name, version, outputs = 'A', 1, {outputs}\n    def __call__(self, batch): ...\n"
    assert "declares a bad output" in wrong(written(tmp_path, code))


def test_two_taggers_of_one_name_are_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"^\$\.tag\.taggers\[2\]: two taggers would both write attributes/length\n  give one another `name`$",
    ):
        make_taggers(["length", "pii", TaggerSpec(use="gopher", name="length")])


def test_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"two taggers would both write attributes/Length"):
        make_taggers(["length", TaggerSpec(use="length", name="Length")])


@pytest.mark.parametrize("name", ["cld2_en_doc_v2", "cld3_en_paragraph_v2", "langdetect_doc_v1", "lingua_1e2"])
def test_an_identifier_of_dolma_1_that_is_not_here_is_said_to_be(name: str) -> None:
    with pytest.raises(ConfigError, match=r"another language identifier(.|\n)*ft_lang_id_"):
        make_tagger(TaggerSpec(use=name))


def test_an_option_that_yaml_made_a_truth_value_of_is_to_be_quoted() -> None:
    with pytest.raises(
        ConfigError, match=r"c4_datatrove.languages\[0\]: expected a text, got false\n  YAML .*: quote it"
    ):
        made("c4_datatrove", options={"languages": [False, "en"]})


def test_an_error_while_a_module_is_loaded_or_a_tagger_made_is_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_at_once.py").write_text("1 / 0\n")
    (tmp_path / "broken_when_made.py").write_text("def own():\n    raise BaseException('x')\n")
    assert wrong("broken_at_once:own").startswith("cannot run broken_at_once:own for a tagger: ZeroDivisionError: ")
    assert wrong("broken_when_made:own").startswith("cannot run broken_when_made:own for a tagger: BaseException: x")
