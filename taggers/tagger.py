"""What a tagger is: named, typed outputs and a function from a batch to columns. Taggers measure, mixers decide."""

from __future__ import annotations

import itertools
import os
import reprlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, overload, runtime_checkable

from dolma.data.outputs import DocText, Output
from dolma.errors import did_you_mean
from dolma.taggers.catalogue import Need

if TYPE_CHECKING:
    import pyarrow as pa

    from dolma.data.batch import TextBatch
    from dolma.data.columns import Columns

ERROR = "error"
ERROR_OUTPUT = DocText("why the tagger has no values for this document; null if it has")
SIZE_LIMIT, TIME_LIMIT = "size limit", "time limit"


class Declared(Protocol):
    """What is known of a tagger without calling it."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def outputs(self) -> Mapping[str, Output]: ...


@runtime_checkable
class Tagger(Protocol):
    """Measures documents. Instances are made once per worker process, so a model is loaded once.

    `name` is the attribute's name in rules (`name.output`); `version` changes when answers change. A tagger may also
    have `needs: tuple[Need, ...]`; `languages: str`, what it assumes of the text ("English", "spaces between words");
    and `files: tuple[str, ...]`, the local models and lists that it has opened: a run takes it for another tagger when
    what stands in them has changed; and `one_by_one: bool`, that it wants one document at a time, since a batch takes
    longer than one document may. One that needs a metadata field finds the JSON of each document's metadata in
    `batch.metadata`.
    """

    name: str
    version: int
    outputs: Mapping[str, Output]

    def __call__(self, batch: TextBatch) -> Columns:
        """One value per document for each name in `outputs`, in batch order."""
        ...


def outputs_of(tagger: Declared) -> dict[str, Output]:
    """What is written of a tagger: its outputs, and `error`."""
    return {**tagger.outputs, ERROR: ERROR_OUTPUT}


def needs_of(tagger: object) -> tuple[Need, ...]:
    """What the tagger says it needs; empty if it says nothing."""
    return tuple(getattr(tagger, "needs", ()))


def files_of(tagger: object) -> tuple[str, ...]:
    """The local models and lists that decide its answers; empty if it says nothing."""
    return tuple(getattr(tagger, "files", ()))


def one_by_one(tagger: object) -> bool:
    """Whether it wants to be called with one document at a time; false if it says nothing."""
    return bool(getattr(tagger, "one_by_one", False))


class DocumentTagger:
    """A tagger made of a function of one text.

    >>> from dolma.data.batch import TextBatch
    >>> from dolma.data.columns import DocInt
    >>> shout = DocumentTagger(lambda text: {"n": text.count("!")}, name="shout", outputs={"n": DocInt("marks")})
    >>> shout(TextBatch.of(["a!", "b"]))["n"].to_pylist()
    [1, 0]
    >>> shout("a!")
    {'n': 1}
    """

    def __init__(
        self,
        function: Callable[[str], Mapping[str, Any]],
        *,
        name: str,
        outputs: Mapping[str, Output],
        version: int = 1,
    ) -> None:
        self.function, self.name, self.outputs, self.version = function, name, outputs, version
        self.__doc__ = function.__doc__

    @overload
    def __call__(self, batch: TextBatch) -> Columns: ...

    @overload
    def __call__(self, batch: str) -> Mapping[str, Any]: ...

    def __call__(self, batch: TextBatch | str) -> Columns | Mapping[str, Any]:
        """The columns of a batch; of one text, what the function returns.

        Raises:
            ValueError: the function returned other names than are declared; or, of one text, a value outside its range
                or a span outside the text, which `measure` finds in a batch.
            TypeError: a value is not of the declared kind.
        """
        if isinstance(batch, str):
            import numpy as np

            from dolma.data.ranges import undeclared

            row = self._checked(self.function(batch))
            odd = undeclared(self._columns([row]), outputs=self.outputs, code_points=lambda: np.array([len(batch)]))
            if odd:
                raise ValueError(odd[0])
            return row
        return self._columns([self._checked(self.function(text)) for text in batch.texts()])

    def _columns(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        return {name: _column(name, output, [row[name] for row in rows]) for name, output in self.outputs.items()}

    def _checked(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        if not isinstance(row, Mapping):
            raise TypeError(f"returned {type(row).__name__}, expected a mapping of {_listed(self.outputs)}")
        if row.keys() != self.outputs.keys():
            extra = next((str(name) for name in row if name not in self.outputs), None)
            missing = next((name for name in self.outputs if name not in row), "")
            if extra is None:
                raise ValueError(f"returned no {missing!r}, expected {_listed(self.outputs)}")
            raise ValueError(
                f"returned {extra!r}, expected {_listed(self.outputs)}; {did_you_mean(extra, self.outputs)}"
            )
        return row


def document_tagger(
    *, name: str, version: int = 1, **outputs: Output
) -> Callable[[Callable[[str], Mapping[str, Any]]], DocumentTagger]:
    """Make a tagger of a per-document function; outputs are declared by keyword.

    The function returns a mapping with a value for each of them: an int, float, bool or str, or None where there is
    none; for `Spans` a list of `(start, end, score)`, code points with an exclusive end and a float.

    >>> from dolma.data.columns import DocInt
    >>> @document_tagger(name="shout", n=DocInt("exclamation marks"))
    ... def shout(text):
    ...     return {"n": text.count("!")}
    >>> shout.outputs["n"].meaning
    'exclamation marks'
    """

    def wrap(function: Callable[[str], Mapping[str, Any]]) -> DocumentTagger:
        return DocumentTagger(function, name=name, outputs=outputs, version=version)

    return wrap


_RETURNED = {
    "int": "an int or None",
    "float": "a float or None",
    "bool": "True, False or None",
    "text": "a str or None",
    "spans": "a list of (start, end, score): code points, `text[start:end]`, and a float",
    "vector": "a list of as many numbers as its size, or None",
}


def _listed(outputs: Mapping[str, Output]) -> str:
    return ", ".join(map(repr, outputs))


def _column(name: str, output: Output, values: list[Any]) -> pa.Array:
    import pyarrow as pa

    from dolma.data.columns import spans_of, whole_numbers

    try:
        if output.kind == "spans":
            return spans_of(values)
        if output.kind == "int":
            return whole_numbers(values)
        return pa.array(values, output.arrow_type)
    except (TypeError, ValueError, OverflowError) as error:  # Arrow's own are ValueError and TypeError
        returned = reprlib.repr(values[0] if len(values) == 1 else values)
        raise TypeError(f"{name!r} is {_RETURNED[output.kind]}; returned {returned}") from error


_AROUND = ("limits.py", "tagger.py", "registry.py")  # of this package: they stand between a run and a tagger


@contextmanager
def in_same_folder() -> Iterator[None]:
    """Goes back to the working folder after a block of the user's code: paths of inputs and outputs may be relative."""
    before = os.getcwd()
    try:
        yield
    finally:
        os.chdir(before)


def raised_at(error: BaseException) -> str:
    """`file.py:line` of the last line in the user's own file that the error came through; empty for one of ours."""
    here = os.path.dirname(__file__)
    frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    around = [os.path.join(here, name) for name in _AROUND]
    inner = list(itertools.dropwhile(lambda frame: frame[0] in around or "importlib" in frame[0], frames))
    if not inner or inner[0][0].startswith(os.path.dirname(here) + os.sep):
        return ""
    line = next(line for file, line in reversed(inner) if file == inner[0][0])
    return f"{os.path.basename(inner[0][0])}:{line}"
