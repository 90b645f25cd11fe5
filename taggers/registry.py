"""Names to taggers: built-ins from one table, others by entry point, module or file, all through the same check."""

from __future__ import annotations

import functools
import glob
import importlib
import importlib.util
import inspect
import os
import re
import reprlib
import sys
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import ModuleType
from typing import Any, NoReturn, TypeVar

import msgspec

from dolma.config import TaggerSpec, check_strings
from dolma.data import streams
from dolma.data.identity import changed
from dolma.data.outputs import Output
from dolma.errors import ConfigError, DolmaError, did_you_mean
from dolma.models.fetch import cached_path
from dolma.names import check_set_name
from dolma.printable import printable
from dolma.taggers.catalogue import Need, TaggerEntry, built_in, installed
from dolma.taggers.names import BUILT_IN
from dolma.taggers.tagger import Declared, Tagger, files_of, in_same_folder, needs_of, one_by_one, raised_at

_OURS = "dolma.taggers."
_NOT_HERE = ("cld2_", "cld3_", "langdetect_", "lingua_")
T = TypeVar("T", bound=Declared)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def available() -> dict[str, str]:
    """Every tagger that has a name, and where it is (`module:attribute`); built-ins win."""
    return dict(sorted((installed() | BUILT_IN).items()))


def make_tagger(spec: TaggerSpec) -> Tagger:
    """The tagger that a recipe names, made with its options.

    Raises:
        ConfigError: no such tagger, options it does not take, or something that is no tagger.
    """
    found = find(spec.use)
    with nullcontext() if is_built_in(spec) else _running(spec.use):
        tagger = _instance(found, spec)
    _check(tagger, spec.use)
    return tagger if spec.name is None else _Renamed(tagger, _checked_name(spec.name))


def declared_taggers(specs: list[str | TaggerSpec]) -> list[Declared]:
    """What is known of each before it is called, under names that differ. One that the catalogue knows is not imported.

    Raises:
        ConfigError: as `make_tagger`; or two would write to one place.
    """
    return _under_names_that_differ([_declared(normal(spec)) for spec in specs])


def make_taggers(specs: list[str | TaggerSpec]) -> list[Tagger]:
    """All of them, under names that differ.

    Raises:
        ConfigError: as `make_tagger`; or two would write to one place.
    """
    return _under_names_that_differ([_made(normal(spec)) for spec in specs])


def _under_names_that_differ(taggers: list[T]) -> list[T]:
    seen: set[str] = set()
    for i, tagger in enumerate(taggers):
        if tagger.name.lower() in seen:  # also where file names are alike in either case
            raise ConfigError(
                f"two taggers would both write attributes/{tagger.name}\n  give one another `name`",
                path=f"$.tag.taggers[{i}]",
            )
        seen.add(tagger.name.lower())
    return taggers


class _FromCatalogue:
    """A built-in tagger without options, as the catalogue describes it."""

    def __init__(self, entry: TaggerEntry, version: int, name: str | None) -> None:
        self.version, self.needs = version, entry.needs
        self.name = entry.outputs[0]["name"].partition(".")[0] if name is None else _checked_name(name)
        self.outputs: Mapping[str, Output] = {
            said["name"].partition(".")[2]: msgspec.convert(said, Output) for said in entry.outputs
        }


def _declared(spec: TaggerSpec) -> Declared:
    if spec.use in BUILT_IN and not spec.options:
        entry = next((entry for entry in built_in().taggers if entry.name == spec.use), None)
        if entry is not None and entry.version is not None:
            return _FromCatalogue(entry, entry.version, spec.name)
    return _made(spec)


def _made(spec: TaggerSpec) -> Tagger:
    """As `make_tagger`; a built-in one may have a model, which this process then loads once."""
    return tagger_of_process(spec) if is_built_in(spec) else make_tagger(spec)


def normal(spec: str | TaggerSpec) -> TaggerSpec:
    """A bare name as the spec that it stands for."""
    return TaggerSpec(use=spec) if isinstance(spec, str) else spec


def is_built_in(spec: TaggerSpec) -> bool:
    """Whether the tagger is one of this package."""
    return BUILT_IN.get(spec.use, spec.use).startswith(_OURS)


def identity_of(spec: TaggerSpec, tagger: Declared) -> dict[str, Any]:
    """What decides a tagger's answers beside its version and options: what it is, and the models and lists it has.

    Raises:
        DataError: a file is gone.
    """
    return {"tagger": place_of(spec.use), **content_of(tagger)}


def place_of(use: str) -> str:
    """A tagger's name or place; of a file, what stands in it.

    >>> place_of("gopher")
    'gopher'
    """
    path, colon, attribute = use.partition(":")
    if not path.endswith(".py") or use in available():
        return use
    return f"{os.path.basename(path)}{colon}{attribute} {streams.checksum(path)}"


def content_of(tagger: Declared) -> dict[str, list[str]]:
    """What stands in the models and lists that it has opened, by name and checksum; empty if there are none.

    Raises:
        DataError: one of them is gone.
    """
    files = [f"{os.path.basename(path)} {streams.checksum(path)}" for path in files_of(tagger)]
    return {"files": files} if files else {}


@functools.lru_cache(maxsize=64)
def _cached(encoded: bytes, _stamps: tuple[tuple[str, int, int], ...]) -> Tagger:
    return make_tagger(msgspec.json.decode(encoded, type=TaggerSpec))


def _stamps(value: Any) -> Iterator[tuple[str, int, int]]:
    """What tells whether the files that options name have changed since."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _stamps(item)
    elif isinstance(value, str):
        for path in _files_at(_where(value)):
            status = os.stat(path)
            yield path, status.st_mtime_ns, status.st_size


def _files_at(path: str) -> list[str]:
    """The file, or those in a folder of a model and in the folders in it; none if there is nothing."""
    if not os.path.isdir(path):
        return [path] if os.path.isfile(path) else []
    inside = [*glob.glob(f"{glob.escape(path)}/*"), *glob.glob(f"{glob.escape(path)}/*/*")]
    return sorted(file for file in inside if os.path.isfile(file))


def _where(path_or_url: str) -> str:
    return str(cached_path(path_or_url)) if streams.is_url(path_or_url) else path_or_url


def tagger_of_process(spec: TaggerSpec) -> Tagger:
    """`make_tagger`, once per process and spec: a model is loaded once however many shards a worker reads.

    A file of its options that has changed since is read again.
    """
    return _cached(*_key(spec))


def _key(spec: TaggerSpec) -> tuple[bytes, tuple[tuple[str, int, int], ...]]:
    files = [spec.use.partition(":")[0], *spec.options.values()]
    return msgspec.json.encode(spec, order="deterministic"), tuple(_stamps(files))


def check_unchanged(spec: TaggerSpec, identity: dict[str, Any]) -> None:
    """Return when the process's tagger is the one of this identity. Files are hashed once, until they change.

    Raises:
        DataError: it was made of other files; names the first.
    """
    found = _identity(*_key(spec))
    if found != identity:
        files = [spec.use.partition(":")[0], *files_of(tagger_of_process(spec))]
        before, now = ([values["tagger"], *values.get("files", [])] for values in (identity, found))
        other = (file for file, was, is_now in zip(files, before, now, strict=False) if was != is_now)
        raise changed(next(other, spec.use))


@functools.lru_cache(maxsize=64)
def _identity(encoded: bytes, stamps: tuple[tuple[str, int, int], ...]) -> dict[str, Any]:
    return identity_of(msgspec.json.decode(encoded, type=TaggerSpec), _cached(encoded, stamps))


def find(use: str) -> Any:
    """The class, function or object that `use` names, not made yet.

    Raises:
        ConfigError: there is none.
    """
    if use in BUILT_IN:
        return _load(BUILT_IN[use])
    table = available()
    if use in table:
        return _load(table[use])
    if use.partition(":")[0].endswith(".py"):
        return _from_file(use)
    if ":" in use:
        return _load(use)
    if use.startswith(_NOT_HERE):
        raise ConfigError(
            f"the tagger {use!r} of Dolma 1.x asks another language identifier, which is not here\n"
            "  use `language` or the `ft_lang_id_*`; another identifier can be a tagger of your own: docs/tag.md"
        )
    raise ConfigError(
        f"no tagger {use!r}; {did_you_mean(use, table)}\n"
        "  `dolma list` shows all; your own: `path/to/file.py` or `module:attribute`"
    )


def _load(place: str) -> Any:
    module_name, _, attribute = place.partition(":")
    with nullcontext() if place.startswith(_OURS) else _running(place):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            is_file = os.path.isfile(f"{module_name}.py")
            hint = (
                f"did you mean the file, `{module_name}.py:{attribute}`?" if is_file else "install it, or give a file"
            )
            raise ConfigError(
                f"cannot import {module_name!r} for the tagger {place!r}: {printable(error)}\n  {hint}"
            ) from error
    return _attribute(module, attribute, place)


def _attribute(module: ModuleType, attribute: str, place: str) -> Any:
    if not hasattr(module, attribute):
        names = [name for name, value in vars(module).items() if _looks_like(value)]
        raise ConfigError(
            f"{printable(place)}: no {attribute!r} there; {did_you_mean(attribute, names or ['(no taggers)'])}"
        )
    return getattr(module, attribute)


def _from_file(use: str) -> Any:
    path, _, attribute = use.partition(":")
    if not os.path.isfile(path):
        raise ConfigError(
            f"no such file for a tagger: {printable(path)}\n  give the path of a Python file: `taggers/mine.py`"
        )
    name = "dolma_tagger_file_" + re.sub(r"\W", "_", os.path.abspath(path))
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            with _running(path):
                spec.loader.exec_module(module)
        except ConfigError:
            del sys.modules[name]
            raise
    module = sys.modules[name]
    if attribute:
        return _attribute(module, attribute, use)
    own = [key for key, value in vars(module).items() if _looks_like(value) and _is_own(value, name)]
    if len(own) != 1:
        named = " or ".join(f"`{printable(path)}:{key}`" for key in own)
        wanted = "a tagger has `@document_tagger(...)` over it: docs/tag.md, 'Your own tagger'"
        hint = f"name it: {named}" if own else wanted
        raise ConfigError(f"{printable(path)} has {len(own)} taggers, expected one\n  {hint}")
    return getattr(module, own[0])


@contextmanager
def _running(use: str) -> Iterator[None]:
    """Makes errors of the user's code, while a tagger is loaded or made, those of the recipe."""
    try:
        with in_same_folder(), _not_ended():
            yield
    except (DolmaError, KeyboardInterrupt):
        raise
    except BaseException as error:
        place = f"\n  at {raised_at(error)}" if raised_at(error) else ""
        raise ConfigError(
            f"cannot run {printable(use)} for a tagger: {type(error).__name__}: {printable(error)}{place}"
            "\n  see docs/tag.md, 'Your own tagger'"
        ) from error


@contextmanager
def _not_ended() -> Iterator[None]:
    """Makes `os._exit` an exception, as this command would end with a status that says that all went well."""
    end, process = os._exit, os.getpid()

    def refused(status: int) -> NoReturn:
        if os.getpid() != process:  # a child that the user's code has forked
            end(status)
        raise SystemExit(status)

    os._exit = refused
    try:
        yield
    finally:
        os._exit = end


def _looks_like(value: Any) -> bool:
    return callable(value) and hasattr(value, "name") and hasattr(value, "outputs")


def _is_own(value: Any, module: str) -> bool:
    return value.__module__ == module if inspect.isclass(value) else True


def _instance(found: Any, spec: TaggerSpec) -> Any:
    if not inspect.isclass(found) and not (inspect.isfunction(found) and not hasattr(found, "outputs")):
        if spec.options:
            raise ConfigError(
                f"the tagger {spec.use!r} takes no options, given: {', '.join(spec.options)}\n  leave `options` out"
            )
        return found
    try:
        inspect.signature(found).bind(**spec.options)
    except TypeError as error:
        raise ConfigError(_options_needed(found, spec)) from error
    kinds = _types(found)
    for name, value in spec.options.items():
        check_strings(value, kinds.get(name, Any), path=f"{spec.use}.{name}")
    return found(**spec.options)


def _types(found: Any) -> dict[str, Any]:
    """The types that the options are declared with, where they are."""
    try:
        return typing.get_type_hints(found.__init__ if inspect.isclass(found) else found)
    except NameError:
        return {}  # of names that are imported for type checkers only


def _options_needed(found: Any, spec: TaggerSpec) -> str:
    """What is wrong with the options of a tagger: an unknown one, or one that it cannot do without."""
    known = inspect.signature(found).parameters
    unknown = next((name for name in spec.options if name not in known), None)
    if not known:
        return f"the tagger {spec.use!r} takes no options, given: {', '.join(spec.options)}\n  leave `options` out"
    if unknown is not None:
        return f"the tagger {spec.use!r} has no option {unknown!r}; {did_you_mean(unknown, known)}"
    missing = [
        name for name, one in known.items() if one.default is inspect.Parameter.empty and name not in spec.options
    ]
    given = ", ".join([*(f"{name}: {value}" for name, value in spec.options.items()), *(f"{m}: ..." for m in missing)])
    return (
        f"the tagger {spec.use!r} needs {'the option' if len(missing) == 1 else 'the options'} "
        f"{' and '.join(map(repr, missing))}\n"
        f"  --set 'tag.taggers=[{{use: {spec.use}, options: {{{given}}}}}]', or the same in a recipe; "
        f"`dolma list {spec.use}` says what it is"
    )


def _check(tagger: Any, use: str) -> None:
    if not isinstance(tagger, Tagger):
        raise ConfigError(
            f"{use!r} is no tagger: it needs `name`, `version`, `outputs` and to be callable with a batch\n"
            "  see docs/tag.md, 'Your own tagger'"
        )
    _checked_name(tagger.name)
    if not all(isinstance(need, Need) for need in needs_of(tagger)):
        raise ConfigError(
            f"{use!r} has `needs` that are {printable(reprlib.repr(needs_of(tagger)))}, "
            "expected `dolma.taggers.catalogue.Need` for each\n"
            "  see docs/tag.md, 'Metadata'"
        )
    outputs: Mapping[str, Any] = tagger.outputs
    odd = next(
        (name for name, output in outputs.items() if not _NAME.match(name) or not isinstance(output, Output)), None
    )
    taken = next((name for name in ("id", "error") if name in outputs), None)
    if odd is not None or not outputs or taken is not None:
        raise ConfigError(
            f"the tagger {use!r} declares a bad output {odd or taken if outputs else '(none)'!r}: outputs are names of "
            "letters, digits and `_`, other than `id` and `error`, with DocInt, DocFloat, DocBool, DocText, DocVector "
            "or Spans"
            "\n  see docs/tag.md, 'Your own tagger'"
        )


def _checked_name(name: str) -> str:
    if not _NAME.match(name):
        raise ConfigError(
            f"a tagger cannot be called {name!r}: letters, digits and `_`, not a digit first\n  give it another `name`"
        )
    try:
        check_set_name(name)
    except ValueError as error:
        raise ConfigError(f"a tagger cannot be called so: {error}\n  give it another `name`") from None
    return name


class _Renamed:
    """A tagger under another name."""

    def __init__(self, tagger: Tagger, name: str) -> None:
        self._tagger, self.name = tagger, name
        self.version, self.outputs, self.needs = tagger.version, tagger.outputs, needs_of(tagger)
        self.languages, self.files = getattr(tagger, "languages", ""), files_of(tagger)
        self.one_by_one = one_by_one(tagger)

    def __call__(self, batch: Any) -> Any:
        return self._tagger(batch)
