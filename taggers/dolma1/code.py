"""Source code as Dolma 1.x measures it (`python/dolma/taggers/code` and `code_composition.py` of 1.2.1).

- `code_copyright_comments_v1` and `code_redpajama_taggers_v1`: the rules of RedPajama's code filter. The first C
  comment of a file if it says "copyright"; where there is no C comment, the lines at the beginning that begin with
  "//", "#" or "--" or are empty. Other lines are those of `str.splitlines`; tokens are those of
  `whitespace_tokenizer_v1`, plus one.
- `code_starcoder_taggers_v1`, `_v2`: StarCoder's (Li et al. 2023, arXiv:2305.06161, section 3.4), as 1.x has them. The
  language is that of `metadata.ext`. Comments are those of pygments, of Python those of `tokenize` and the docstrings
  of `ast`, so what is no Python of this interpreter has none; visible text is that of Beautiful Soup with
  `html.parser`.
- `code_secrets_v1`: detect-secrets 1.4, all 22 detectors, nothing verified. A secret is told once for each detector,
  where it first is. A detector says only what it has found and in which line: the span is the first place there where
  it is not part of a longer word. Lines in which no detector can find anything are not shown to them.
- `code_composition`: each line that is not blank by a fastText model, `path`, of "code", "prose" and others; a line of
  three characters or fewer is "other".

Cost on one core of a 2-core cloud machine, 2026-11-26, in MB/s of source code: 600 `code_copyright_comments_v1`, 240
`code_redpajama_taggers_v1`, 1 and 140 `code_starcoder_taggers_v1` and `_v2` (which asks the libraries about four
languages only), 4 `code_secrets_v1`, 0.2 in 1.2.1. Those that ask libraries are linear where these are: expressions
of detect-secrets are not, on one long line.
"""

from __future__ import annotations

import ast
import functools
import io
import itertools
import json
import re
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dolma.data.batch import TextBatch
from dolma.data.columns import Columns, DocFloat, DocInt, Output, Spans, spans_of
from dolma.errors import MissingExtraError
from dolma.kernels.automata import counts_of
from dolma.kernels.code import text_sums
from dolma.kernels.views import word_spans
from dolma.models.fetch import fetched_path
from dolma.taggers.catalogue import Need
from dolma.taggers.dolma1.code_extensions import language_of
from dolma.taggers.dolma1.lengths import tokens
from dolma.taggers.fasttext import classifier_at, output_name

EXTRA = "code"
_EXTRA = Need(kind="extra", name=EXTRA, get=f"pip install 'dolma[{EXTRA}]'")
Place = tuple[int, int, float]

# --- copyright notices -----------------------------------------------------------------------------------------------

_COPYRIGHT = re.compile("copyright", re.IGNORECASE)
_COMMENT_STARTS = ("//", "#", "--")


class CodeCopyrightCommentsV1:
    """The copyright notice, or the comments at the beginning, and their share of the text.

    >>> columns = CodeCopyrightCommentsV1()(TextBatch.of(["// by me\\nint a;", "/* Copyright: me */ int a;"]))
    >>> columns["comment_block"].to_pylist()[0], columns["copyright_notice"].to_pylist()[1]
    ([{'start': 0, 'end': 8, 'score': 1.0}], [{'start': 0, 'end': 19, 'score': 1.0}])
    """

    name = "code_copyright_comments_v1"
    version = 1
    outputs = {
        "copyright_notice": Spans("the first C comment, if it says 'copyright'", range="1"),
        "comment_block": Spans(
            "where there is no C comment: the comment lines and empty lines at the start", range="1"
        ),
        "doc": DocFloat("share of the characters that are in the span; -1 for an empty text", range="0-1, or -1"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """At most one span and one value per document."""
        notices: list[list[Place]] = []
        blocks: list[list[Place]] = []
        shares = []
        for text in batch.texts():
            comment = _first_c_comment(text)
            place = _leading_lines(text) if comment is None else comment
            is_notice = comment is not None and _COPYRIGHT.search(text, *comment) is not None
            notices.append([(*place, 1.0)] if is_notice and place else [])
            blocks.append([(*place, 1.0)] if comment is None and place else [])
            counts = is_notice or comment is None
            shares.append((place[1] - place[0]) / len(text) if counts and place else 0.0 if text else -1.0)
        return {
            "copyright_notice": spans_of(notices),
            "comment_block": spans_of(blocks),
            "doc": pa.array(shares, pa.float64()),
        }


def _first_c_comment(text: str) -> tuple[int, int] | None:
    start = text.find("/*")
    end = text.find("*/", start + 2) if start >= 0 else -1
    return (start, end + 2) if end >= 0 else None


def _leading_lines(text: str) -> tuple[int, int] | None:
    """From the beginning to the end of the last line that is a comment or empty; None if there is no such line."""
    end, start = -1, 0
    while start < len(text) and (text.startswith(_COMMENT_STARTS, start) or text[start] == "\n"):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        start = end + 1
    # What follows the last "\n" is an empty line too.
    return None if end < 0 else (0, len(text) if start == len(text) else end)


# --- RedPajama -------------------------------------------------------------------------------------------------------


class CodeRedpajamaTaggersV1:
    """Line lengths and shares of letters, for RedPajama's rules for code.

    >>> columns = CodeRedpajamaTaggersV1()(TextBatch.of(["a = 1\\nb"]))
    >>> columns["max_line_length_doc"].to_pylist(), columns["avg_line_length_doc"].to_pylist()
    ([5], [3.0])
    """

    name = "code_redpajama_taggers_v1"
    version = 1
    outputs = {
        "max_line_length_doc": DocInt("the longest line", unit="code points"),
        "avg_line_length_doc": DocFloat("mean over the lines", unit="code points", range=">= 0"),
        "alnum_prop_doc": DocFloat("letters and digits, of all characters", range="0-1"),
        "alpha_token_prop_doc": DocFloat("letters per token, with one token more than there are", range=">= 0"),
    }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each output; 0 for an empty text."""
        lines, longest, total, _, alnum, alpha, _, points = batch.view(text_sums).T
        n_tokens = counts_of(batch.utf8, batch.offsets[:-1], batch.offsets[1:], tokens())[:, 0] + 1
        return {
            "max_line_length_doc": pa.array(longest),
            "avg_line_length_doc": pa.array(total / np.maximum(lines, 1)),
            "alnum_prop_doc": pa.array(alnum / np.maximum(points, 1)),
            "alpha_token_prop_doc": pa.array(alpha / n_tokens),
        }


# --- StarCoder -------------------------------------------------------------------------------------------------------

_KINDS = {ast.ClassDef: 0, ast.FunctionDef: 1, ast.Module: 2}


class CodeStarcoderTaggersV1:
    """StarCoder's measures: XML declarations, stars of the repository, comments, visible text of HTML."""

    name = "code_starcoder_taggers_v1"
    version = 1
    needs = (
        _EXTRA,
        Need(kind="metadata", name="metadata.ext", get="an extension without the dot, as in The Stack"),
        Need(kind="metadata", name="metadata.max_stars_count", get="a number, as in The Stack"),
    )
    outputs: Mapping[str, Output] = {
        "has_xml_template_doc": DocFloat("1 if '<?xml version=' is in the first 100 characters", range="0, 1"),
        "num_github_stars_doc": DocFloat("`metadata.max_stars_count`; 0 where there is none", range=">= 0"),
        "nl_ratio_doc": DocFloat(
            "comments, of all characters; -1 for an empty text and an unknown language", range="0-1, or -1"
        ),
        "code_to_text_ratio_html_doc": DocFloat(
            "of HTML the visible text, 0 if it is 100 characters or fewer; of others 1; -1 as above", range="0-1, or -1"
        ),
    }

    def __init__(self) -> None:
        """Find the libraries.

        Raises:
            MissingExtraError: they are not installed.
        """
        self._visible = _visible_text(self.name)

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each output."""
        given = [None] * len(batch) if batch.metadata is None else batch.metadata
        rows = []
        for text, encoded in zip(batch.texts(), given, strict=True):
            extension, stars = _fields(encoded)
            xml = float("<?xml version=" in text[:100])
            rows.append((xml, stars, *self._ratios(text, language_of(extension))))
        columns = zip(*rows, strict=True) if rows else ([] for _ in self.outputs)
        return {name: pa.array(column, pa.float64()) for name, column in zip(self.outputs, columns, strict=True)}

    def _ratios(self, text: str, language: str | None) -> tuple[float, float]:
        """Comments, and visible text."""
        if language is None or not text:
            return -1.0, -1.0
        visible = self._html_ratio(text) if language == "html" else 1.0
        return (-1.0, -1.0) if visible < 0 else (_comment_ratio(text, language), visible)

    def _html_ratio(self, html: str) -> float:
        n = self._visible(html)
        return -1.0 if n is None else n / len(html) * (n > 100)


class CodeStarcoderTaggersV2(CodeStarcoderTaggersV1):
    """StarCoder's measures, with comments of Python, Java and JavaScript only."""

    name = "code_starcoder_taggers_v2"
    outputs: Mapping[str, Output] = {
        "has_xml_template_doc": CodeStarcoderTaggersV1.outputs["has_xml_template_doc"],
        "num_github_stars_doc": CodeStarcoderTaggersV1.outputs["num_github_stars_doc"],
        "code_to_comment_ratio_doc": DocFloat(
            "comments, of all characters, in Python, Java and JavaScript; of others 0.5; -1 for an empty text",
            range="0-1, or -1",
        ),
        "code_to_text_ratio_html_doc": DocFloat(
            "of HTML the visible text, 0 if it is 100 characters or fewer; of others 1", range="0-1, or -1"
        ),
    }

    def _ratios(self, text: str, language: str | None) -> tuple[float, float]:
        comments = 0.5
        if language in ("python", "java", "javascript"):
            comments = _comment_ratio(text, language) if text else -1.0
        visible = 1.0
        if language == "html":
            visible = self._html_ratio(text) if text else -1.0
        return comments, visible


def _fields(encoded: bytes | None) -> tuple[str, float]:
    """The extension, "" where there is none, and the stars, 0 where there are none."""
    metadata = json.loads(encoded) if encoded else None
    if not isinstance(metadata, dict):
        return "", 0.0
    extension, stars = metadata.get("ext"), metadata.get("max_stars_count")
    return (extension if isinstance(extension, str) else ""), (float(stars) if isinstance(stars, int | float) else 0.0)


def _comment_ratio(text: str, language: str) -> float:
    """Characters of comments to all."""
    if language == "python":
        return _python_prose(text) / len(text)
    from pygments.token import Comment

    counted = (Comment.Multiline, Comment.Single)
    return sum(len(token) for kind, token in _lexer(language).get_tokens(text) if kind in counted) / len(text)


@functools.cache
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language)


def _python_prose(text: str) -> int:
    """Characters of docstrings and of comments without their "#"; none of what cannot be parsed, or cut into tokens."""
    return len("\n".join([*_docstrings(text), _python_comments(text)]).strip())


def _docstrings(text: str) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            nodes: list[Any] = [node for node in ast.walk(ast.parse(text)) if isinstance(node, tuple(_KINDS))]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return []
    nodes.sort(key=lambda node: (_KINDS[type(node)], getattr(node, "name", "")))
    return [found for node in nodes if (found := ast.get_docstring(node))]


def _python_comments(text: str) -> str:
    try:
        found = [
            token.string
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type == tokenize.COMMENT
        ]
    except (tokenize.TokenError, SyntaxError):
        return ""
    return "".join(found).replace("#", "")


def _visible_text(tagger: str) -> Callable[[str], int | None]:
    """A function of HTML: characters outside scripts, styles and tags; None where the parser gives up."""
    try:
        import bs4
        import pygments  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("beautifulsoup4", extra=EXTRA, purpose=f"the tagger {tagger!r}") from error

    def visible(html: str) -> int | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # texts that look like a URL or a file's name
            try:
                soup = bs4.BeautifulSoup(html, features="html.parser")
                for element in soup(["script", "style"]):
                    element.extract()
                return len(soup.get_text())
            except (bs4.ParserRejectedMarkup, RecursionError):
                return None

    return visible


# --- secrets ---------------------------------------------------------------------------------------------------------

DETECTORS = {
    "ArtifactoryDetector": "Artifactory Credentials",
    "AWSKeyDetector": "AWS Access Key",
    "AzureStorageKeyDetector": "Azure Storage Account access key",
    "Base64HighEntropyString": "Base64 High Entropy String",
    "BasicAuthDetector": "Basic Auth Credentials",
    "CloudantDetector": "Cloudant Credentials",
    "DiscordBotTokenDetector": "Discord Bot Token",
    "GitHubTokenDetector": "GitHub Token",
    "HexHighEntropyString": "Hex High Entropy String",
    "IbmCloudIamDetector": "IBM Cloud IAM Key",
    "IbmCosHmacDetector": "IBM COS HMAC Credentials",
    "JwtTokenDetector": "JSON Web Token",
    "KeywordDetector": "Secret Keyword",
    "MailchimpDetector": "Mailchimp Access Key",
    "NpmDetector": "NPM tokens",
    "PrivateKeyDetector": "Private Key",
    "SendGridDetector": "SendGrid API Key",
    "SlackDetector": "Slack Token",
    "SoftlayerDetector": "SoftLayer Credentials",
    "SquareOAuthDetector": "Square OAuth Secret",
    "StripeDetector": "Stripe Access Key",
    "TwilioKeyDetector": "Twilio API Key",
}
"""The detectors of detect-secrets 1.4, and the kinds of secrets that they tell."""

# The file that 1.2.1 pretends to read: as in YAML, a password needs no quotation marks.
_FILE = "code_str.yml"


def _output_of(kind: str) -> str:
    return "SECRET_" + kind.replace(" ", "_")


class CodeSecretsV1:
    """Keys, passwords and random strings as detect-secrets finds them, and how many there are per word."""

    name = "code_secrets_v1"
    version = 1
    needs = (_EXTRA,)
    outputs: Mapping[str, Output] = {
        **{_output_of(kind): Spans(f"found by {detector}", range="1") for detector, kind in DETECTORS.items()},
        "doc": DocFloat("secrets divided by words; -1 without words", unit="secrets per word", range=">= 0, or -1"),
    }

    def __init__(self) -> None:
        """Find the library.

        Raises:
            MissingExtraError: it is not installed.
        """
        self._found_in = _secrets(self.name)

    def __call__(self, batch: TextBatch) -> Columns:
        """A list of spans per document and kind, and one value per document."""
        rows = self._found_in(batch.texts())
        n_words = batch.view(word_spans).per_document()
        n_secrets = np.array([sum(map(len, row.values())) for row in rows], dtype=np.int64)
        per_word = np.where(n_words > 0, n_secrets / np.maximum(n_words, 1), -1.0)
        kinds = {kind for row in rows for kind in row}
        empty = spans_of([[]] * len(batch))
        spans = {
            _output_of(kind): spans_of([sorted(row.get(kind, ())) for row in rows]) if kind in kinds else empty
            for kind in DETECTORS.values()
        }
        return {**spans, "doc": pa.array(per_word)}


def _secrets(tagger: str) -> Callable[[Sequence[str]], list[dict[str, list[Place]]]]:
    """A function of texts: by kind of secret, its places."""
    try:
        from detect_secrets.core.scan import _process_line_based_plugins
        from detect_secrets.settings import transient_settings
    except ImportError as error:
        raise MissingExtraError("detect-secrets", extra=EXTRA, purpose=f"the tagger {tagger!r}") from error

    def found_in(text: str) -> dict[str, list[Place]]:
        places: dict[str, list[Place]] = defaultdict(list)
        starts, lines = _lines(text)
        numbers = _shown(lines)
        shown = [(k, lines[i] if i >= 0 else "") for k, i in enumerate(numbers, start=1)]
        seen = set()
        for secret in _process_line_based_plugins(lines=shown, filename=_FILE):
            value, line = secret.secret_value or "", numbers[secret.line_number - 1]
            if (secret.type, value) not in seen:
                seen.add((secret.type, value))
                start = starts[line] + _place_in(lines[line], value)
                places[secret.type].append((start, start + len(value), 1.0))
        return places

    def found(texts: Sequence[str]) -> list[dict[str, list[Place]]]:
        # Without a filter of verified secrets nothing is verified, so no network is used.
        with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
            return [found_in(text) for text in texts]

    return found


# What a line has in which one of the detectors can find something, by their expressions.
_QUOTED = re.compile(r"""["'](?:[0-9a-fA-F]{9,}|[A-Za-z0-9+/\\\-_=]{23,})["']""")  # entropy above 3 and 4.5 bits
_LONG = re.compile(r"[\w\-]{23}")
_MARKS = ("://", "AKIA", "AKC", "AP", "eyJ", "SG.", "sq0csp", "_authToken")
_WORDS = ("key", "pass", "pwd", "pw", "secret", "contrase", "token", "xox", "hooks.slack", "softlayer")
_NARROWER = re.compile(
    "(?:api|auth|service|account|db|database|priv|private|client)_?key|(?:db|database|key)_?pass|passw|pwd|secret"
    r"|contrase|private key|user-key|xox|hooks\.slack|softlayer",
    re.IGNORECASE,
)
_NARROWER_MARK = re.compile(r"://[^\s:/]+:[^\s/]+@|AKIA|AKC|AP[\dABCDEF][a-zA-Z0-9]{8}|eyJ|SG\.|sq0csp|_authToken")
_PRAGMA = "pragma"


def _may_have_secret(line: str) -> bool:
    """Whether a detector can find anything in the line; true of more lines than those in which one does."""
    if _QUOTED.search(line) or _LONG.search(line):
        return True
    if any(mark in line for mark in _MARKS) and _NARROWER_MARK.search(line):
        return True
    folded = line.casefold()
    return any(word in folded for word in _WORDS) and _NARROWER.search(line) is not None


def _shown(lines: list[str]) -> list[int]:
    """The lines to look into, and those before them that may say that nothing is to be found; -1 for an empty one."""
    shown: list[int] = []
    for i, line in enumerate(lines):
        if not _may_have_secret(line):
            continue
        before = shown[-1] if shown else -1
        if i and before != i - 1:
            if _PRAGMA in lines[i - 1]:
                shown.append(i - 1)
            elif before >= 0 and _PRAGMA in lines[before]:
                shown.append(-1)
        shown.append(i)
    return shown


def _lines(text: str) -> tuple[list[int], list[str]]:
    """Where each line begins, and the lines without what ends them."""
    whole = text.splitlines(keepends=True)
    starts = [0, *itertools.accumulate(map(len, whole))]
    return starts, text.splitlines()


def _place_in(line: str, value: str) -> int:
    """The first place of the value where no letter, digit or "_" stands beside it; else the first."""
    word = r"(?<!\w)" if value[:1].isalnum() else ""
    behind = r"(?!\w)" if value[-1:].isalnum() else ""
    match = re.search(word + re.escape(value) + behind, line)
    return match.start() if match else line.find(value)


# --- composition -----------------------------------------------------------------------------------------------------

_MODEL = "https://huggingface.co/techarb/code-prose-composition/resolve/main/code-comment-prose-model.bin"
_OTHER, _SHORTEST = "other", 4


class CodeComposition:
    """How many lines are code, prose and others by a fastText model, and how often code and prose meet."""

    name = "code_composition"
    version = 1
    needs: tuple[Need, ...] = (
        Need(kind="model", name=_MODEL, get=f"run `dolma fetch {_MODEL}`, or give the option `path`"),
    )
    outputs: Mapping[str, Output] = {}

    def __init__(self, path: str | Path | None = None) -> None:
        """Open the model at `path`, or the published one if it has been fetched.

        Raises:
            ConfigError: there is none.
        """
        file = fetched_path(self.needs[0].name if path is None else path)
        self._classifier, self.files, self.needs = classifier_at(file), (str(file),), ()
        self._labels = self._classifier.model.labels
        self.outputs = {"boundaries": DocInt("how often a line of prose follows one of code or the reverse")}
        for label in dict.fromkeys((*self._labels, _OTHER)):
            name = output_name(label)
            self.outputs |= {
                name: DocInt(f"lines that are {label!r}; null if there are none", unit="lines", range=">= 1"),
                f"{name}_pct": DocFloat(f"share of the lines that are {label!r}, to two decimals", range="0-1"),
                f"{name}_entropy": DocFloat(
                    f"mean entropy of the model's answers for {label!r}", unit="bits", range=">= 0"
                ),
            }

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each output; null for labels that no line has."""
        rows = [self._row(text) for text in batch.texts()]
        return {name: pa.array([row.get(name) for row in rows], out.arrow_type) for name, out in self.outputs.items()}

    def _row(self, text: str) -> dict[str, Any]:
        lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
        labels, entropies = self._answers(lines)
        found: dict[str, list[float]] = defaultdict(list)
        for label, entropy in zip(labels, entropies, strict=True):
            found[label].append(entropy)
        row: dict[str, Any] = {"boundaries": sum(map(_is_boundary, labels, labels[1:]))}
        for label, values in found.items():
            name = output_name(label)
            row[name], row[f"{name}_pct"] = len(values), round(len(values) / len(lines), 2)
            row[f"{name}_entropy"] = sum(values) / len(values)
        return row

    def _answers(self, lines: list[str]) -> tuple[list[str], list[float]]:
        """The label of each line, and the entropy of the model's answer."""
        labels, entropies = [_OTHER] * len(lines), [0.0] * len(lines)
        asked = [i for i, line in enumerate(lines) if len(line) >= _SHORTEST]
        if not asked:
            return labels, entropies
        encoded = [lines[i].encode() for i in asked]
        bounds = np.cumsum([0, *map(len, encoded)])
        utf8 = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        scores = self._classifier.probabilities(utf8, bounds[:-1], bounds[1:]).astype(np.float64)
        logs = np.log2(scores, where=scores > 0, out=np.zeros_like(scores))
        for i, best, highest, entropy in zip(
            asked, scores.argmax(axis=1), scores.max(axis=1), -(scores * logs).sum(axis=1), strict=True
        ):
            if highest > 0:
                labels[i], entropies[i] = self._labels[best], float(entropy)
        return labels, entropies


def _is_boundary(label: str, following: str) -> bool:
    return {label, following} == {"code", "prose"}
