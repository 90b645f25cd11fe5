"""A slow, long or failing document stops nothing. Run: `pytest tests/taggers/test_limits.py`."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dolma.config import MixConfig, TagConfig
from dolma.data.attributes import read_attributes
from dolma.data.batch import TextBatch
from dolma.data.columns import DocFloat, DocInt, DocText, Output, Spans, spans_of
from dolma.data.dataset import Dataset
from dolma.errors import ConfigError, RecordError
from dolma.mixers.mix import mix
from dolma.runner.options import RunOptions
from dolma.taggers.limits import Limits, counts_of, measure, select, time_limit
from dolma.taggers.tag import tag
from dolma.taggers.tagger import DocumentTagger, document_tagger, outputs_of

ONE = RunOptions(workers=1)
CATASTROPHE = "a" * 40 + "!"


@document_tagger(name="nested", n=DocInt("characters of nested repetition"))
def nested(text: str) -> dict[str, Any]:
    """Backtracks without end on `CATASTROPHE`."""
    return {"n": len(re.sub(r"(a+)+$", "", text))}


def failing_on(bad: str, error: BaseException) -> DocumentTagger:
    def size(text: str) -> dict[str, int]:
        if text == bad:
            raise error
        return {"n": len(text)}

    return DocumentTagger(size, name="size", outputs={"n": DocInt("characters")})


def measured(tagger: Any, texts: list[str], **limits: Any) -> tuple[list[Any], list[Any]]:
    batch, given = TextBatch.of(texts), Limits(**limits)
    rows = given.within(batch)
    columns = measure(tagger, batch, given, within=None if rows is None else select(batch, rows))
    assert list(columns) == list(outputs_of(tagger))
    return columns["n"].to_pylist(), columns["error"].to_pylist()


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_docs", [1, 2, 3, 100])
@pytest.mark.parametrize("at", [0, -1])
def test_only_the_failing_document_has_no_value(n_docs: int, at: int) -> None:
    texts = [f"text {i}" for i in range(n_docs)]
    numbers, errors = measured(failing_on(texts[at], ValueError("no\n  such thing")), texts)
    expected: list[Any] = [len(text) for text in texts]
    expected[at] = None
    assert numbers == expected
    (error,) = [error for error in errors if error]
    assert re.fullmatch(r"ValueError: no such thing \(test_limits.py:\d+\)", error)


def test_an_error_has_two_hundred_characters_at_most() -> None:
    _, errors = measured(failing_on("b", ValueError("x" * 1000)), ["a", "b"])
    assert len(errors[1]) == 200


def test_a_tagger_that_ends_the_program_fails_on_that_document() -> None:
    values, errors = measured(failing_on("bad", SystemExit(0)), ["good", "bad"])
    assert values == [4, None]
    assert errors[1].startswith("SystemExit: 0 (test_limits.py:")


def test_what_an_error_says_need_not_be_utf8() -> None:
    _, errors = measured(failing_on("bad", ValueError("\ud800")), ["good", "bad"])
    assert errors[1].startswith("ValueError: \\ud800 (test_limits.py:")


def test_an_error_of_the_record_is_the_documents_and_one_of_the_recipe_is_not() -> None:
    assert measured(failing_on("b", RecordError("no url")), ["a", "b"])[1] == [None, "RecordError: no url"]
    with pytest.raises(ConfigError, match="no model"):
        measured(failing_on("b", ConfigError("no model")), ["a", "b"])


def test_the_first_error_stops_where_that_is_asked_for() -> None:
    with pytest.raises(
        RecordError, match=r":2: the tagger 'size' failed on document '[^']*': ValueError: no .test_limits.py:[0-9]+.\n"
    ):
        measured(failing_on("b", ValueError("no")), ["a", "b"], stop=True)


class Odd:
    """A tagger of batches, with a number for each document and a span as long as that."""

    name, version = "odd", 1
    outputs: Mapping[str, Output] = {"n": DocFloat("x", range="0-5"), "s": Spans("y"), "t": DocText("z")}

    def __call__(self, batch: TextBatch) -> Any:
        numbers = [int(text) for text in batch.texts()]
        return {
            "n": pa.array([float(n) for n in numbers]),
            "s": spans_of([[(0, n, 1.0)] if n else [] for n in numbers]),
            "t": pa.array(batch.texts()),
        }


def test_a_document_with_undeclared_values_has_none_and_says_why() -> None:
    columns = measure(Odd(), TextBatch.of(["1", "7", "0", "3", "1"]), Limits())
    assert columns["n"].to_pylist() == [1.0, None, 0.0, None, 1.0]
    assert columns["s"].to_pylist()[1:3] == [None, []]
    assert columns["t"].to_pylist() == ["1", None, "0", None, "1"]
    assert columns["error"].to_pylist() == [
        None,
        "range: 'n' is 7.0, declared 0-5",
        None,
        "span: 's' has [0, 3) in a text of 1 code points",
        None,
    ]


def test_undeclared_values_stop_where_that_is_asked_for() -> None:
    batch = TextBatch.of(["1", "0", "3"], ids=["a", "b", "c"], path="a.jsonl")
    with pytest.raises(RecordError, match=r"a\.jsonl:3: the tagger 'odd' failed on document 'c': span: 's' has "):
        measure(Odd(), batch, Limits(stop=True))


def test_wrong_columns_are_no_documents_fault() -> None:
    class Wrong:
        name, version, outputs = "wrong", 1, {"n": DocInt("a number")}

        def __call__(self, batch: TextBatch) -> Any:
            return {"m": pa.array([1] * len(batch))}

    with pytest.raises(RecordError, match=r"the tagger 'wrong' failed: ValueError: .*missing \['n'\]"):
        measured(Wrong(), ["a", "b"])


def test_errors_are_counted_by_kind() -> None:
    errors = pa.array([None, "time limit: more than 1 s", "KeyError: 'a'", "KeyError: 'b'"])
    assert counts_of(errors) == {"time limit": 1, "KeyError": 2}
    assert counts_of(pa.nulls(3, pa.string())) == {}


# --- size ------------------------------------------------------------------------------------------------------------


def test_a_document_beyond_the_size_limit_is_shown_to_no_tagger() -> None:
    seen: list[str] = []

    def size(text: str) -> dict[str, int]:
        seen.append(text)
        return {"n": len(text)}

    tagger = DocumentTagger(size, name="size", outputs={"n": DocInt("characters")})
    numbers, errors = measured(tagger, ["ab", "abcdef", "éé", "ééé"], max_bytes=4)
    assert (numbers, seen) == ([2, None, 2, None], ["ab", "éé"])
    assert errors == [None, "size limit: 6 bytes, at most 4", None, "size limit: 6 bytes, at most 4"]


def test_selected_documents_are_a_batch() -> None:
    batch = TextBatch.of(["a", "bc", "", "d"], metadata=[b"0", b"1", b"2", b"3"])
    part = select(batch, np.array([False, True, True, False]))
    assert (part.texts(), part.ids, part.lines.tolist(), part.metadata) == (
        ["bc", ""],
        ["1", "2"],
        [2, 3],
        [b"1", b"2"],
    )
    assert select(batch, np.zeros(4, dtype=bool)).texts() == []


# --- time ------------------------------------------------------------------------------------------------------------


def test_a_slow_document_has_an_error_and_the_others_their_values() -> None:
    numbers, errors = measured(nested, ["aab", CATASTROPHE, "b"], max_seconds=0.2)
    assert (numbers, errors) == ([3, None, 1], [None, "time limit: more than 0.2 s", None])


def test_a_tagger_that_wants_one_document_at_a_time_has_the_limit_for_each() -> None:
    def slow(text: str) -> dict[str, int]:
        time.sleep(0.1)
        return {"n": len(text)}

    tagger = DocumentTagger(slow, name="slow", outputs={"n": DocInt("characters")})
    batches: list[int] = []
    answer = tagger.__call__

    class OneByOne:
        name, version, outputs, one_by_one = "slow", 1, tagger.outputs, True

        def __call__(self, batch: TextBatch) -> Any:
            batches.append(len(batch))
            return answer(batch)

    assert measured(OneByOne(), ["a", "bc", ""], max_seconds=0.25) == ([1, 2, 0], [None, None, None])
    assert batches == [1, 1, 1]


def test_the_clock_of_the_calling_program_is_left_as_it_was() -> None:
    handler, (left, _) = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    measured(nested, [CATASTROPHE], max_seconds=0.05)
    assert signal.getsignal(signal.SIGALRM) is handler
    after, interval = signal.getitimer(signal.ITIMER_REAL)
    assert interval == 0.0
    assert (0 < after <= left) if left else after == 0  # the time limit of this test may be such a clock


def test_a_tagger_that_catches_exceptions_does_not_catch_the_limit() -> None:
    def stubborn(text: str) -> dict[str, int]:
        try:
            time.sleep(5)
        except Exception:  # noqa: BLE001 - as a user might
            return {"n": 0}
        return {"n": 1}

    tagger = DocumentTagger(stubborn, name="stubborn", outputs={"n": DocInt("nothing")})
    assert measured(tagger, ["a"], max_seconds=0.05)[1] == ["time limit: more than 0.05 s"]


def test_outside_the_main_thread_there_is_no_time_limit() -> None:
    done: list[bool] = []

    def work() -> None:
        with time_limit(0.01):
            time.sleep(0.05)
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]


# --- a whole run -----------------------------------------------------------------------------------------------------


NESTED = Path(__file__)


def write(path: Path, records: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))


@pytest.mark.parametrize("format", ["parquet", "dolma1"])
def test_offenders_carry_the_error_and_all_others_are_as_without_them(tmp_path: Path, format: str) -> None:
    """Scenario 11: a huge line, a million letters, damaged text, a regular expression that backtracks."""
    plain = [{"id": f"p{i}", "text": f"The {i} quick foxes of the day, and that is it.\n" * 3} for i in range(30)]
    odd = [
        {"id": "line", "text": "word " * 500_000},
        {"id": "a", "text": "a" * 1_000_000},
        {"id": "odd", "text": "\x00 and \ud800"},
        {"id": "slow", "text": CATASTROPHE},
    ]
    mixed = [*plain[:10], odd[0], *plain[10:20], odd[1], odd[2], *plain[20:], odd[3]]
    for name, records in (("with", mixed), ("without", plain)):
        write(tmp_path / name / "web/documents/a.jsonl", records)
    config = TagConfig(
        taggers=["length", "gopher", "pii", f"{NESTED}:nested"],
        attributes_format=format,
        max_document_bytes=1_500_000,
        max_seconds_per_document=0.3,
    )
    found = {}
    for name in ("with", "without"):
        dataset = Dataset(documents=(f"{tmp_path}/{name}/web/documents/*",))
        report = tag(dataset, config, options=ONE)
        (shard,) = dataset.shards()
        for tagger in ("length", "gopher", "pii", "nested"):
            rows = read_attributes(str(dataset.attribute_files(tagger, [shard])[0][1])).to_pylist()
            found[name, tagger] = {row["id"]: row for row in rows}
        if name == "with":
            # `(a+)+$` is quadratic on a million letters; whether that is beyond 0.3 s is the machine's business.
            assert {kind for kind in report.ledger.errors if not kind.startswith("nested")} == {
                "gopher: size limit",
                "length: size limit",
                "pii: size limit",
            }
            assert len(report.warnings) >= 5
    for tagger in ("length", "gopher", "pii", "nested"):
        ours, without = found["with", tagger], found["without", tagger]
        assert {id: row for id, row in ours.items() if id in without} == without
        assert ours["line"]["error"] == "size limit: 2500000 bytes, at most 1500000"
    assert found["with", "nested"]["slow"]["error"] == "time limit: more than 0.3 s"
    assert found["with", "length"]["a"]["characters"] == 1_000_000
    assert found["with", "length"]["odd"]["characters"] == 7


def test_rules_can_name_the_error(tmp_path: Path) -> None:
    write(tmp_path / "web/documents/a.jsonl", [{"id": "a", "text": "short"}, {"id": "b", "text": "too long for it"}])
    dataset = Dataset(documents=(f"{tmp_path}/web/documents/*",))
    tag(dataset, TagConfig(taggers=["length"], max_document_bytes=10), options=ONE)
    config = MixConfig(keep=["length.error IS NULL"])
    report = mix(dataset, config, output=str(tmp_path / "out"), options=ONE)
    assert report.ledger.total().out.documents == 1


class Wordless(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "said"),
    [(Wordless(), "Wordless: (Wordless whose text raises RuntimeError)"), (BaseException("x"), "BaseException: x")],
    ids=["without a text", "bare"],
)
def test_any_exception_stays_with_its_document(error: BaseException, said: str) -> None:
    values, errors = measured(failing_on("bad", error), ["good", "bad"])
    assert values == [4, None]
    assert errors[1].startswith(said)


def test_a_tagger_does_not_move_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()

    def move(text: str) -> dict[str, int]:
        os.chdir("below")
        return {"n": len(text)}

    assert measured(DocumentTagger(move, name="move", outputs={"n": DocInt("characters")}), ["a"]) == ([1], [None])
    assert os.getcwd() == str(tmp_path)


class _ProgramStops(BaseException):
    """What a handler of the program raises, as that of a test's time limit does."""


@pytest.fixture
def alarm() -> Iterator[None]:
    """A timer of the program, as a test's time limit is."""

    def ring(number: int, frame: object) -> None:
        raise _ProgramStops

    before, timer = signal.signal(signal.SIGALRM, ring), signal.getitimer(signal.ITIMER_REAL)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)


@pytest.mark.parametrize("max_seconds", [None, 0.05])
def test_an_alarm_of_the_program_is_no_error_of_the_tagger(alarm: None, max_seconds: float | None) -> None:
    @document_tagger(name="waits", n=DocInt("n"))
    def waits(text: str) -> dict[str, int]:
        time.sleep(0.01)
        return {"n": 1}

    signal.setitimer(signal.ITIMER_REAL, 0.02)
    with pytest.raises(_ProgramStops):
        for _ in range(1000):
            measure(waits, TextBatch.of(["a"] * 3), Limits(max_seconds=max_seconds))
