"""From a recipe to the graph of its stages: what each reads, where it writes, and the order in which they run.

A recipe without names has one stage of each section,

    documents -> tag, dedupe -> <output>/attributes -> mix -> <output>/mixed -> tokenize -> <output>/tokens
    -> train -> <output>/train;  stat -> <output>/stat

and tokenizes its documents as they are where it has no `mix`. A stage of `stages` says what it reads by the names of
others or by patterns, and writes to `<output>/<its name>`; what it does not say is as above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from dolma.config import NamedStage, Recipe, TokenizeConfig
from dolma.data import streams
from dolma.data.dataset import Dataset
from dolma.data.documents import Reading
from dolma.data.manifest import RECIPE
from dolma.data.takedown import NAME as TAKEDOWN
from dolma.data.takedown import takedown_at
from dolma.errors import ConfigError, did_you_mean
from dolma.names import check_name
from dolma.printable import printable
from dolma.stages import Kind, Node, Stage, find_stage, folder_of
from dolma.training.config import TrainConfig

if TYPE_CHECKING:
    from dolma.config import MixConfig

_ATTRIBUTES = "attributes"


class Graph:
    """The stages of a recipe by name, in the order in which they run."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = dict(nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def __len__(self) -> int:
        return len(self._nodes)

    def __contains__(self, name: object) -> bool:
        return name in self._nodes

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    def only(self, names: Sequence[str]) -> Graph:
        """The stages of these names.

        Raises:
            ConfigError: there is no such stage.
        """
        for name in names:
            if name not in self._nodes:
                raise ConfigError(f"no stage {name!r}; {did_you_mean(name, self._nodes)}")
        return Graph({name: node for name, node in self._nodes.items() if name in names})

    def beginning(self, name: str) -> Graph:
        """The stage of this name and all that read what it writes, be it by way of others.

        Raises:
            ConfigError: there is no such stage.
        """
        names = [node.name for node in self.only([name])]
        for node in self:
            if any(other in names for other in node.reads):
                names.append(node.name)
        return self.only(names)

    def inputs(self, node: Node, kind: Kind) -> list[Node]:
        """The stages from which a stage has its files of a kind."""
        return [self[name] for name in node.reads if name in self._nodes and self[name].stage.writes == kind]

    def draw(self) -> list[str]:
        """Lines of a tree: each stage that nobody reads, and below it what it reads, each stage in full once."""
        read = {name for node in self for name in node.reads}
        drawn: set[str] = set()
        return [line for node in self if node.name not in read for line in self._branch(node, drawn)]

    def _branch(self, node: Node, drawn: set[str]) -> list[str]:
        if node.name in drawn:
            return [f"{node.label}, see above"]
        drawn.add(node.name)
        below = [self._branch(self[name], drawn) for name in node.reads if name in self._nodes]
        patterns = [] if self.inputs(node, "documents") else list(node.dataset.documents)
        if patterns and "documents" in node.stage.reads:
            below.append([", ".join(patterns)])
        lines = [f"{node.label} -> {node.output or 'beside the documents'}"]
        for i, branch in enumerate(below):
            last = i == len(below) - 1
            first, *rest = branch
            lines += [f"{'└─' if last else '├─'} {first}", *(f"{'   ' if last else '│  '}{line}" for line in rest)]
        return lines


def graph_of(recipe: Recipe) -> Graph:
    """The stages of a recipe; nothing is read.

    Raises:
        ConfigError: a name means nothing, two stages would write to one folder, or stages read each other in a circle;
            a folder can only be read, or is one of attributes.
    """
    stages = recipe.stages or {name: NamedStage(**{name: section}) for name, section in recipe.given.items()}
    if recipe.stages:
        _check_folders(recipe)
    wanted = {name: _Wanted.of(name, given, recipe) for name, given in stages.items()}
    _refuse_within(wanted, recipe)
    linked = {name: _linked(stage, wanted, recipe) for name, stage in wanted.items()}
    for stage in linked.values():
        _refuse_other_documents(stage, linked)
    ordered = _in_order(linked)
    return Graph({name: _node(linked[name], linked, recipe) for name in ordered})


def node_of(recipe: Recipe, name: str, *, output: str | None = None, tokens: str | None = None) -> Node:
    """The stage of a section, as a command of its own: `output` and `tokens` are its folders if not the recipe's."""
    for given, folder in (("output", output), ("tokens", tokens)):
        if folder == "":
            raise ConfigError(f"{given} is an empty path\n  a variable of the shell may have no value")
    node = graph_of(recipe)[name]
    if tokens is not None:
        node = with_tokens(node, tokens)
    if output is None or node.stage.writes == _ATTRIBUTES:
        return node
    outputs = (*node.dataset.outputs, output)
    return _writable(replace(node, output=output, dataset=replace(node.dataset, outputs=outputs)))


def with_tokens(node: Node, folder: str) -> Node:
    """The stage with these token shards in place of the recipe's.

    Raises:
        ConfigError: it reads none but those of its own `sources`.
    """
    if isinstance(node.config, TrainConfig) and not node.config.reads_tokens:
        raise ConfigError(
            f"every stage of `train` names its token shards in `sources`, so {printable(folder)} would not be read"
            "\n  leave `--tokens` out, or `sources`"
        )
    return replace(node, tokens=(folder,))


def corpus_of(recipe: Recipe) -> Dataset:
    """The recipe's documents and where their attributes lie. What the recipe writes is never read as documents."""
    places = _places(recipe, [])
    return _dataset(recipe, recipe.documents, places, reading=reading_of(recipe), exclude=True)


def reading_of(recipe: Recipe) -> Reading:
    """How the recipe's records are read."""
    quarantine = recipe.quarantine
    if recipe.on_error == "quarantine" and quarantine is None:
        if recipe.output is None:
            raise ConfigError("on_error `quarantine` needs a folder\n  give `--quarantine DIR`", path="$.quarantine")
        quarantine = streams.join(recipe.output, "quarantine")
    return Reading(
        text=recipe.fields.text,
        id=recipe.fields.id,
        source=recipe.fields.source,
        on_error=recipe.on_error,
        quarantine=quarantine,
        invalid_unicode=recipe.invalid_unicode,
        max_line_bytes=recipe.max_line_bytes,
        limit=recipe.limit,
        takedown=None if (path := takedown_of(recipe)) is None else takedown_at(path),
    )


def takedown_of(recipe: Recipe) -> str | None:
    """The list of documents that are taken down; None where a recipe has none. Beside a remote output it is named."""
    if recipe.takedown is not None or recipe.output is None or streams.is_url(recipe.output):
        return recipe.takedown
    path = streams.join(recipe.output, TAKEDOWN)
    return path if streams.exists(path) else None


# --- what a stage reads ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A stage as the recipe has it. What it reads is by the names of stages and by patterns; None: not said."""

    name: str
    stage: Stage
    path: str
    config: object
    folder: str | None
    documents: list[str] | None
    attributes: list[str] | None
    tokens: list[str] | None

    @classmethod
    def of(cls, name: str, given: NamedStage, recipe: Recipe) -> _Wanted:
        path = f"$.stages.{name}" if recipe.stages else "$"
        section, config = next(iter(given.given.items()))
        stage = find_stage(section)
        below = name if recipe.stages else stage.folder
        folder = None if recipe.output is None else streams.join(recipe.output, below)
        if stage.writes == _ATTRIBUTES and not recipe.stages and recipe.attributes is not None:
            folder = recipe.attributes
        listed = {key: _listed(getattr(given, key)) for key in ("documents", "attributes", "tokens")}
        for key, said in listed.items():
            if said is not None and key not in stage.reads_of(config):
                raise ConfigError(f"`{section}` reads no {key}\n  leave it out", path=f"{path}.{key}")
        return cls(name=name, stage=stage, path=path, config=config, folder=folder, **listed)

    @property
    def reads(self) -> tuple[Kind, ...]:
        """The kinds of files that it reads."""
        return self.stage.reads_of(self.config)

    def place(self, key: str, i: int) -> str:
        """The path of one of the names under a key."""
        return f"{self.path}.{key}[{i}]" if len(getattr(self, key) or ()) > 1 else f"{self.path}.{key}"


def _listed(value: list[str] | str | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def _linked(stage: _Wanted, wanted: Mapping[str, _Wanted], recipe: Recipe) -> _Wanted:
    """The stage with all said that it reads."""
    for key in ("documents", "attributes", "tokens"):
        for i, name in enumerate(getattr(stage, key) or ()):
            _check_meaning(name, key, wanted, path=stage.place(key, i))
    documents = _documents(stage, wanted)
    return replace(
        stage,
        documents=documents,
        attributes=_measured(stage, documents, wanted) if "attributes" in stage.reads else [],
        tokens=_tokens(stage, wanted, recipe) if "tokens" in stage.reads else [],
    )


def _check_meaning(name: str, kind: str, wanted: Mapping[str, _Wanted], *, path: str) -> None:
    if name in wanted:
        if wanted[name].stage.writes != kind:
            raise ConfigError(
                f"{name!r} writes {wanted[name].stage.writes}, expected a stage that writes {kind}", path=path
            )
    elif not any(character in name for character in "/*?[.:"):
        raise ConfigError(
            f"no stage {name!r}; {did_you_mean(name, wanted)}\n  a path has a slash: './{name}'", path=path
        )


def _writers(wanted: Mapping[str, _Wanted], kind: Kind) -> list[str]:
    return [name for name, stage in wanted.items() if stage.stage.writes == kind]


def _the_only(stage: _Wanted, wanted: Mapping[str, _Wanted], kind: Kind) -> list[str]:
    found = _writers(wanted, kind)
    if len(found) > 1:
        names = ", ".join(found)
        raise ConfigError(f"reads {kind}, and does not say of which stage: {names}\n  add `{kind}:`", path=stage.path)
    return found


def _documents(stage: _Wanted, wanted: Mapping[str, _Wanted]) -> list[str] | None:
    """Of which stages and patterns its documents are; None: those of the recipe."""
    if stage.documents is None and stage.stage.after_mix and stage.folder is not None:
        return _the_only(stage, wanted, "documents") or None
    return stage.documents


def _measured(stage: _Wanted, documents: list[str] | None, wanted: Mapping[str, _Wanted]) -> list[str]:
    if stage.attributes is not None:
        return stage.attributes
    measuring = (wanted[name] for name in _writers(wanted, "attributes") if wanted[name].stage is not stage.stage)
    return [other.name for other in measuring if _documents(other, wanted) == documents]


def _tokens(stage: _Wanted, wanted: Mapping[str, _Wanted], recipe: Recipe) -> list[str]:
    if stage.tokens is not None:
        return stage.tokens
    found = _the_only(stage, wanted, "tokens")
    if found or recipe.stages or recipe.output is None or stage.stage.writes != "checkpoints":
        return found
    return [streams.join(recipe.output, folder_of("tokens"))]


def _refuse_other_documents(stage: _Wanted, linked: Mapping[str, _Wanted]) -> None:
    """Attributes are of the documents that were measured, row by row, and spans of their very text."""
    read = _sources(stage, linked)
    for i, name in enumerate(stage.attributes or ()):
        if name not in linked or read <= (measured := _sources(linked[name], linked)):
            continue
        edits = next((other for other in sorted(read - measured) if other in linked and _edits(linked[other])), None)
        spans = f"; `{edits}` edits their text, and spans that were measured before do not fit it" if edits else ""
        again = " and ".join(f"`{other}`" for other in sorted(read - measured) if other in linked)
        raise ConfigError(
            f"`{name}` has not measured what `{stage.name}` reads, the documents of {again or 'the recipe'}{spans}"
            f"\n  measure those, by a stage like `{name}` that says `documents:` as `{stage.name}` does",
            path=stage.place("attributes", i),
        )


def _sources(stage: _Wanted, linked: Mapping[str, _Wanted]) -> set[str]:
    """The stages whose documents a stage reads; patterns count as one."""
    return {name if name in linked else "" for name in stage.documents or [""]}


def _edits(stage: _Wanted) -> bool:
    config: MixConfig | object = stage.config
    return bool(getattr(config, "spans", ()))


# --- order and folders -----------------------------------------------------------------------------------------------


def _reads(stage: _Wanted, linked: Mapping[str, _Wanted]) -> tuple[str, ...]:
    names = [*(stage.documents or ()), *(stage.attributes or ()), *(stage.tokens or ())]
    return tuple(dict.fromkeys(name for name in names if name in linked))


def _in_order(linked: Mapping[str, _Wanted]) -> list[str]:
    left, ordered = dict(linked), list[str]()
    while left:
        ready = next((name for name, stage in left.items() if not left.keys() & _reads(stage, linked)), None)
        if ready is None:
            raise _circle(left, linked)
        ordered.append(ready)
        del left[ready]
    return ordered


def _circle(left: Mapping[str, _Wanted], linked: Mapping[str, _Wanted]) -> ConfigError:
    trail = [next(iter(left))]
    while trail[-1] not in trail[:-1]:
        trail.append(next(name for name in _reads(left[trail[-1]], linked) if name in left))
    circle = trail[trail.index(trail[-1]) :]
    said = ", ".join(f"`{name}` reads `{other}`" for name, other in pairwise(circle))
    return ConfigError(
        f"stages read each other in a circle: {said}\n  let one of them read the documents", path="$.stages"
    )


def _check_folders(recipe: Recipe) -> None:
    taken = {RECIPE.lower(): "the recipe"}
    if recipe.quarantine is None:
        taken["quarantine"] = "`quarantine` of the recipe"
    for name in recipe.stages:
        path = f"$.stages.{name}"
        try:
            check_name(name)
        except ValueError as error:
            raise ConfigError(f"the name of a stage {error}\n  use letters, digits, `-` and `_`", path=path) from None
        if (other := taken.get(name.lower())) is not None:
            raise ConfigError(f"would write to the folder of {other}\n  give it another name", path=path)
        taken[name.lower()] = f"stage {name!r}"


def _refuse_within(wanted: Mapping[str, _Wanted], recipe: Recipe) -> None:
    """Return when no other folder that the recipe names is that of a stage, or lies in it."""
    given = {"quarantine": recipe.quarantine} | ({"attributes": recipe.attributes} if recipe.stages else {})
    for key, folder in given.items():
        for name, stage in wanted.items():
            if folder is None or stage.folder is None:
                continue
            if f"{streams.real_path(folder)}/".lower().startswith(f"{streams.real_path(stage.folder)}/".lower()):
                raise ConfigError(
                    f"{printable(folder)} is or lies in the folder of stage {name!r}, {printable(stage.folder)}"
                    "\n  give another folder",
                    path=f"$.{key}",
                )


def _node(stage: _Wanted, linked: Mapping[str, _Wanted], recipe: Recipe) -> Node:
    patterns = recipe.documents if stage.documents is None else [n for n in stage.documents if n not in linked]
    folders = [linked[name].folder for name in stage.documents or () if name in linked]
    mixed = [streams.join(folder, "documents") for folder in folders if folder is not None]
    own = stage.folder if stage.stage.writes == _ATTRIBUTES else None
    named = [linked[name].folder if name in linked else name for name in stage.attributes or ()]
    read = _places(recipe, named) if own is None or "attributes" in stage.reads else []
    places = list(dict.fromkeys([*([own] if own is not None else []), *read]))
    tokens = [linked[name].folder if name in linked else name for name in stage.tokens or ()]
    reading = reading_of(recipe)
    if mixed:  # what a stage has written of the first documents is read whole
        reading = msgspec.structs.replace(reading, limit=None)
    node = Node(
        name=stage.name,
        stage=stage.stage,
        path=stage.path,
        config=stage.config,
        dataset=_dataset(recipe, [*mixed, *patterns], places, reading=reading, exclude=bool(patterns)),
        tokens=tuple(folder for folder in tokens if folder is not None),
        reads=_reads(stage, linked),
        output=stage.folder,
        home=recipe.output,
        reading=reading,
        seed=recipe.seed,
        tokenize=_encoding(stage, linked, recipe) if stage.stage.writes == "documents" else None,
    )
    return _writable(node)


def _encoding(stage: _Wanted, linked: Mapping[str, _Wanted], recipe: Recipe) -> TokenizeConfig | None:
    """The settings by which documents of a stage are encoded; None where no stage does so, or several in other ways."""
    if not recipe.stages:
        return recipe.tokenize
    readers = [other for other in linked.values() if stage.name in (other.documents or ())]
    found = [other.config for other in readers if isinstance(other.config, TokenizeConfig)]
    return found[0] if found and all(config == found[0] for config in found) else None


def _writable(node: Node) -> Node:
    """The node, whose outputs can be written where they belong and nowhere among those of others."""
    beside = node.dataset.documents if node.stage.writes == _ATTRIBUTES and node.output is None else ()
    for folder in (node.output, node.reading.quarantine, *beside):
        if folder is not None:
            streams.check_writable(folder)
    homes = () if node.stage.writes == _ATTRIBUTES else node.dataset.attribute_homes()
    for home in homes:
        if node.output is not None and streams.is_below(node.output, home):
            raise ConfigError(
                f"{printable(node.output)} cannot be an output folder: attributes lie in {printable(home)}"
                "\n  give another output folder"
            )
    return node


def _places(recipe: Recipe, named: Sequence[str | None]) -> list[str]:
    """The folders in which attributes are found, besides those beside the documents."""
    usual = recipe.attributes
    if usual is None and recipe.output is not None and not recipe.stages:
        usual = streams.join(recipe.output, folder_of("attributes"))
    return list(dict.fromkeys(folder for folder in (*named, usual) if folder is not None))


def _dataset(
    recipe: Recipe, documents: Sequence[str], places: Sequence[str], *, reading: Reading, exclude: bool
) -> Dataset:
    written = (recipe.output, *places, recipe.quarantine)
    return Dataset(
        documents=tuple(documents),
        attributes=places[0] if places else None,
        further=tuple(places[1:]),
        exclude=tuple(recipe.exclude) if exclude else (),
        outputs=tuple(folder for folder in written if folder is not None),
        limited=None if reading.limit is None else reading,
    )
