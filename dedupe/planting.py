"""Items put into copies of documents in memory, in the ways in which they get into real ones: how many are found?"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from dolma.data.batch import TextBatch
from dolma.data.items import Asked
from dolma.dedupers.item_search import Scores, Search
from dolma.dedupers.items import Benchmarks
from dolma.dedupers.notes import Recall
from dolma.runner.seeds import derive_seed

PLANTED = 1_000
"""Items that are put into documents, at most; of long and of short ones."""
SHORT = 13
"""Words below which an item is short."""
_WRAPPED = 8  # words of a line
_OF_CHANGED = 10  # of so many words, one is another

_gaps = re.compile(r"\s+")


def _whole(item: Asked, rng: random.Random) -> str:
    return f"{item.question}\n{item.answers[0]}" if item.answers else item.question


def _wrapped(item: Asked, rng: random.Random) -> str:
    words = _whole(item, rng).split()
    return "\n".join(" ".join(words[i : i + _WRAPPED]) for i in range(0, len(words), _WRAPPED))


def _plain(item: Asked, rng: random.Random) -> str:
    return _whole(item, rng).replace("?", "").lower()


def _question(item: Asked, rng: random.Random) -> str:
    return item.question


def _changed(item: Asked, rng: random.Random) -> str:
    words = _whole(item, rng).split(" ")
    for i in rng.sample(range(len(words)), round(len(words) / _OF_CHANGED)):
        words[i] = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6))
    return " ".join(words)


CHANGED = "one word in ten changed"
MANNERS: dict[str, Callable[[Asked, random.Random], str]] = {
    "as it is": _whole,
    "inside a paragraph": _whole,
    "8 words a line": _wrapped,
    "without question mark and case": _plain,
    "question without answer": _question,
    CHANGED: _changed,
}


def planted(text: str, item: Asked, manner: str, rng: random.Random) -> str:
    """The text with the item in it: at the end of a line, or between two words of one."""
    said = MANNERS[manner](item, rng)
    inside = manner == "inside a paragraph"
    places = [match.start() for match in _gaps.finditer(text) if inside or "\n" in match.group()] or [len(text)]
    at = rng.choice(places)
    around = " " if inside else "\n"
    return text[:at] + around + said + around + text[at:]


def recall_of(
    benchmarks: Benchmarks, asked: Sequence[Asked], texts: Sequence[str], *, scores: Scores, threshold: float
) -> list[Recall]:
    """How many items are found of those that are put into texts, for each manner, of long and of short items.

    An item is found if it, or one that asks the same in other letters, reaches the threshold. `texts` are taken by
    chance, and are few or short enough to be in memory together; without any, an empty one is taken.
    """
    rng = random.Random(derive_seed(0, "self-check"))
    short = [len(item.question.split()) < SHORT for item in asked]
    same = _same_questions(benchmarks)
    found = []
    for kind, wanted in ((f"{SHORT} words or more", False), (f"fewer than {SHORT} words", True)):
        numbers = [i for i, is_short in enumerate(short) if is_short == wanted]
        chosen = sorted(rng.sample(numbers, min(PLANTED, len(numbers))))
        for manner in MANNERS if chosen else ():
            made = [planted(rng.choice(texts or [""]), asked[i], manner, rng) for i in chosen]
            hits = Search(benchmarks)(TextBatch.of(made))
            reached = set()
            for at, item, covered, answer, weight in zip(
                hits.document, hits.item, hits.covered, hits.answer, hits.answer_weight, strict=True
            ):
                if same[item] == same[chosen[at]] and scores(item, covered, answer, weight) >= threshold:
                    reached.add(at)
            found.append(Recall(items=kind, manner=manner, planted=len(chosen), found=len(reached)))
    return found


def _same_questions(benchmarks: Benchmarks) -> list[bytes]:
    """What two items have in common that ask the same."""
    items = benchmarks.items
    return [items.words[items.index[i] : items.index[i + 1]].tobytes() for i in range(len(items))]
