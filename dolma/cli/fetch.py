"""`dolma fetch`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from dolma.cli.options import ManualCommand, option
from dolma.cli.printing import print_json, say
from dolma.errors import ConfigError, did_you_mean
from dolma.printable import printable

if TYPE_CHECKING:
    from dolma.models.fetch import OnBytes

EXAMPLE = """
dolma fetch --list
"""


@click.command("fetch", cls=ManualCommand, example=EXAMPLE)
@click.argument("names", nargs=-1, metavar="[NAME|URL]...")
@option(
    "--list", "listed", section="What", is_flag=True, show_default=False, help="Show what has a name; fetch nothing."
)
@option("--sha256", section="How", metavar="HEX", help="The checksum that the file must have; of one URL.")
@option("--again", section="How", is_flag=True, show_default=False, help="Download also what is there.")
def command(names: tuple[str, ...], *, listed: bool, sha256: str | None, again: bool, as_json: bool) -> None:
    """Get public models and lists, once, for taggers to use: `dolma fetch NAME`, `dolma fetch https://...`.

    They are kept in $DOLMA_CACHE, else in ~/.cache/dolma, and downloaded whole or not at all. No other command
    downloads them: a tagger that lacks its model or list says which of these commands gets it. URLs: https, http, s3,
    gs, azure, hf://owner/name/path.
    """
    from dolma.models.fetch import fetch

    if listed:
        _show(as_json=as_json)
        return
    urls = _urls(names)
    if not urls:
        raise ConfigError("nothing to fetch\n  give URLs or names; `dolma fetch --list` shows the names")
    if sha256 is not None and len(urls) != 1:
        raise ConfigError(
            f"--sha256 is of one file, and {len(urls)} are to be fetched\n  fetch each file by a command of its own"
        )
    paths = {}
    for url in urls:
        with _progress(url) as on_bytes:
            paths[url] = str(fetch(url, sha256=sha256, again=again, on_bytes=on_bytes))
        if not as_json:
            say(paths[url])
    if as_json:
        print_json(json.dumps(paths, indent=1))


def _urls(names: Sequence[str]) -> list[str]:
    """The URLs that names stand for, each once, in order."""
    from dolma.data import streams
    from dolma.models.public import PUBLIC

    urls: list[str] = []
    for name in names:
        if name not in PUBLIC and not streams.is_url(name):
            raise ConfigError(
                f"{name!r} is no URL and no name; {did_you_mean(name, PUBLIC)}\n  see `dolma fetch --list`"
            )
        urls += PUBLIC[name].urls if name in PUBLIC else [name]
    return list(dict.fromkeys(urls))


def _show(*, as_json: bool) -> None:
    from dolma.cli.tables import print_table
    from dolma.models.fetch import cache_folder, cached_path
    from dolma.models.public import PUBLIC

    rows = [
        {**asdict(entry), "fetched": sum(cached_path(url).is_file() for url in entry.urls)} for entry in PUBLIC.values()
    ]
    if as_json:
        print_json(json.dumps(rows, indent=1))
        return
    print_table(
        ("name", "kind", "files", "fetched", "MB", "licence", "used by", "file"),
        [
            (
                *(row["name"], row["kind"], len(row["urls"]), row["fetched"]),
                *(row["size"], row["licence"], row["tagger"]),
                row["urls"][0] + (", ..." if len(row["urls"]) > 1 else ""),
            )
            for row in rows
        ],
    )
    say(f"cache: {cache_folder()}")


@contextmanager
def _progress(url: str) -> Iterator[OnBytes | None]:
    """A bar on standard error while something is downloaded, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(printable(url.rpartition("/")[2]), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
