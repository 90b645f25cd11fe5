"""Files of repositories on Hugging Face, for reading, by huggingface_hub (extra hf).

`hf://owner/name/path` is of a model, `hf://datasets/owner/name/path` of a data set; `@revision` may follow the name.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from dolma.data.storage.remote import Objects, Trouble, by_status, settings
from dolma.data.storage.storage import Entry
from dolma.errors import MissingExtraError


class Hub(Objects):
    advice = {
        "transient": "see whether https://huggingface.co answers; HF_ENDPOINT names another server",
        "credentials": "run `hf auth login`, or set HF_TOKEN",
        "denied": "ask for access on the repository's page, then run `hf auth login`, or set HF_TOKEN",
    }

    def _entry(self, path: str) -> Entry | None:
        names = path.removeprefix("hf://").removeprefix("datasets/").split("/")
        if len(names) < 3 or not all(names):  # of a repository, or of an owner
            return None
        found = _files().info(path)
        return None if found["type"] == "directory" else _entry_of(found, path)

    def _entries(self, prefix: str) -> list[Entry]:
        folder = prefix.rpartition("/")[0]
        found = _files().find(folder, detail=True)
        entries = [_entry_of(one, f"hf://{name}") for name, one in found.items()]
        return [entry for entry in entries if entry.path.startswith(prefix)]

    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        return _files().cat_file(path, start=start, end=start + length)

    def _failures(self) -> tuple[type[Exception], ...]:
        return _hub().errors.HTTPError, OSError, ValueError  # the first is of whichever HTTP library it uses

    def _trouble(self, error: Exception) -> Trouble:
        said = str(error).partition("\n")[0]
        if isinstance(error, FileNotFoundError):
            return Trouble("missing", said)
        if isinstance(error, ValueError):
            return Trouble("other", said)
        return by_status(getattr(getattr(error, "response", None), "status_code", None), said)


def _entry_of(found: Any, path: str) -> Entry:
    return Entry(path, found["size"], found.get("blob_id") or "")


def _hub() -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise MissingExtraError("huggingface_hub", extra="hf", purpose="hf://") from error
    return huggingface_hub


def _files() -> Any:
    return _files_of(settings("HF_"))


@functools.lru_cache(maxsize=4)
def _files_of(_settings: tuple[tuple[str, str], ...]) -> Any:
    return _hub().HfFileSystem(endpoint=os.environ.get("HF_ENDPOINT"))
