"""Mojibake and other damage of encodings. Run: `pytest tests/taggers/test_encoding.py`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from dolma.data.batch import TextBatch
from dolma.taggers.encoding import Encoding

SAMPLE = Path(__file__).parents[2] / "data/sample"


def sample_texts() -> list[str]:
    texts = []
    for path in sorted(SAMPLE.glob("*/documents/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            texts += [json.loads(line)["text"] for line in lines]
    return texts


def misread(text: str) -> str:
    """The text's UTF-8 read as CP1252, as Latin-1 where that has no character."""
    return "".join(bytes([b]).decode("cp1252") if b not in b"\x81\x8d\x8f\x90\x9d" else chr(b) for b in text.encode())


def found_in(text: str) -> list[str]:
    spans = Encoding()(TextBatch.of([text]))["mojibake"].to_pylist()[0]
    return [text[span["start"] : span["end"]] for span in spans]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("RenÃ© PÃ©rez", ["Ã©", "Ã©"]),
        ("itâ€™s â€œsoâ€\x9d", ["â€™", "â€œ", "â€\x9d"]),
        ("ÐŸÑ€Ð¸Ð²ÐµÑ‚ æ—¥æœ¬", ["ÐŸÑ€Ð¸Ð²ÐµÑ‚", "æ—¥æœ¬"]),
        ("ðŸ˜€ ï¿½", ["ðŸ˜€", "ï¿½"]),
        ("lost â€ tail", ["â€"]),
        ("wordÂ  5Â km voilÃ  lÃ¡ Wâ†’X", ["Â ", "Â ", "Ã ", "Ã¡", "â†’"]),
    ],
)
def test_mojibake_is_found(text: str, found: list[str]) -> None:
    assert found_in(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "„Spaß“ – Fuß… ‚daß‘ Straß» É… CAFÉ’S",
        "NÃO, MAÇÃ» IRMÃ… É – Úžasný KŘÍŽ ŠÍP",
        "allé… » il est à\xa0» “café—” Nestlé® Comment ça\xa0? Noël¹²",
        "3\xa0×\xa04 Ø\xa05 mm Co máš… níž”",
        "Bản đồ Ấn Độ; Ă ă Â â; Εκείνος; Это; náššuvnnai kuáskulâžžân",
    ],
)
def test_sound_text_has_none(text: str) -> None:
    assert found_in(text) == []


def test_a_sequence_misread_twice_is_counted():
    columns = Encoding()(TextBatch.of([misread(misread("né")), misread("né")]))
    assert columns["double_mojibake"].to_pylist() == [1, 0]


def test_damage_of_all_kinds_counts_each_code_point_once():
    columns = Encoding()(TextBatch.of(["Ã\x83", "\ufffda\x85\ufeff\x07\f\ufdd0\u202e\xad\u200b\ue000\u0378"]))
    values = {name: column.to_pylist() for name, column in columns.items()}
    assert values["damaged_share"] == [1.0, pytest.approx(4 / 12)]
    singles = set(values) - {"mojibake", "mojibake_sequences", "double_mojibake", "damaged_share", "replacement_share"}
    assert {name: values[name][1] for name in singles} == dict.fromkeys(singles, 1)


def test_sound_documents_have_no_mojibake_and_misread_ones_do():
    sound = sample_texts()
    columns = Encoding()(TextBatch.of(sound + [misread(text) for text in sound]))
    sequences = columns["mojibake_sequences"].to_pylist()
    wrong = [text for text, n in zip(sound, sequences[: len(sound)], strict=True) if n]
    missed = [
        text
        for text, n in zip(sound, sequences[len(sound) :], strict=True)
        if not n and sum(not c.isascii() for c in text) > 2
    ]
    assert (wrong, missed) == ([], [])
