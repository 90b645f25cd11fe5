"""The report on a corpus. Run: `pytest tests/lookup/test_report.py`."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from dolma.html_text import table
from dolma.lookup.drawings import flow, histogram
from dolma.lookup.thresholds import thresholds
from dolma.mixers.rules import Rule

from .conftest import Ask

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">'\"></pre><svg onload=x>"
)


class Tags(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def page_of(ask: Ask, folder: Path, *options: str) -> str:
    path = folder / "report.html"
    result = ask("report", "-o", str(path), *options)
    assert result.exit_code == 0, result.output
    return path.read_text()


def hostile(ask: Ask, recipe: Path, tmp_path: Path) -> tuple[str, ...]:
    """A recipe over hostile ids, sources and texts, run; the options that name its folder."""
    path = tmp_path / "web" / "documents" / "a.jsonl"
    record = {"id": HOSTILE, "source": HOSTILE, "text": f"{HOSTILE} one two three four five six seven\u202e eight"}
    path.write_text(path.read_text() + json.dumps(record) + "\n")
    other = tmp_path / "other.yaml"
    settings = yaml.safe_load(recipe.read_text()) | {"output": str(tmp_path / "other")}
    other.write_text(yaml.safe_dump(settings))
    assert ask("run", str(other), "--workers", "1").exit_code == 0
    return ("--set", f"output={tmp_path / 'other'}")


def test_the_page_has_the_numbers_of_the_ledger(ask: Ask, tmp_path: Path) -> None:
    page = page_of(ask, tmp_path)
    assert "5 documents read, 3 kept, 5 written, copies included" in page
    assert re.search(r"<td>web</td><td>- size: words</td><td class='number'>1</td>", page)
    assert "length.words" in page and "Content-Security-Policy" in page


def test_nothing_of_the_corpus_is_markup(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    plain = Tags(page_of(ask, tmp_path))
    page = page_of(ask, tmp_path, *hostile(ask, recipe, tmp_path))
    assert HOSTILE not in page and "&lt;script&gt;" in page
    found = Tags(page)
    assert found.tags <= plain.tags | {"path"} and found.attributes <= plain.attributes | {"d", "fill"}
    assert "script" not in found.tags and "onload" not in found.attributes
    assert "\u202e" not in page


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_no_script_of_the_corpus_runs_in_a_browser(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    page_of(ask, tmp_path, *hostile(ask, recipe, tmp_path))
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    command = [CHROMIUM, *options, (tmp_path / "report.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>Report on " in shown and "owned</title>" not in shown


def test_personal_data_is_masked_unless_asked_for(ask: Ask, tmp_path: Path) -> None:
    assert "whale@example.org" not in page_of(ask, tmp_path)
    assert "whale@example.org" in page_of(ask, tmp_path, "--show-pii")


def test_sets_of_any_name_are_reported_and_personal_data_of_them_is_masked(
    command: Ask, recipe: Path, tmp_path: Path
) -> None:
    settings = {
        "documents": yaml.safe_load(recipe.read_text())["documents"],
        "output": str(tmp_path / "named"),
        "tag": {"taggers": ["length", {"use": "pii", "name": "mails"}]},
        "dedupe": [{"name": "the copies"}],
        "mix": {"keep": ["length.words > 5"], "drop": ['"the copies".cluster_size > 1'], "missing": "keep"},
    }
    (tmp_path / "named.yaml").write_text(yaml.safe_dump(settings))
    assert command("run", str(tmp_path / "named.yaml"), "--workers", "1").exit_code == 0
    page = page_of(command, tmp_path, "-c", str(tmp_path / "named.yaml"))
    assert "the copies.cluster_size at or above 1: 1, short" in page
    assert "length.words at or above 5: 10, mail" in page and "whale@example.org" not in page


def test_a_set_that_lacks_files_is_left_out_and_named(ask: Ask, tmp_path: Path) -> None:
    (path,) = (tmp_path / "out" / "attributes" / "exact").rglob("books/*.parquet")
    path.unlink()
    assert "Left out, as some document files have none: exact." in page_of(ask, tmp_path)


def test_a_damaged_file_of_a_mix_is_named(ask: Ask, tmp_path: Path) -> None:
    path = tmp_path / "out" / "mixed" / "waterfall.parquet"
    content = bytearray(path.read_bytes())
    content[20] ^= 255
    path.write_bytes(content)
    result = ask("report", "-o", str(tmp_path / "x.html"))
    assert result.exit_code == 3 and f"{path}: corrupt file: " in result.output


def test_a_report_without_text_has_neither_texts_nor_ids(ask: Ask, tmp_path: Path) -> None:
    page = page_of(ask, tmp_path, "--no-text")
    assert "whales and ships" not in page and "<pre>" in page  # the recipe
    assert "<details>" not in page


def test_a_recipe_that_has_not_run_has_no_report(ask: Ask, tmp_path: Path) -> None:
    result = ask("report", "-o", str(tmp_path / "x.html"), "--set", f"output={tmp_path / 'nothing'}")
    assert result.exit_code == 2 and "has no finished mix to report on" in result.output
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize(
    "values",
    [[], [1.0], [0.0, 0.0], [float("nan")], [float("inf"), 1.0], [-1e308, 1e308], [1e-300, 2e-300], [0, 1, 1, 5]],
)
def test_a_histogram_counts_every_finite_value(values: list[float]) -> None:
    found = histogram("x", np.array(values, dtype=float), thresholds=[1.0, float("nan")])
    counts = [int(n.replace(",", "")) for n in re.findall(r": ([\d,]+)</title>", found)]
    assert sum(counts) == sum(np.isfinite(values)) if values else "no values" in found
    assert "nan" not in found.lower() or not np.isfinite(values).any()


def test_the_ribbons_of_a_flow_have_their_amounts() -> None:
    drawn = flow({("a", "written"): 3, ("a", "<rule>"): 1, ("b", "written"): 0})
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["a to written: 3", "a to &lt;rule&gt;: 1"]
    assert flow({}) == "<p>nothing was read</p>"


def test_a_table_escapes_and_groups_digits() -> None:
    assert "<td>&lt;b&gt;</td><td class='number'>1,234</td>" in table(("x", "n"), [("<b>", 1234)])


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("a.b > 1", [("a.b", 1.0)]),
        ("5 <= a.b AND (a.c < 0.5 OR NOT a.d = 2)", [("a.b", 5.0), ("a.c", 0.5), ("a.d", 2.0)]),
        ("len(a.b) > 1", []),
        ("a.b = 'x'", []),
        ("not sql at all (", []),
    ],
)
def test_thresholds_of_a_rule(sql: str, found: list[tuple[str, float]]) -> None:
    rule = Rule(path="", kind="keep", sql=sql)
    assert [(one.attribute, one.value) for one in thresholds(rule)] == found
