"""Azure Blob Storage, by azure-storage-blob (extra azure): `azure://container/key`.

The account is AZURE_STORAGE_CONNECTION_STRING's, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or
AZURE_STORAGE_SAS_TOKEN, as for `az storage`; with neither of these the package azure-identity finds who the user is.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from dolma.data.storage.remote import ANSWER_SECONDS, CONNECT_SECONDS, Bucket, Trouble, by_status, parts, settings
from dolma.data.storage.storage import Entry
from dolma.errors import ConfigError, MissingExtraError

_BLOCK_BYTES = 16 << 20  # of an upload; 50,000 of them make a blob


class Azure(Bucket):
    advice = {
        "no bucket": "see what `az storage container list` shows",
        "transient": "see whether `az storage blob list --container-name {bucket}` works, and AZURE_STORAGE_ACCOUNT",
        "denied": "AZURE_STORAGE_KEY gives all of them",
        "credentials": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN",
    }
    permissions = {"list": "List (l)", "read": "Read (r)", "write": "Create and Write (cw)", "remove": "Delete (d)"}

    def _entry(self, path: str) -> Entry | None:
        bucket, key = parts(path)
        if not key:
            return None
        found = _service().get_blob_client(bucket, key).get_blob_properties()
        return Entry(path, found.size, found.etag.strip('"'))

    def _entries(self, prefix: str) -> list[Entry]:
        bucket, key = parts(prefix)
        found = _service().get_container_client(bucket).list_blobs(name_starts_with=key or None)
        return [
            Entry(f"azure://{bucket}/{blob.name}", blob.size, blob.etag.strip('"'))
            for blob in found
            if not blob.name.endswith("/")
        ]

    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        from azure.core import MatchConditions

        blob = _service().get_blob_client(*parts(path))
        return blob.download_blob(
            start, length, etag=f'"{version}"', match_condition=MatchConditions.IfNotModified, max_concurrency=1
        ).readall()

    def _remove(self, path: str) -> None:
        _service().get_blob_client(*parts(path)).delete_blob()

    def _put(self, local: str, path: str) -> None:
        with open(local, "rb") as data:
            _service().get_blob_client(*parts(path)).upload_blob(data, overwrite=True, length=os.path.getsize(local))

    def _failures(self) -> tuple[type[Exception], ...]:
        _blob()
        from azure.core.exceptions import AzureError

        return AzureError, OSError

    def _trouble(self, error: Exception) -> Trouble:
        from azure.core.exceptions import ClientAuthenticationError

        code = str(getattr(error, "error_code", "") or "")
        message = str(getattr(error, "message", "") or error).partition("\n")[0]
        if code == "ContainerNotFound":
            return Trouble("no bucket", f"{code} ({message})")
        if code.startswith(("AuthorizationPermissionMismatch", "AuthorizationFailure")):
            return Trouble("denied", f"{code} ({message})")
        if isinstance(error, ClientAuthenticationError) or code == "AuthenticationFailed":
            return Trouble("credentials", message)
        return by_status(getattr(error, "status_code", None), f"{code} ({message})" if code else message)


def _blob() -> Any:
    try:
        from azure.storage import blob
    except ImportError as error:
        raise MissingExtraError("azure-storage-blob", extra="azure", purpose="azure://") from error
    return blob


def _service() -> Any:
    return _service_of(settings("AZURE_"), os.getpid())


@functools.lru_cache(maxsize=4)
def _service_of(_settings: tuple[tuple[str, str], ...], _process: int) -> Any:
    blob, given = _blob(), os.environ.get
    how: dict[str, Any] = {
        "connection_timeout": CONNECT_SECONDS,
        "read_timeout": ANSWER_SECONDS,
        "retry_total": 0,
        "max_block_size": _BLOCK_BYTES,
        "max_single_put_size": _BLOCK_BYTES,
    }
    if connection := given("AZURE_STORAGE_CONNECTION_STRING"):
        return blob.BlobServiceClient.from_connection_string(connection, **how)
    account = given("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise ConfigError(
            "azure:// needs an account, and none is named\n"
            "  set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY"
        )
    credential = given("AZURE_STORAGE_KEY") or given("AZURE_STORAGE_SAS_TOKEN") or _identity()
    return blob.BlobServiceClient(f"https://{account}.blob.core.windows.net", credential=credential, **how)


def _identity() -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise ConfigError(
            "azure:// needs a key or a token, and none is set\n"
            "  set AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN; or run `pip install azure-identity` and `az login`"
        ) from error
    return DefaultAzureCredential()
