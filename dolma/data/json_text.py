"""JSON that is no document: manifests, records of a journal, configurations, tokenizers. One kind of error for all."""

from __future__ import annotations

from typing import Any, TypeVar, overload

import msgspec

from dolma.printable import printable

T = TypeVar("T")


@overload
def decode_json(raw: bytes | str, kind: type[T]) -> T: ...
@overload
def decode_json(raw: bytes | str, kind: Any = Any) -> Any: ...
def decode_json(raw: bytes | str, kind: Any = Any) -> Any:
    """The value as `kind`.

    >>> decode_json(b'{"a": 1}', dict[str, int])
    {'a': 1}

    Raises:
        msgspec.DecodeError: it is no JSON, no UTF-8, nested too deeply, or not of that kind.
    """
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError as error:
        raise msgspec.DecodeError("JSON nested too deeply") from error
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(f"not UTF-8: {printable(error)}") from error
