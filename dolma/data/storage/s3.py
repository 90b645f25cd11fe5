"""S3 and what speaks its protocol, by boto3 (extra s3): `s3://bucket/key`.

boto3 rather than `pyarrow.fs`: listing tells ETags, removing leaves no folder markers, an upload that breaks is
aborted, and credentials are found wherever `aws` finds them (docs/decisions.md).
"""

from __future__ import annotations

import functools
from typing import Any

from dolma.data.storage.remote import ANSWER_SECONDS, CONNECT_SECONDS, Bucket, Trouble, by_status, parts, settings
from dolma.data.storage.storage import Entry
from dolma.errors import MissingExtraError

_CREDENTIALS = {
    "AccessDeniedByCredentials",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_PASSING = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException"}
_UPLOAD_ATTEMPTS = 5  # of each part, so that a long upload need not begin anew


class S3(Bucket):
    advice = {
        "no bucket": "see what `aws s3 ls` shows; AWS_ENDPOINT_URL names a server that is not Amazon's",
        "transient": "see whether `aws s3 ls s3://{bucket}/` works; AWS_ENDPOINT_URL names the server",
        "denied": "`aws sts get-caller-identity` shows who that is",
        "credentials": "run `aws configure`, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "region": "set AWS_DEFAULT_REGION to what `aws s3api get-bucket-location --bucket {bucket}` shows",
    }
    permissions = {
        "list": "s3:ListBucket",
        "read": "s3:GetObject",
        "write": "s3:PutObject",
        "remove": "s3:DeleteObject",
    }

    def _entry(self, path: str) -> Entry | None:
        bucket, key = parts(path)
        if not key:
            return None
        found = _client().head_object(Bucket=bucket, Key=key)
        return Entry(path, found["ContentLength"], found.get("ETag", ""))

    def _entries(self, prefix: str) -> list[Entry]:
        bucket, key = parts(prefix)
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key)
        return [
            Entry(f"s3://{bucket}/{item['Key']}", item["Size"], item.get("ETag", ""))
            for page in pages
            for item in page.get("Contents", [])
            if not item["Key"].endswith("/")  # a folder, as consoles make them
        ]

    def _range(self, path: str, start: int, length: int, version: str) -> bytes:
        bucket, key = parts(path)
        same = {"IfMatch": version} if version else {}
        answer = _client().get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{start + length - 1}", **same)
        with answer["Body"] as body:
            return body.read()

    def _remove(self, path: str) -> None:
        bucket, key = parts(path)
        _client().delete_object(Bucket=bucket, Key=key)

    def _put(self, local: str, path: str) -> None:
        bucket, key = parts(path)
        _client(attempts=_UPLOAD_ATTEMPTS).upload_file(local, bucket, key)

    def _failures(self) -> tuple[type[Exception], ...]:
        _boto3()
        import boto3.exceptions as of_boto3
        import botocore.exceptions as of_botocore
        import urllib3.exceptions as of_urllib3

        return of_botocore.BotoCoreError, of_botocore.ClientError, of_boto3.Boto3Error, of_urllib3.HTTPError, OSError

    def _trouble(self, error: Exception) -> Trouble:
        import botocore.exceptions as kinds

        if isinstance(cause := error.__context__, kinds.ClientError):  # what an upload raises hides it
            error = cause
        if isinstance(error, kinds.ClientError):
            return _of_answer(error.response)
        credentials = (
            kinds.NoCredentialsError,
            kinds.PartialCredentialsError,
            kinds.CredentialRetrievalError,
            kinds.ProfileNotFound,
            kinds.TokenRetrievalError,
            kinds.SSOError,
        )
        if isinstance(error, credentials):
            return Trouble("credentials", str(error))
        if isinstance(error, kinds.NoRegionError):
            return Trouble("region", str(error))
        ours = (kinds.ParamValidationError, kinds.DataNotFoundError, kinds.InvalidRegionError)
        return Trouble("other" if isinstance(error, ours) else "transient", str(error))


def _of_answer(answer: Any) -> Trouble:
    error, about = answer.get("Error", {}), answer.get("ResponseMetadata", {})
    code, status = error.get("Code", ""), about.get("HTTPStatusCode")
    said = f"{code} ({error['Message']})" if error.get("Message") else code
    where = about.get("HTTPHeaders", {}).get("x-amz-bucket-region")
    if code == "NoSuchBucket":
        return Trouble("no bucket", said)
    if (
        code in ("PermanentRedirect", "IllegalLocationConstraintException")
        or status in (301, 307)
        or error.get("Region")
    ):
        return Trouble("region", f"{said}; it is in {where}" if where else said)
    if code in _CREDENTIALS:
        return Trouble("credentials", said)
    return Trouble("transient", said) if code in _PASSING else by_status(status, said)


def _boto3() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise MissingExtraError("boto3", extra="s3", purpose="s3://") from error
    return boto3


def _client(*, attempts: int = 1) -> Any:
    return _client_of(settings("AWS_"), attempts)


@functools.lru_cache(maxsize=4)
def _client_of(_settings: tuple[tuple[str, str], ...], attempts: int) -> Any:
    """Making a client takes some 50 ms, so a process has one, until the settings that boto reads change."""
    from botocore.config import Config

    retries: Any = {"total_max_attempts": attempts, "mode": "standard"}
    config = Config(connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS, retries=retries)
    return _boto3().session.Session().client("s3", config=config)  # boto's own session keeps old credentials
