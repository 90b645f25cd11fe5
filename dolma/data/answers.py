"""Whether a generated answer is right: one set of normalisations, as the benchmarks define them.

`squad` (Rajpurkar et al. 2016, arXiv:1606.05250; also of Natural Questions and TriviaQA), `drop` (Dua et al. 2019,
arXiv:1903.00161), `number` (GSM8K, Cobbe et al. 2021, arXiv:2110.14168) and `math` (the rules of Minerva, Lewkowycz et
al. 2022, arXiv:2206.14858, appendix D.1, then those of Hendrycks et al. 2021, arXiv:2103.03874). Of `math`, formulas
that are equal only after algebra count as different: that needs a computer algebra system.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache

import msgspec

Spans = tuple[str, ...]
"""One answer: usually one text, of DROP a list of them in any order."""


class Score(msgspec.Struct, frozen=True):
    """`exact`: the answer is one of those expected. `f1`: how many of its words it shares with the nearest, 0-1."""

    exact: bool
    f1: float


def score(metric: str, said: str, expected: Sequence[Spans]) -> Score:
    """How right the text that a model generated is, by the best of several expected answers.

    Of `squad` and `drop` the answer is the text's first line, of `number` the last number after `####` or else before a
    blank line, of `math` what follows "the final answer is", else the last box, else the last formula.

    >>> score("squad", " The Apollo 11.\\nQuestion:", [("Apollo 11",)]).exact
    True
    >>> score("number", "3 * 6 = 18, so she has $18.00.", [("18",)]).exact
    True
    """
    found = [METRICS[metric](said, spans) for spans in expected]
    return Score(any(one.exact for one in found), max(one.f1 for one in found))


# --- text ------------------------------------------------------------------------------------------------------------

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised_text(text: str) -> str:
    """SQuAD's form of a text: lower case, without ASCII punctuation and articles, words one space apart.

    >>> normalised_text("The  Apollo-Program's")
    'apolloprograms'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def first_line(text: str) -> str:
    """The first line of a text that is not blank, without spaces around it."""
    return text.strip().split("\n", 1)[0].strip()


def _squad(said: str, expected: Spans) -> Score:
    found, gold = normalised_text(first_line(said)), normalised_text(expected[0])
    return Score(found == gold, _f1(Counter(found.split()), Counter(gold.split())))


def _f1(found: Counter[str], gold: Counter[str]) -> float:
    if not found or not gold:
        return float(found == gold)
    shared = (found & gold).total()
    return 2 * shared / (found.total() + gold.total())


def normalised_drop(text: str) -> str:
    """DROP's form of a span: as SQuAD's, but split at hyphens too, and with numbers in their decimal form.

    >>> normalised_drop("The 1,200 touch-downs"), normalised_drop("7")
    ('1200.0 touch downs', '7.0')
    """
    words = (_drop_word(word) for word in re.split("[ -]", text))
    return " ".join(word for word in words if word)


def _drop_word(word: str) -> str:
    word = word.lower()
    if not _is_number(word):
        word = word.translate(_PUNCTUATION)
    if _is_number(word):
        word = str(float(word))
    return " ".join(_ARTICLES.sub(" ", word).split())


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _drop(said: str, expected: Spans) -> Score:
    found, gold = [normalised_drop(first_line(said))], [normalised_drop(span) for span in expected]
    return Score(Counter(found) == Counter(gold), drop_f1(found, gold))


def drop_f1(found: Sequence[str], gold: Sequence[str]) -> float:
    """The mean F1 of spans, paired as well as can be; those without a partner count 0; two decimals.

    A pair counts 0 when the expected span has numbers and none of them is in the other. Spans are normalised.

    >>> drop_f1(["red", "dark blue"], ["blue", "red"])
    0.83
    """
    short, long = sorted((found, gold), key=len)
    overlaps = [[_drop_pair(one, two) for two in gold] for one in found]
    if short is gold:
        overlaps = [list(column) for column in zip(*overlaps, strict=True)]

    @cache
    def best(at: int, taken: frozenset[int]) -> float:
        if at == len(short):
            return 0.0
        free = [other for other in range(len(long)) if other not in taken]
        return max(overlaps[at][other] + best(at + 1, taken | {other}) for other in free)

    return round(best(0, frozenset()) / len(long), 2)


def _drop_pair(found: str, gold: str) -> float:
    one, two = set(found.split()), set(gold.split())
    numbers = {word for word in two if _is_number(word)}
    if numbers and not numbers & one:
        return 0.0
    return _f1(Counter(one), Counter(two))


# --- numbers ---------------------------------------------------------------------------------------------------------

# A minus is a sign before a number, and an operator after a digit, a letter or a bracket. With a space behind it, it is
# a sign only after an equals sign, a colon or the like, or at the beginning. Commas part groups of three.
_SIGN = r"(?:(?<![\w)\]])-|(?:(?<=[=#:(\n] )|(?<=[=#:(\n])|^)- )?"
_NUMBER = re.compile(_SIGN + r"\$?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)")


def numbers_in(text: str) -> list[Decimal]:
    """The numbers of a text, in order.

    >>> [str(x) for x in numbers_in("1,018 apples at $18.00 - 3, (5-3=2 left)")]
    ['1018', '18.00', '3', '5', '3', '2']
    """
    return [Decimal(re.sub(r"[\s$,]", "", match[0])) for match in _NUMBER.finditer(text)]


def number_of(text: str) -> Decimal | None:
    """The number that a whole text is, with a currency sign, commas and a final dot if need be; None: it is none.

    >>> number_of(" $1,018.50. "), number_of("11 o'clock")
    (Decimal('1018.50'), None)
    """
    text = text.strip().removesuffix(".")
    match = _NUMBER.fullmatch(text)
    return numbers_in(text)[0] if match else None


def _number(said: str, expected: Spans) -> Score:
    found = numbers_in(re.split(r"\n\s*\n", said.strip(), maxsplit=1)[0])
    if "####" in said:
        found = numbers_in(said.rpartition("####")[2])
    right = bool(found) and found[-1] == number_of(expected[0])
    return Score(right, float(right))


# --- formulas --------------------------------------------------------------------------------------------------------

_FINAL = re.compile(r"(?:final )?answer is:?\s*(.+?)(?:\.\s*I hope|\.?\s*(?:\n|$))", re.IGNORECASE)
_DROPPED = ("\\left", "\\right", r"\$", r"\ ", " ")
# Whole words only: the published rule takes "ft" out of "\left", too.
_WORDS = re.compile(
    r"(?<![A-Za-z\\])(?:an?|square|ways|integers|dollars|mph|inches|ft|hours|km|units|points|feet|minutes|digits|cents|"
    r"degrees|cm|gm|pounds|meters|meals|edges|students|multiples)(?![A-Za-z])"
)
_MARKS = (r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"', r"\dots", r"\ldots", r"\mathrm{th}")
_WRAPPERS = re.compile(r"\\(?:text|textbf|overline|boxed|mbox)\{([^{}]*)\}")


def answer_in_math(text: str) -> str:
    """The part of a solution that is its answer.

    >>> answer_in_math(r"So $x^2=4$ and $x$ is \\boxed{\\frac{1}{2}}.")
    '\\\\frac{1}{2}'
    """
    if phrase := list(_FINAL.finditer(text)):
        return phrase[-1][1]
    box = text.rfind("\\boxed")
    if box >= 0:
        inside = _braced(text[box + len("\\boxed") :])
        return inside if inside is not None else text[box + len("\\boxed") :].strip().split(" ")[0]
    formulas = re.findall(r"\$([^$]+)\$", text)
    return formulas[-1] if formulas else text


def _braced(text: str) -> str | None:
    """What is between the braces that a text begins with; None: it begins with none."""
    if not text.startswith("{"):
        return None
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[1:at]
    return None


def normalised_math(text: str) -> str:
    """Minerva's form of a formula.

    >>> normalised_math(r"x = \\frac12 \\text{ cm}"), normalised_math(r"$1,000$ dollars")
    ('\\\\frac{1}{2}', '1000')
    """
    text = _WORDS.sub("", text.split("=")[-1])
    for dropped in (*_DROPPED, *_MARKS):
        text = text.replace(dropped, "")
    text = text.replace("mbox", "text").replace(r",\text{and}", ",").replace(r"\text{and}", ",")
    if formula := re.search(r"\$(.*?)\$", text):
        text = formula[1]
    while (unwrapped := _WRAPPERS.sub(r"\1", text)) != text:
        text = unwrapped
    text = re.sub(r"frac([^{])(.)", r"frac{\1}{\2}", text)
    text = re.sub(r"sqrt([^{])", r"sqrt{\1}", text).replace("$", "")
    return text.replace(",", "") if text.replace(",", "").isdigit() else text


def _stripped_math(text: str) -> str:
    """The form of Hendrycks et al.: no percent sign, fractions of one kind, numbers with a zero."""
    for before, after in (
        ("\\!", ""),
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        ("\\%", ""),
        ("%", ""),
    ):
        text = text.replace(before, after)
    text = re.sub(r"(^|\{)\.(?=\d)", r"\g<1>0.", text)
    text = re.sub(r"^\w{1,2}=", "", text)
    text = r"\frac{1}{2}" if text == "0.5" else text
    return re.sub(r"^(-?\d+)/(-?\d+)$", r"\\frac{\1}{\2}", text)


def _math(said: str, expected: Spans) -> Score:
    found, gold = normalised_math(answer_in_math(said)), normalised_math(answer_in_math(expected[0]))
    right = found == gold or _stripped_math(found) == _stripped_math(gold)
    return Score(right, float(right))


METRICS: dict[str, Callable[[str, Spans], Score]] = {"squad": _squad, "drop": _drop, "number": _number, "math": _math}
"""The ways to compare, by name."""
