"""What a key of a recipe says of itself: its description, and what stands for a value that is not given."""

from __future__ import annotations

import functools
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Union

import msgspec


def about(
    description: str, *, absent: str = "", names: bool = False, metavar: str = "", of: tuple[str, ...] = ()
) -> msgspec.Meta:
    """For `Annotated`: a sentence; in words what holds where the value is null; whether it is a list of names.

    `metavar` is what help calls the value; `of` names the methods that take it, where not all do.

    Names have no commas in them, so that several may be given in one word; rules, patterns and paths may.
    """
    return msgspec.Meta(description=description, extra={"absent": absent, "names": names, "metavar": metavar, "of": of})


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One field of a struct of settings: `types` without null; `default` is `msgspec.NODEFAULT` where one is needed."""

    name: str
    types: tuple[Any, ...]
    default: Any
    description: str
    absent: str
    names: bool
    metavar: str
    of: tuple[str, ...]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that the value may be, where it may be nothing else."""
        literal = all(typing.get_origin(kind) is Literal for kind in self.types)
        return tuple(word for kind in self.types for word in typing.get_args(kind)) if literal else ()

    @property
    def shown_default(self) -> str:
        """The default as help says it; empty if there is none worth saying."""
        if self.default is msgspec.NODEFAULT:
            return ""
        if self.default is None or (self.default in ([], {}) and self.absent):
            return self.absent
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, msgspec.Struct) or self.default in ([], {}):
            return ""
        if isinstance(self.default, tuple):
            return ", ".join(map(str, self.default))
        if isinstance(self.default, float):
            return f"{self.default:g}"
        return f"{self.default:,}" if isinstance(self.default, int) else str(self.default)


@functools.cache
def keys_of(struct: type[msgspec.Struct]) -> tuple[Key, ...]:
    """The keys of a struct, in their order."""
    hints = typing.get_type_hints(struct, include_extras=True)
    return tuple(_key(field, hints[field.name]) for field in msgspec.structs.fields(struct))


def find(struct: type[msgspec.Struct], path: str) -> Key:
    """The key at a path such as `mix.missing`, in the struct or one below it."""
    name, _, rest = path.partition(".")
    found = next(one for one in keys_of(struct) if one.name == name)
    if not rest:
        return found
    below = (kind for kind in found.types for kind in (kind, *typing.get_args(kind)))
    return find(next(kind for kind in below if isinstance(kind, type) and issubclass(kind, msgspec.Struct)), rest)


def _key(field: Any, hint: Any) -> Key:
    kind, *metas = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
    meta = next((meta for meta in metas if isinstance(meta, msgspec.Meta)), msgspec.Meta())
    extra = meta.extra or {}
    options = typing.get_args(kind) if typing.get_origin(kind) in (Union, types.UnionType) else (kind,)
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return Key(
        name=field.name,
        types=tuple(option for option in options if option is not types.NoneType),
        default=default,
        description=meta.description or "",
        absent=extra.get("absent", ""),
        names=extra.get("names", False),
        metavar=extra.get("metavar", ""),
        of=extra.get("of", ()),
    )
