from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.errors import ConfigError, DataError
from dolma.models.url_lists import HashedSet, domains, entries, hosts_of


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("bad.example", ["bad.example"]),
        ("BAD.example.", ["bad.example"]),
        ("*.bad.example", ["bad.example"]),
        (".bad.example", ["bad.example"]),
        ("http://bad.example:80/x?y", ["bad.example"]),
        ("bad.example/x", ["bad.example"]),
        ("0.0.0.0 bad.example b.example", ["bad.example", "b.example"]),
        ("127.0.0.1\tbad.example", ["bad.example"]),
        (":: bad.example", ["bad.example"]),
        ("198.51.100.7 bad.example", ["198.51.100.7", "bad.example"]),
        ("127.0.0.1 localhost", []),
        ("fe80::1%lo0 localhost", []),
        ("0.0.0.0 0.0.0.0", []),
        ("||bad.example^", ["bad.example"]),
        ("||bad.example^$third-party", ["bad.example"]),
        ("||bad.example/x", []),
        ("@@||bad.example^", []),
        ("address=/bad.example/0.0.0.0", ["bad.example"]),
        ("198.51.100.7", ["198.51.100.7"]),
        ("2001:db8::7", ["2001:db8::7"]),
        ("bücher.example", ["xn--bcher-kva.example"]),
        ("two words", []),
    ],
)
def test_forms_of_a_line(line: str, hosts: list[str]) -> None:
    assert list(hosts_of(line)) == hosts


@pytest.mark.parametrize("name", ["list.txt", "list.txt.gz", "domains"])
def test_a_list_of_mixed_forms(tmp_path: Path, name: str) -> None:
    text = (
        "\ufeff# comment\r\n! comment\n; comment\n[Adblock Plus]\n\nplain.example\r\n  Trimmed.example \n"
        "0.0.0.0 hosts.example # why\n127.0.0.1 localhost\n0.0.0.0 many.example names.example\n||rule.example^\n"
        "www.kept.example\nlast.example"
    )
    path = put(tmp_path, name, text)
    stems = ("plain", "trimmed", "hosts", "many", "names", "rule", "www.kept", "last")
    assert domains(path) == {f"{stem}.example" for stem in stems}


@pytest.mark.parametrize(
    ("header", "column", "expected"),
    [
        ("rank,domain", None, {"b.example", "c.example"}),
        ("rank,Domain", "domain", {"b.example", "c.example"}),
        ("1,a.example", None, set()),
    ],
)
def test_a_column_of_a_table(tmp_path: Path, header: str, column: str | None, expected: set[str]) -> None:
    path = put(tmp_path, "list.csv.gz", f'{header}\n2,b.example\n3,"c.example"\n4,\n5\n')
    if expected:
        assert domains(path, column=column) == expected
    else:
        with pytest.raises(DataError, match="no list of domains"):
            domains(path)


def test_the_first_column_without_a_header(tmp_path: Path) -> None:
    assert domains(put(tmp_path, "list.csv", "a.example,1\nb.example,2\n")) == {"a.example", "b.example"}


def test_tabs(tmp_path: Path) -> None:
    assert domains(put(tmp_path, "list.tsv", "n\thost\n1\ta.example\n")) == {"a.example"}


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"list\.csv: no column 'hots'; did you mean 'hosts'\?"):
        domains(put(tmp_path, "list.csv", "hosts,n\na.example,1\n"), column="hots")


def test_a_column_of_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"only \.csv and \.tsv files have columns, and 'a' was asked for"):
        domains(put(tmp_path, "list.txt", "a.example"), column="a")


def test_what_is_no_list_of_domains(tmp_path: Path) -> None:
    path = put(tmp_path, "list.txt", "good.example\n\nsome words here\nmore words there\n")
    with pytest.raises(DataError, match=r"list\.txt:3: no list of domains: 'some words here' is none"):
        domains(path)


def test_a_few_odd_lines_are_left_out(tmp_path: Path) -> None:
    assert domains(put(tmp_path, "list.txt", "a.example\nb.example\nodd words\n")) == {"a.example", "b.example"}


@pytest.mark.parametrize("text", ["", "# nothing\n\n"])
def test_an_empty_list(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="an empty list"):
        domains(put(tmp_path, "list.txt", text))


def test_a_truncated_list(tmp_path: Path) -> None:
    path = put(tmp_path, "list.txt.gz", "a.example\n" * 1000)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match="truncated gzip"):
        domains(path)


def test_entries_have_their_line(tmp_path: Path) -> None:
    assert list(entries(put(tmp_path, "words.txt", "# c\none\n\ntwo # c\n"))) == [(2, "one"), (4, "two")]


@pytest.mark.property
@settings(max_examples=50, deadline=None)
@given(st.sets(st.text(max_size=5)), st.lists(st.text(max_size=5)))
def test_a_hashed_set_holds_what_a_set_holds(members: set[str], asked: list[str]) -> None:
    asked += sorted(members)
    clean = {member for member in members if member.isprintable()}
    asked = [string for string in asked if string.isprintable()]
    assert HashedSet(clean).holds(asked).tolist() == [string in clean for string in asked]


def test_a_hashed_set_counts_an_entry_once() -> None:
    assert len(HashedSet(["a", "a", "b"])) == 2
