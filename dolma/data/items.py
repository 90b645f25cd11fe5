r"""Benchmark items from local JSON lines.

An item has `text` and `answer`; with `choices` it is a ranked choice, without them a question whose answer is generated
and compared. `id` is its name, by default `file:line`.

Of a choice, the answer is its index from 0 (a number), its text, its letter, or its number from 1 (in a string); a
single choice is a passage, and the answer whether what is asked of it is true.

Of a question, the answer is a text or a number, or a list of them, any of which is right. How it is compared is said by
`metric`, else it follows from the answer: `number` if that is one or a list of them, or has one after `####` (GSM8K);
`math` if it has a `\boxed{}` (MATH); else `squad`. With `drop`, an answer in the list may be a list of spans. See
`dolma.data.answers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from dolma.data import streams
from dolma.data.answers import METRICS, Spans, number_of
from dolma.data.json_text import decode_json
from dolma.errors import DataError
from dolma.printable import printable

T = TypeVar("T")


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, its continuations, and which of them is right."""

    id: str
    prompt: str
    continuations: tuple[str, ...]
    gold: int


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt, the answers of which any is right, and how what is generated is compared with them."""

    id: str
    prompt: str
    answers: tuple[Spans, ...]
    metric: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an item asks, and the texts of which each answers it, as its file has them.

    There are none where the answer is yes or no.
    """

    id: str
    question: str
    answers: tuple[str, ...]


def read_items(path: str, *, limit: int | None = None) -> list[Choice | Question]:
    """The items of a file, the first `limit` of them.

    Raises:
        DataError: a line is no item; says which.
    """
    return _read(path, _item, limit)


def read_asked(path: str) -> list[Asked]:
    """What the items of a file ask.

    Raises:
        DataError: a line is no item; says which.
    """
    return _read(path, _asked, None)


def _read(path: str, make: Callable[[dict[str, Any], str], T], limit: int | None) -> list[T]:
    items: list[T] = []
    data = streams.read_decompressed(path)
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip() or (limit is not None and len(items) >= limit):
            continue
        try:
            items.append(make(decode_json(line, dict[str, Any]), f"{path}:{number}"))
        except (msgspec.DecodeError, ValueError) as error:
            raise DataError(
                f"is no item of a benchmark: {printable(error)}"
                "\n  write a text and an answer, or a text, choices and the number of the right one as answer",
                file=path,
                line=number,
            ) from error
    if not items:
        raise DataError("has no items\n  give a file with an item on each line", file=path)
    return items


def _item(fields: dict[str, Any], place: str) -> Choice | Question:
    for name in ("text", "answer"):
        if fields.get(name) is None:
            there = ", ".join(f"`{field}`" for field in fields) or "nothing"
            raise ValueError(f"`{name}` is missing; there is {there}")
    id, text, answer, choices = str(fields.get("id", place)), fields["text"], fields["answer"], fields.get("choices")
    if not isinstance(text, str):
        raise ValueError(f"`text` is {text!r}, expected a text")
    if choices is None:
        return _question(id, text, answer, fields.get("metric"))
    if not isinstance(choices, list) or not choices or not all(_is_plain(choice) for choice in choices):
        raise ValueError(f"`choices` is {choices!r}, expected a list of texts")
    choices = [str(choice) for choice in choices]
    if len(choices) == 1:  # a passage and a yes-no question (BoolQ)
        if str(answer).lower() not in ("true", "false"):
            raise ValueError(f"`answer` is {answer!r}: of a single choice, a passage, expected true or false")
        prompt = f"{choices[0]}\nQuestion: {text}?\nAnswer:"
        return Choice(id=id, prompt=prompt, continuations=(" no", " yes"), gold=int(str(answer).lower() == "true"))
    gold = gold_of(answer, choices)
    if len(choices) == 2 and text.count("_") == 1:  # the choices fill a gap (WinoGrande)
        before, after = text.split("_")
        return Choice(id=id, prompt=before, continuations=tuple(choice + after for choice in choices), gold=gold)
    prompt = f"Question: {text}\nAnswer:" if text.rstrip().endswith("?") else text
    return Choice(id=id, prompt=prompt, continuations=tuple(f" {choice}" for choice in choices), gold=gold)


def _asked(fields: dict[str, Any], place: str) -> Asked:
    item = _item(fields, place)
    if isinstance(item, Question):
        given = fields["answer"]
        spans = [_spans(one) for one in (given if isinstance(given, list) else [given])]
        answers = dict.fromkeys(" ".join(one) for one in (*spans, *item.answers))
    elif len(fields["choices"]) == 1:
        answers = {}
    else:
        answers = {str(fields["choices"][item.gold]): None}
    return Asked(id=item.id, question=fields["text"], answers=tuple(answers))


def gold_of(answer: Any, choices: list[str]) -> int:
    """The index of the right choice.

    >>> gold_of("B", ["x", "y"]), gold_of("y", ["x", "y"]), gold_of("2", ["x", "y"]), gold_of(1, ["x", "y"])
    (1, 1, 1, 1)

    Raises:
        ValueError: the answer is none of the choices, or its letter names one and its text another.
    """
    if isinstance(answer, int) and not isinstance(answer, bool):
        return _checked(answer, answer, choices)
    if not isinstance(answer, str):
        raise ValueError(f"`answer` is {answer!r}, expected the index, text, letter or number of a choice")
    is_letter = re.fullmatch(r"[A-Z]", answer) is not None
    by_letter = ord(answer) - ord("A") if is_letter else -1
    if answer in choices:
        by_text = choices.index(answer)
        if is_letter and by_letter < len(choices) and by_letter != by_text:
            raise ValueError(f"`answer` is {answer!r}: the letter of one of the choices and the text of another")
        return by_text
    return _checked(int(answer) - 1 if re.fullmatch(r"[0-9]{1,9}", answer) else by_letter, answer, choices)


def _checked(index: int, answer: Any, choices: list[str]) -> int:
    if not 0 <= index < len(choices):
        raise ValueError(f"`answer` is {answer!r}: none of the {len(choices)} choices")
    return index


def _question(id: str, text: str, answer: Any, metric: Any) -> Question:
    listed = answer if isinstance(answer, list) else [answer]
    answers = tuple(_spans(one) for one in listed)
    if not answers:
        raise ValueError("`answer` is an empty list")
    if metric is not None and metric not in METRICS:
        raise ValueError(f"`metric` is {metric!r}, expected one of {', '.join(METRICS)}")
    metric = metric or _metric_of(answers, answer)
    if metric != "drop" and any(len(spans) != 1 for spans in answers):
        raise ValueError("`answer` has a list within a list: spans are for `metric` drop")
    if metric == "number":
        answers = tuple((one.rpartition("####")[2].strip(),) for (one,) in answers)
        for (one,) in answers:
            if number_of(one) is None:
                raise ValueError(f"`answer` is {one!r}: no number, as `metric` number needs")
    return Question(id=id, prompt=f"Question: {text}\nAnswer:", answers=answers, metric=metric)


def _metric_of(answers: tuple[Spans, ...], answer: Any) -> str:
    if isinstance(answer, list):
        return "number" if all(map(_is_number, answer)) else "squad"
    text = answers[0][0]
    if number_of(text.rpartition("####")[2]) is not None:
        return "number"
    return "math" if "\\boxed" in text else "squad"


def _spans(answer: Any) -> Spans:
    spans = answer if isinstance(answer, list) else [answer]
    if not spans or not all(_is_plain(span) for span in spans):
        raise ValueError(f"`answer` holds {answer!r}, expected texts or numbers")
    return tuple(_text_of(span) for span in spans)


def _text_of(value: str | int | float) -> str:
    if isinstance(value, float):
        return format(Decimal(str(value)), "f")  # as numbers are written: 0.00001, not 1e-05
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float)
