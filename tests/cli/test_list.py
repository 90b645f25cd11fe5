"""`dolma list`. Run: pytest tests/cli/test_list.py"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dolma.taggers.names import BUILT_IN

if TYPE_CHECKING:
    from .conftest import Dolma


def rows_of(shown: str) -> list[list[str]]:
    """Family, tagger and the rest of each row of the table."""
    head, *rows = [line for line in shown.splitlines()[:-2] if line]
    assert head.split() == ["family", "tagger", "MB/s", "outputs", "meaning", "[needs]", "[assumes]"]
    return [row.split(maxsplit=2) for row in rows[1:]]


def test_the_table_has_every_built_in_tagger(dolma: Dolma) -> None:
    ended = dolma("list")
    assert ended.status == 0
    assert {name for _, name, _ in rows_of(ended.out)} == set(BUILT_IN)


def test_the_table_is_by_family_with_those_of_dolma_1_last(dolma: Dolma) -> None:
    families = [family for family, *_ in rows_of(dolma("list").out)]
    assert families == sorted(families, key=lambda family: (family.startswith("dolma1."), family))
    assert {"gopher", "dolma1.gopher"} <= set(families)


def test_the_table_says_what_a_tagger_needs_and_assumes(dolma: Dolma) -> None:
    lines = {name: rest for _, name, rest in rows_of(dolma("list").out)}
    assert "[needs tokenizer.json]" in lines["tokens"]
    assert "[English]" in lines["c4_v1"]


def test_the_manual_has_every_output_of_every_built_in_tagger_but_of_176_languages_a_few(dolma: Dolma) -> None:
    manual = dolma("list", "--markdown").out
    for row in json.loads(dolma("list", "--json").out):
        names = [output["name"] for output in row["outputs"]]
        assert f"\n### {row['name']}\n" in manual
        assert all(f"| `{name}` |" in manual for name in (names if len(names) < 100 else names[:3]))
        assert len(names) < 100 or f"| {len(names) - 3} more, to `{names[-1]}` |" in manual


def test_json_has_name_kind_unit_range_and_meaning_of_every_output(dolma: Dolma) -> None:
    rows = json.loads(dolma("list", "--json").out)
    assert {row["name"] for row in rows} == set(BUILT_IN)
    outputs = [output for row in rows for output in row["outputs"]]
    assert all(set(output) >= {"name", "kind", "unit", "range", "meaning"} for output in outputs)
    assert all(output["meaning"] for output in outputs)


def test_a_name_shows_its_outputs(dolma: Dolma) -> None:
    ended = dolma("list", "gopher")
    assert "gopher.word_count" in ended.out
    assert "pii.email" not in ended.out


def test_names_select_in_json_too(dolma: Dolma) -> None:
    assert [row["name"] for row in json.loads(dolma("list", "pii", "--json").out)] == ["pii"]


def test_an_unknown_tagger_suggests_the_nearest(dolma: Dolma) -> None:
    ended = dolma("list", "gophr")
    assert ended.status == 2
    assert "no tagger 'gophr'; did you mean 'gopher'?" in ended.err


def test_a_tagger_in_a_file_is_listed_by_its_path(dolma: Dolma, tmp_path: Path) -> None:
    path = tmp_path / "shouting.py"
    path.write_text(
        "from dolma.data.columns import DocInt\n"
        "from dolma.taggers.tagger import document_tagger\n"
        '@document_tagger(name="shouting", capitals=DocInt("capital letters"))\n'
        "def shouting(text):\n"
        '    return {"capitals": sum(map(str.isupper, text))}\n'
    )
    ended = dolma("list", path)
    assert ended.status == 0, ended.err
    assert "shouting.capitals" in ended.out


@pytest.mark.parametrize("name", ["length", "gopher"])
def test_every_built_in_tagger_says_where_it_is_defined(dolma: Dolma, name: str) -> None:
    assert BUILT_IN[name] in dolma("list", name).out
