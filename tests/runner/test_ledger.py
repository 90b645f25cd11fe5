"""`pytest tests/runner/test_ledger.py`"""

from __future__ import annotations

import copy
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dolma.data.documents import FailedRecord, Intake
from dolma.errors import LedgerError
from dolma.runner.ledger import Account, Ledger, Tally, merged

counts = st.integers(0, 1 << 40)
tallies = st.builds(Tally, documents=counts, bytes=counts, tokens=counts)
accounts = st.builds(
    Account,
    taken=tallies,
    out=tallies,
    written=tallies,
    dropped=st.dictionaries(st.sampled_from(["short", "duplicate"]), tallies),
    failed=counts,
)
records = st.builds(
    FailedRecord,
    file=st.sampled_from("ab"),
    line=st.integers(1, 3),
    offset=st.none() | st.integers(0, 3),
    reason=st.sampled_from(["not JSON", "no text"]),
)
ledgers = st.builds(
    Ledger,
    accounts=st.dictionaries(st.sampled_from(["books", "web", ""]), accounts),
    failed=st.lists(records, max_size=4),
    repaired=st.dictionaries(st.sampled_from(["lone_surrogate", "invalid_utf8"]), counts),
)


def plus(first: Ledger, second: Ledger) -> Ledger:
    total = copy.deepcopy(first)
    total.add(second)
    return merged([total])  # sorted


@pytest.mark.property
@settings(deadline=None, max_examples=60)
@given(ledgers, ledgers)
def test_add_is_commutative(first: Ledger, second: Ledger) -> None:
    assert plus(first, second) == plus(second, first)


@pytest.mark.property
@settings(deadline=None, max_examples=60)
@given(ledgers, ledgers, ledgers)
def test_add_is_associative(first: Ledger, second: Ledger, third: Ledger) -> None:
    assert plus(plus(first, second), third) == plus(first, plus(second, third))


@pytest.mark.property
@settings(deadline=None, max_examples=60)
@given(st.lists(ledgers, max_size=4), st.randoms(use_true_random=False))
def test_merged_encodes_alike_in_any_order(parts: list[Ledger], random) -> None:
    shuffled = random.sample(parts, len(parts))
    assert msgspec.json.encode(merged(parts)) == msgspec.json.encode(merged(shuffled))


@pytest.mark.property
@settings(deadline=None, max_examples=30)
@given(st.lists(ledgers, max_size=3))
def test_merged_leaves_its_parts_alone(parts: list[Ledger]) -> None:
    before = copy.deepcopy(parts)
    merged([merged(parts), *parts])
    assert parts == before


@pytest.mark.property
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["keep", "short", "long"]))), st.integers(-3, 3))
def test_check_finds_any_imbalance(fates: list[tuple[str, str]], error: int) -> None:
    ledger = Ledger()
    for source, fate in fates:
        ledger.take(source, documents=1)
        ledger.keep(source, documents=1) if fate == "keep" else ledger.drop(source, fate, documents=1)
    ledger.check("mix")
    ledger.take("a", documents=error)
    if error:
        with pytest.raises(
            LedgerError, match=rf"mix: .*\n  source 'a': .*\({re.escape(f'{error:+d}')} not accounted for\)"
        ):
            ledger.check("mix")


def test_bytes_that_are_gone_are_found() -> None:
    ledger = Ledger()
    ledger.take("web", documents=1, bytes=10)
    ledger.keep("web", documents=1, bytes=8)
    with pytest.raises(LedgerError, match=r"'web': 10 bytes in, but 8 out \+ 0 dropped \(\+2 not accounted for\)"):
        ledger.check("mix")
    ledger.drop("web", "edited away", bytes=2)
    ledger.check("mix")


def test_failed_records_count_as_taken_in() -> None:
    intake = Intake()
    intake.n_failed = 2
    intake.failed = [FailedRecord(file="a", line=3, offset=None, reason="no text")]
    intake.repair("invalid_utf8", 5)
    ledger = Ledger()
    ledger.fail("books", intake)
    ledger.check("tag")
    assert (ledger.total().taken.documents, ledger.total().failed, ledger.repaired) == (2, 2, {"invalid_utf8": 5})


def test_more_named_than_counted_is_refused() -> None:
    ledger = Ledger(failed=[FailedRecord(file="a", line=3, offset=0, reason="no text")])
    with pytest.raises(LedgerError, match="0 records are counted as failed and 1 are named"):
        ledger.check("tag")


def test_repeats_are_written_and_not_out() -> None:
    ledger = Ledger()
    ledger.take("books", documents=1, bytes=5)
    ledger.keep("books", documents=1, bytes=5)
    ledger.repeat("books", documents=3, bytes=15)
    ledger.check("mix")
    assert ledger.total().written == Tally(documents=4, bytes=20)
