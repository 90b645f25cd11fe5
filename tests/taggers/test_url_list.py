from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dolma.data.batch import TextBatch
from dolma.errors import ConfigError, MissingExtraError
from dolma.models.fetch import cached_path
from dolma.taggers.url_list import UrlList

PAGE = "https://www.bad.example/Some-Path/page.html?q=casino"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOLMA_CACHE", str(tmp_path / "cache"))


def put(folder: Path, *lines: str, name: str = "list.txt") -> str:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def batch_of(*urls: Any) -> TextBatch:
    return TextBatch.of([""] * len(urls), metadata=[json.dumps({"url": url}).encode() for url in urls])


def answers(tagger: UrlList, *urls: Any, output: str = "listed") -> list[Any]:
    return tagger(batch_of(*urls))[output].to_pylist()


# --- domains ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("http://bad.example/x", "bad.example"),
        ("http://www.bad.example", "bad.example"),
        ("http://a.b.BAD.example.:80/", "bad.example"),
        ("http://very.bad.example", "very.bad.example"),
        ("http://notbad.example", None),
        ("http://example", None),
        ("http://bad.example.org", None),
        ("http://198.51.100.7/", "198.51.100.7"),
        ("http://8.198.51.100.7.example", None),
        ("http://only.example/", "www.only.example"),
        ("http://www.only.example/", "www.only.example"),
        ("http://other.only.example/", None),
    ],
)
def test_a_domain_lists_all_below_it(tmp_path: Path, url: str, entry: str | None) -> None:
    tagger = UrlList(lists=put(tmp_path, "bad.example", "very.bad.example", "198.51.100.7", "www.only.example"))
    assert answers(tagger, url) == [entry is not None]
    assert answers(tagger, url, output="entry") == [entry]


def test_entries_are_counted(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "bad.example", "very.bad.example"))
    assert answers(tagger, "http://very.bad.example", "http://bad.example", "http://a.b", output="n_entries") == [
        2,
        1,
        0,
    ]


def test_documents_without_a_url_have_no_answer(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "bad.example"))
    for output in tagger.outputs:
        assert answers(tagger, None, "no url", 5, "", output=output) == [None] * 4


def test_a_batch_without_metadata_and_an_empty_one(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "bad.example"))
    assert tagger(TextBatch.of(["a"]))["listed"].to_pylist() == [None]
    assert tagger(TextBatch.of([]))["listed"].to_pylist() == []


def test_lists_with_names_have_an_answer_each(tmp_path: Path) -> None:
    lists = {
        "one": put(tmp_path, "a.example", name="one.txt"),
        "two": [put(tmp_path, "a.example", name="two.txt"), put(tmp_path, "b.example", name="three.txt")],
    }
    tagger = UrlList(lists=lists)
    columns = tagger(batch_of("http://a.example", "http://b.example", "http://c.example", None))
    assert columns["one"].to_pylist() == [True, False, False, None]
    assert columns["two"].to_pylist() == [True, True, False, None]
    assert columns["listed"].to_pylist() == [True, True, False, None]
    assert columns["n_entries"].to_pylist() == [1, 1, 0, None]
    assert tagger.outputs["one"].meaning == "whether the list 'one' has the URL"
    assert [Path(path).name for path in tagger.files] == ["one.txt", "two.txt", "three.txt"]


def test_a_column(tmp_path: Path) -> None:
    path = put(tmp_path, "n,site", "1,bad.example", name="list.csv")
    assert answers(UrlList(lists=path, column="site"), "http://bad.example") == [True]


# --- pages, words, substrings ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "entry"),
    [
        ("https://www.bad.example:443/A/b/c?d", "bad.example/a/b"),
        ("http://bad.example/a/b/", "bad.example/a/b"),
        ("http://bad.example//a//b", "bad.example/a/b"),
        ("http://bad.example/a/bc", None),
        ("http://bad.example/a", None),
        ("http://sub.bad.example/a/b", None),
        ("http://bad.example/x?id=1", "bad.example/x?id=1"),
        ("http://bad.example/x?id=2", None),
        ("http://whole.example/y", "whole.example"),
    ],
)
def test_a_page_lists_all_below_it(tmp_path: Path, url: str, entry: str | None) -> None:
    lists = put(tmp_path, "http://bad.example/A/b/", "bad.example/x?id=1", "www.whole.example")
    assert answers(UrlList(lists=lists, match="page"), url, output="entry") == [entry]


def test_a_path_of_a_million_folders(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "bad.example/a/a"), match="page")
    assert answers(tagger, "http://bad.example" + "/a" * 1_000_000) == [True]


def test_words_stand_alone(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "Casino", "path", "münze"), match="word")
    urls = [PAGE, "http://casinos.example/", "http://my.casino/münze_casino", "https.example/https"]
    assert answers(tagger, *urls, output="n_entries") == [2, 0, 2, 0]
    assert answers(tagger, *urls, output="entry") == ["path", None, "casino", None]


def test_the_scheme_is_no_word(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "https"), match="word")
    assert answers(tagger, "https://a.example", "http://a.example/https") == [False, True]


def test_substrings_are_anywhere(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "CASINO", "me-pa", "casin"), match="substring")
    urls = [PAGE, "http://casinos.example/", "http://cas-ino.example"]
    assert answers(tagger, *urls, output="n_entries") == [3, 2, 0]
    assert answers(tagger, *urls, output="entry") == ["me-pa", "casino", None]


def test_substrings_of_letters_and_digits_only(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, "cas-ino"), match="substring", squeeze=True)
    assert answers(tagger, "http://c.a.s.example/?ino", "http://x.example/c_a-s.i/no") == [False, True]


@pytest.mark.parametrize(
    ("match", "line", "message"),
    [
        ("domain", "no domain", r"list\.txt:2: no list of domains: 'no domain' is none"),
        ("page", "no page", r"list\.txt:2: no URL: 'no page'"),
        ("word", "two words", r"list\.txt:2: no single word of letters and digits: 'two words'"),
        ("substring", "a", r"list\.txt:2: too short a substring: 'a'; expected two characters"),
        ("word", "", r"list\.txt: an empty list"),
    ],
)
def test_lines_of_another_kind(tmp_path: Path, match: Any, line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=r"url_list: .*" + message):
        UrlList(lists=put(tmp_path, "# comment", line), match=match)


# --- ad-block rules --------------------------------------------------------------------------------------------------


RULES = (
    "! comment",
    "||ads.example^",
    "@@||good.ads.example^",
    "||third.example^$third-party",
    "||first.example^$first-party",
    "||image.example^$image",
    "/banner/*",
    "&track=",
    "site.example##.advert",
)


@pytest.mark.parametrize(
    ("url", "listed"),
    [
        ("http://ads.example/", True),
        ("https://www.ADS.example/x", True),
        ("http://good.ads.example/", False),
        ("http://third.example/", True),
        ("http://first.example/", False),
        ("http://image.example/", False),
        ("http://a.example/banner/x.html", True),
        ("http://a.example/?x&track=1", True),
        ("site.example/", False),
    ],
)
def test_rules_of_ad_blockers(tmp_path: Path, url: str, listed: bool) -> None:
    tagger = UrlList(lists=put(tmp_path, *RULES), match="adblock")
    assert answers(tagger, url) == [listed]
    assert answers(tagger, url, output="n_entries") == [int(listed)]
    assert answers(tagger, url, output="entry") == [None]


def test_a_type_of_request(tmp_path: Path) -> None:
    tagger = UrlList(lists=put(tmp_path, *RULES), match="adblock", request_type="image")
    assert answers(tagger, "http://image.example/") == [True]


def test_the_engine_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adblock", None)
    with pytest.raises(MissingExtraError, match=r"match 'adblock' needs the package 'adblock'.*\n.*'dolma\[url\]'"):
        UrlList(lists=put(tmp_path, *RULES), match="adblock")


def test_needs_are_those_of_the_options(tmp_path: Path) -> None:
    path = put(tmp_path, "a.example")
    assert [need.kind for need in UrlList(lists=path, field="metadata.u").needs] == ["metadata"]
    assert [need.kind for need in UrlList(lists=path, match="adblock").needs] == ["extra", "metadata"]


# --- where lists are -------------------------------------------------------------------------------------------------


def test_a_fetched_url(tmp_path: Path) -> None:
    url = "https://lists.example/bad.txt"
    with pytest.raises(ConfigError, match=f"url_list: {url} has not been fetched\n  run `dolma fetch {url}`"):
        UrlList(lists=url)
    cached_path(url).parent.mkdir(parents=True)
    cached_path(url).write_text("bad.example\n")
    assert answers(UrlList(lists=url), "http://bad.example") == [True]


def test_a_public_list_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"1 of the 1 files of '\w+' have not been fetched\n  run `dolma fetch block"):
        UrlList(lists="blocklist_project_nsfw_v1")


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"url_list: no such file: absent\.txt"):
        UrlList(lists="absent.txt")


@pytest.mark.parametrize("lists", [[], {}, {"a": []}, [5], ""])
def test_no_lists(lists: Any) -> None:
    with pytest.raises(ConfigError, match=r"url_list: (no lists|lists .* expected a path)"):
        UrlList(lists=lists)


@pytest.mark.parametrize("label", ["listed", "a b", "1"])
def test_names_that_outputs_cannot_have(tmp_path: Path, label: str) -> None:
    with pytest.raises(ConfigError, match=f"a list cannot be called '{label}'"):
        UrlList(lists={label: put(tmp_path, "a.example")})


def test_options_that_are_wrong(tmp_path: Path) -> None:
    path = put(tmp_path, "a.example")
    with pytest.raises(ConfigError, match=r"url_list: match 'domian'; did you mean 'domain'\?"):
        UrlList(lists=path, match="domian")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"squeeze is for match 'substring', given: 'domain'"):
        UrlList(lists=path, squeeze=True)
