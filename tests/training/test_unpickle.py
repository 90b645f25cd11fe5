"""Pickles are read without running them. Run: pytest tests/training/test_unpickle.py"""

from __future__ import annotations

import collections
import pickle
import struct
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dolma.errors import DataError
from dolma.training import unpickle
from dolma.training.unpickle import PERSISTENT, Name, Record, load
from tests.training import hostile

NAMES = {Name("collections", "OrderedDict"), Name("os", "system"), Name("builtins", "eval")}
START = b"\x80\x04"
WAYS = sorted(hostile.pickles(""))
OPCODES = b"(.N\x88\x89KMJG\x8a\x8cX)\x85\x86\x87t]ae}suhjqrb\x94c\x93\x81RbQ\x80\x95"


def read(data: bytes, *, names: set = NAMES) -> Any:
    return load(data, names=names, what="value", file="a.pkl")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(-(2**63), 2**64 - 1), inner)
    ),
)


@given(plain, st.integers(2, 5))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


def test_long_lists_and_shared_values_come_back() -> None:
    shared = ["x"] * 3000
    found = read(pickle.dumps([shared, shared, {str(i): i for i in range(3000)}]))
    assert found[0] == shared
    assert found[0] is found[1]
    assert found[2]["2999"] == 2999


@pytest.mark.parametrize("protocol", range(2, 6))
def test_an_object_is_described_and_not_made(protocol: int) -> None:
    found = read(pickle.dumps([collections.OrderedDict(), 1], protocol))
    assert isinstance(found[0], Record)
    assert (found[0].kind, found[0].args, found[0].state) == (("collections", "OrderedDict"), (), None)


def test_what_is_kept_elsewhere_is_described() -> None:
    found = read(START + b"K\x07Q.")
    assert (found.kind, found.args) == (PERSISTENT, (7,))


@pytest.mark.parametrize("way", WAYS)
def test_a_hostile_pickle_is_one(way: str, tmp_path: Path) -> None:
    with hostile.extension():
        pickle.loads(hostile.pickles(str(tmp_path / "marker"))[way])
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("allowed", [set(), NAMES], ids=["no names", "its names"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_run(way: str, allowed: set, tmp_path: Path) -> None:
    data = hostile.pickles(str(tmp_path / "marker"))[way]
    with hostile.extension():
        try:
            assert isinstance(read(data, names=allowed), (Record, dict))
        except DataError as error:
            assert str(error).startswith("a.pkl: is no value: ")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["os.system", "system.__call__", "", "System", "system "])
def test_a_name_is_compared_as_a_whole(name: str) -> None:
    with pytest.raises(DataError, match=r"names os\..*, which no checkpoint needs"):
        read(START + hostile.named("os", name) + b".")
    with pytest.raises(DataError, match=r"names os\..*, which no checkpoint needs"):
        read(START + b"cos\n" + name.encode() + b"\n.")


def test_a_name_cannot_write_to_the_terminal() -> None:
    with pytest.raises(DataError, match=r"names os\.\\x1b\[31m\\nred, which") as caught:
        read(START + hostile.named("os", "\x1b[31m\nred") + b".")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends too early"),
        (START + b"K", "ends too early"),
        (START + b"X\xff\xff\xff\xffabc.", "ends too early"),
        (START + b"\x8a\xff\x01.", "ends too early"),
        (START + b"\x8c\x01\xff.", "text that is not UTF-8"),
        (START + b"N", "ends too early"),
        (START + b".", "its end is not where it should be"),
        (START + b"NN.", "its end is not where it should be"),
        (START + b"N.N", "its end is not where it should be"),
        (START + b"(N.", "its end is not where it should be"),
        (START + b"\x85.", "takes a value that is not there"),
        (START + b"N(\x85.", "takes a value that is not there"),
        (START + b"t.", "takes a mark that is not there"),
        (START + b"]N(s.", "takes a value that is not there"),
        (START + b"NNa.", "has a NoneType, expected a list"),
        (START + b"}NNNu.", "takes a mark that is not there"),
        (START + b"}(NNNu.", "has a key without a value"),
        (START + b"})Ns.", "has a key that is a tuple"),
        (START + b"h\x00.", "goes back to a value that is not there"),
        (START + b"Nq\x01.", "remembers values out of order"),
        (START + b"Nr\xff\xff\xff\x7f.", "remembers values out of order"),
        (START + b"q\x00.", "takes a value that is not there"),
        (START + b"N)R.", "has a NoneType, expected a Name"),
        (START + b"NNb.", "has a NoneType, expected a Record"),
        (START + hostile.named("os", "system") + b")RK\x01bK\x01b.", "gives an object its state twice"),
        (START + b"cos\nsystem", "has a name without an end"),
        (START + b"c" + b"a" * 300 + b"\nb\n.", "has a name without an end"),
        (b"\x80\x06N.", "is not of one of the protocols 2 to 5"),
        (b"\x80\x01N.", "is not of one of the protocols 2 to 5"),
        (START + b"N2.", "the opcode 0x32 is not one that a checkpoint needs"),
        (START + b"(" * 70000, "more than 65,536 marks stand open"),
        (START + b"N" * 70000, "more than 65,536 values wait"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_pickle_is_said_to_be_none(data: bytes, said: str) -> None:
    with pytest.raises(DataError, match=rf"a\.pkl: is no value: .*{said}.* \(byte \d+\)"):
        read(data)


@given(st.binary() | st.lists(st.sampled_from(OPCODES), max_size=80).map(bytes))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        read(START + data)
    except DataError:
        return


BOMBS = {
    "a place in the memo": START + b"Nr\xff\xff\xff\x7f.",
    "a length": START + b"X\xff\xff\xff\xff" + b"a" * 100 + b".",
    "a frame": START + b"\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "doubled lists": START + b"]" + b"\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(60)) + b".",
    "doubled tuples": START + b")\x94" + b"".join(b"0h%ch%c\x86\x94" % (i, i) for i in range(60)) + b".",
    "a list in itself": START + b"]\x94h\x00a.",
    "deep": START + b")" + b"\x85" * 60_000 + b".",
}


@pytest.mark.parametrize("bomb", sorted(BOMBS))
def test_memory_is_proportional_to_the_input(bomb: str) -> None:
    tracemalloc.start()
    try:
        try:
            read(BOMBS[bomb])
        except DataError:
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000 + 80 * len(BOMBS[bomb])


def test_keys_that_have_one_hash_are_refused() -> None:
    """A dictionary of them takes time that grows with the square of its size."""
    numbers = [i * sys.hash_info.modulus for i in range(1, 2000)]
    assert len({hash(number) for number in numbers}) == 1
    with pytest.raises(DataError, match="has a key that is a whole number of more than 64 bits"):
        read(pickle.dumps(dict.fromkeys(numbers), 4))


def test_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpickle, "_MAX_OPCODES", 1000)
    assert read(START + b"]" + b"Na" * 498 + b".") == [None] * 498
    with pytest.raises(DataError, match="has more than 1,000 opcodes, which no checkpoint needs"):
        read(START + b"]" + b"Na" * 500 + b".")
