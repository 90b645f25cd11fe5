"""Google Cloud Storage, by google-cloud-storage (extra gcs): `gs://bucket/key`."""

from __future__ import annotations

import functools
import os
from typing import Any

from dolma.data.storage.remote import ANSWER_SECONDS, CONNECT_SECONDS, Bucket, Trouble, by_status, parts, settings
from dolma.data.storage.storage import Entry
from dolma.errors import MissingExtraError

_TIMES = (CONNECT_SECONDS, ANSWER_SECONDS)


class Gcs(Bucket):
    advice = {
        "no bucket": "see what `gcloud storage ls` shows",
        "transient": "see whether `gcloud storage ls gs://{bucket}/` works",
        "denied": "`gcloud auth list` shows who that is",
        "credentials": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    }
    permissions = {
        "list": "storage.objects.list",
        "read": "storage.objects.get",
        "write": "storage.objects.create and storage.objects.delete",
        "remove": "storage.objects.delete",
    }

    def _entry(self, path: str) -> Entry | None:
        bucket, key = parts(path)
        if not key:
            return None
        blob = _client().bucket(bucket).get_blob(key, timeout=_TIMES, retry=None)
        return None if blob is None else Entry(path, blob.size, str(blob.generation))

    def _entries(self, prefix: str) -> list[Entry]:
        bucket, key = parts(prefix)
        fields = "items(name,size,generation),nextPageToken"
        found = _client().list_blobs(bucket, prefix=key, fields=fields, timeout=_TIMES, retry=None)
        return [
            Entry(f"gs://{bucket}/{blob.name}", blob.size, str(blob.generation))
            for blob in found
            if not blob.name.endswith("/")
        ]

    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        bucket, key = parts(path)
        return (
            _client()
            .bucket(bucket)
            .blob(key)
            .download_as_bytes(
                start=start,
                end=start + length - 1,
                if_generation_match=int(version),
                raw_download=True,
                checksum=None,
                timeout=_TIMES,
                retry=None,
            )
        )

    def _remove(self, path: str) -> None:
        bucket, key = parts(path)
        _client().bucket(bucket).blob(key).delete(timeout=_TIMES, retry=None)

    def _put(self, local: str, path: str) -> None:
        bucket, key = parts(path)
        _client().bucket(bucket).blob(key).upload_from_filename(local, timeout=_TIMES)

    def _failures(self) -> tuple[type[Exception], ...]:
        _storage()
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
        from requests import RequestException

        return GoogleAPIError, GoogleAuthError, RequestException, OSError

    def _trouble(self, error: Exception) -> Trouble:
        from google.auth.exceptions import GoogleAuthError, TransportError

        if isinstance(error, GoogleAuthError) and not isinstance(error, TransportError):
            return Trouble("credentials", str(error))
        status = getattr(error, "code", None)
        message = getattr(error, "message", "") or str(error) or type(error).__name__
        return by_status(int(status) if isinstance(status, int) else None, message)


def _storage() -> Any:
    try:
        from google.cloud import storage
    except ImportError as error:
        raise MissingExtraError("google-cloud-storage", extra="gcs", purpose="gs://") from error
    return storage


def _client() -> Any:
    return _client_of(settings("GOOGLE_", "GCLOUD_", "STORAGE_EMULATOR_"), os.getpid())


@functools.lru_cache(maxsize=4)
def _client_of(_settings: tuple[tuple[str, str], ...], _process: int) -> Any:
    storage = _storage()
    if os.environ.get("STORAGE_EMULATOR_HOST"):
        return storage.Client.create_anonymous_client()
    return storage.Client()
