"""Where a tokenizer lies on this machine: a file, a folder, a fetched URL, or a name in Hugging Face's cache.

Nothing is downloaded. A name is `owner/name` or `owner/name@revision`, and is looked up where `hf download` puts files
(`$HF_HUB_CACHE`, `$HF_HOME/hub`, `~/.cache/huggingface/hub`):

    models--owner--name/refs/main                      the commit that the revision `main` was when it was downloaded
    models--owner--name/snapshots/COMMIT/tokenizer.json
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dolma.data import streams
from dolma.models.fetch import cached_path

FILE = "tokenizer.json"
_NAME = re.compile(r"(?P<repository>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerPlace:
    """The path of a tokenizer's file, and the name and commit of a hub that it was found by, as `owner/name@commit`."""

    path: str
    pinned: str | None = None


def find_tokenizer(given: str) -> TokenizerPlace:
    """The place of a tokenizer; what was given, where it is none of the others."""
    if streams.is_url(given):
        fetched = cached_path(given)
        return TokenizerPlace(path=str(fetched) if fetched.is_file() else given)
    if os.path.isdir(given):
        inside = streams.join(given, FILE)
        return TokenizerPlace(path=inside if os.path.isfile(inside) else given)
    if os.path.exists(given):
        return TokenizerPlace(path=given)
    return _in_hub_cache(given) or TokenizerPlace(path=given)


def is_hub_name(given: str) -> bool:
    """Whether this may be the name of a repository of a hub.

    >>> is_hub_name("allenai/dolma2-tokenizer@main"), is_hub_name("a/b/c.json")
    (True, False)
    """
    found = _NAME.fullmatch(given)
    return found is not None and "/" in found["repository"] and not given.endswith((".json", ".model"))


def hub_cache() -> str:
    """Where `hf download` keeps files; need not exist."""
    if given := os.environ.get("HF_HUB_CACHE"):
        return os.path.expanduser(given)
    if home := os.environ.get("HF_HOME"):
        return os.path.join(os.path.expanduser(home), "hub")
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(caches, "huggingface", "hub")


def _in_hub_cache(given: str) -> TokenizerPlace | None:
    found = _NAME.fullmatch(given)
    if found is None:
        return None
    repository, revision = found["repository"], found["revision"] or "main"
    home = os.path.join(hub_cache(), "models--" + repository.replace("/", "--"))
    commit = revision
    if not _COMMIT.fullmatch(revision):
        reference = os.path.join(home, "refs", *revision.split("/"))
        if ".." in revision.split("/") or not os.path.isfile(reference):
            return None
        with open(reference, encoding="utf-8") as file:
            commit = file.read(100).strip()
    path = os.path.join(home, "snapshots", commit, FILE)
    return TokenizerPlace(path=path, pinned=f"{repository}@{commit}") if os.path.isfile(path) else None
