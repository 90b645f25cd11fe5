"""Which files a pattern or a folder names."""

from __future__ import annotations

import glob as local_globbing
import os
import re

from dolma.data import streams
from dolma.data.formats.table import is_document
from dolma.errors import ConfigError


def glob(pattern: str) -> list[str]:
    """The files that match, sorted; `**` crosses folders; a wildcard matches no hidden file or folder.

    A folder stands for every document file below it. A URL without a wildcard is taken as it is.
    """
    wild = any(c in pattern for c in "*?[")
    if pattern.startswith("s3://") and wild:
        fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
        matcher = re.compile(_glob_regex(pattern))
        return [path for path in streams.list_prefix(fixed) if matcher.match(path)]
    if pattern.startswith("s3://") and not is_document(pattern):
        return _documents_below(pattern)
    if streams.is_url(pattern):
        if any(c in pattern for c in "*["):
            raise ConfigError(f"{pattern}: wildcards work for local paths and s3://; name each file")
        return [pattern]
    pattern = streams.local_path(pattern)
    if os.path.isdir(pattern):
        return _documents_below(pattern)
    if os.path.isfile(pattern):  # also a name that holds a bracket
        return [pattern]
    return sorted(path for path in local_globbing.glob(pattern, recursive=True) if os.path.isfile(path))


def _documents_below(folder: str) -> list[str]:
    base = folder.rstrip("/") + "/"
    below = [path.removeprefix(base) for path in streams.list_files(folder)]
    return [base + path for path in below if is_document(path) and not re.search(r"(^|/)\.", path)]


def fixed_prefix(pattern: str) -> str:
    """The folder of a pattern that holds no wildcard: what all its matches have in common.

    >>> fixed_prefix("data/*/documents/*.gz"), fixed_prefix("data/books/documents/a.jsonl")
    ('data', 'data/books/documents')
    """
    if not any(c in pattern for c in "*?[") and not is_document(pattern):
        return pattern.rstrip("/")
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed.rpartition("/")[0]


def _glob_regex(pattern: str) -> str:
    out, i = "", 0
    while i < len(pattern):
        hidden = r"(?!\.)" if pattern[i - 1] == "/" else ""  # a wildcard does not match a leading dot
        if pattern.startswith("**/", i):
            out, i = out + r"(?:(?!\.)[^/]+/)*", i + 3
        elif pattern.startswith("**", i):
            out, i = out + r"(?:(?!\.)[^/]+/)*(?!\.)[^/]*", i + 2
        elif pattern[i] == "*":
            out, i = out + hidden + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + hidden + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i + 2 :]:
            end = pattern.index("]", i + 2)
            negated = pattern[i + 1] == "!"
            inside = re.escape(pattern[i + 1 + negated : end]).replace(r"\-", "-")
            out, i = out + hidden + f"[{'^/' if negated else ''}{inside}]", end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return out + r"\Z"
