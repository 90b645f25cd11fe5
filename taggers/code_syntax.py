"""How programming languages are commented: the values of the column `syntax` of `code_languages.tsv`.

Approximations that keep a mistake to its line, or to its file at most: strings in quotation marks end with their line
unless the language is strict about it; here-documents and regular expressions of Perl, Ruby and shells are not known;
JavaScript's and TypeScript's are. Markup within markup (scripts in HTML, HTML in PHP) has no comments.
"""

from __future__ import annotations

import functools

from dolma.kernels.comments import Syntaxes, syntaxes_of
from dolma.kernels.reference.comments import Syntax, Token

SLASHES = Token(opens="//", kind="line")
HASH = Token(opens="#", kind="line")
SPACED_HASH = Token(opens="#", kind="line", spaced=True)
FIRST_HASH = Token(opens="#", kind="line", first=True)
DASHES = Token(opens="--", kind="line")
SEMICOLON = Token(opens=";", kind="line")
PERCENT = Token(opens="%", kind="line")
BLOCK = Token(opens="/*", kind="block", closes="*/")
NESTED = Token(opens="/*", kind="block", closes="*/", nests=True)
DOUBLE = Token(opens='"', kind="string", closes='"', escapes=True)
SINGLE = Token(opens="'", kind="string", closes="'", escapes=True)
LONG_DOUBLE = Token(opens='"', kind="string", closes='"', escapes=True, lines=True)
APART_SINGLE = Token(opens="'", kind="string", closes="'", escapes=True, apart=True)
PLAIN_SINGLE = Token(opens="'", kind="string", closes="'")
PLAIN_DOUBLE = Token(opens='"', kind="string", closes='"')
CHARACTER = Token(opens="'", kind="character", closes="'", apart=True)
BACKTICKS = Token(opens="`", kind="string", closes="`", escapes=True, lines=True)
RAW_BACKTICKS = Token(opens="`", kind="string", closes="`", lines=True)
TRIPLE_DOUBLE = Token(opens='"""', kind="string", closes='"""', escapes=True, lines=True)
TRIPLE_SINGLE = Token(opens="'''", kind="string", closes="'''", escapes=True, lines=True)
DOCUMENTING = tuple(
    Token(opens=mark * n, kind="string", closes=mark * n, escapes=True, lines=n == 3, documents=True)
    for n in (3, 1)
    for mark in "\"'"
)
BACKSLASH = Token(opens="\\", kind="skip")
STARRED = Token(opens="(*", kind="block", closes="*)", nests=True)
BRACED = Token(opens="{-", kind="block", closes="-}", nests=True)
MARKUP = Token(opens="<!--", kind="block", closes="-->")
POD = tuple(
    Token(opens=word, kind="block", closes="\n=cut", column=True)
    for word in ("=head", "=pod", "=encodin", "=begin", "=for", "=over", "=item", "=back")
)


def _lua(dashes: str) -> tuple[Token, ...]:
    return tuple(
        Token(opens=f"{dashes}[{level}[", kind="block" if dashes else "string", closes=f"]{level}]", lines=True)
        for level in ("", "=", "==")
    )


SYNTAXES: dict[str, tuple[Token, ...]] = {
    "none": (),
    "c": (SLASHES, BLOCK, DOUBLE, APART_SINGLE),
    "cpp": (SLASHES, BLOCK, Token(opens='R"(', kind="string", closes=')"', lines=True), DOUBLE, APART_SINGLE),
    "go": (SLASHES, BLOCK, DOUBLE, APART_SINGLE, RAW_BACKTICKS),
    "javascript": (SLASHES, BLOCK, DOUBLE, SINGLE, BACKTICKS, Token(opens="/", kind="regex", closes="/")),
    "php": (
        SLASHES,
        BLOCK,
        Token(opens="#[", kind="skip"),
        HASH,
        DOUBLE,
        SINGLE,
        Token(opens="?>", kind="leave"),
        Token(opens="ph", kind="prefix", closes="p"),
    ),
    "css": (BLOCK, DOUBLE, SINGLE),
    "scss": (BLOCK, Token(opens="://", kind="skip"), SLASHES, DOUBLE, SINGLE),
    "dart": (SLASHES, NESTED, TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, SINGLE),
    "kotlin": (SLASHES, NESTED, TRIPLE_DOUBLE, DOUBLE, APART_SINGLE),
    "scala": (SLASHES, NESTED, TRIPLE_DOUBLE, DOUBLE, CHARACTER, BACKTICKS),
    "swift": (SLASHES, NESTED, TRIPLE_DOUBLE, DOUBLE),
    "zig": (SLASHES, Token(opens="\\\\", kind="line"), DOUBLE, APART_SINGLE),
    "rust": (
        SLASHES,
        NESTED,
        Token(opens='r##"', kind="string", closes='"##', lines=True, apart=True),
        Token(opens='r#"', kind="string", closes='"#', lines=True, apart=True),
        Token(opens='r"', kind="string", closes='"', lines=True, apart=True),
        LONG_DOUBLE,
        Token(opens="'", kind="character", closes="'"),  # behind a letter too: b'"'
    ),
    "d": (
        SLASHES,
        BLOCK,
        Token(opens="/+", kind="block", closes="+/", nests=True),
        DOUBLE,
        APART_SINGLE,
        RAW_BACKTICKS,
    ),
    "verilog": (SLASHES, BLOCK, DOUBLE),
    "thrift": (SLASHES, BLOCK, HASH, DOUBLE, SINGLE),
    "hcl": (SLASHES, BLOCK, HASH, DOUBLE),
    "nix": (HASH, BLOCK, Token(opens="''", kind="string", closes="''", lines=True), DOUBLE),
    "prolog": (PERCENT, BLOCK, DOUBLE, APART_SINGLE),
    "sql": (DASHES, BLOCK, PLAIN_SINGLE, PLAIN_DOUBLE),
    "sas": (BLOCK, PLAIN_SINGLE, PLAIN_DOUBLE),
    "stata": (BLOCK, SLASHES, Token(opens="*", kind="line", first=True), PLAIN_DOUBLE),
    "pascal": (
        SLASHES,
        Token(opens="{", kind="block", closes="}"),
        Token(opens="(*", kind="block", closes="*)"),
        PLAIN_SINGLE,
    ),
    "python": (HASH, *DOCUMENTING),
    "ruby": (
        Token(opens="=begin", kind="block", closes="\n=end", column=True),
        SPACED_HASH,
        DOUBLE,
        SINGLE,
    ),
    "hash": (SPACED_HASH, DOUBLE, APART_SINGLE),
    "hash-first": (FIRST_HASH,),
    "elixir": (SPACED_HASH, TRIPLE_DOUBLE, DOUBLE),
    "perl": (*POD, BACKSLASH, Token(opens="$#", kind="skip"), SPACED_HASH, DOUBLE, APART_SINGLE),
    "shell": (BACKSLASH, SPACED_HASH, DOUBLE, PLAIN_SINGLE),
    "make": (BACKSLASH, SPACED_HASH),
    "tcl": (BACKSLASH, SPACED_HASH, DOUBLE),
    "cmake": (
        Token(opens="#[[", kind="block", closes="]]"),
        Token(opens="#[=[", kind="block", closes="]=]"),
        Token(opens="#[==[", kind="block", closes="]==]"),
        Token(opens="#[===", kind="block", closes="===]"),
        HASH,
        DOUBLE,
    ),
    "coffee": (Token(opens="###", kind="block", closes="###"), HASH, TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, SINGLE),
    "julia": (Token(opens="#=", kind="block", closes="=#", nests=True), HASH, TRIPLE_DOUBLE, DOUBLE, CHARACTER),
    "nim": (Token(opens="#[", kind="block", closes="]#", nests=True), HASH, TRIPLE_DOUBLE, DOUBLE, CHARACTER),
    "powershell": (
        Token(opens="<#", kind="block", closes="#>"),
        Token(opens="`", kind="skip"),
        SPACED_HASH,
        PLAIN_DOUBLE,
        PLAIN_SINGLE,
    ),
    "yaml": (SPACED_HASH, DOUBLE, Token(opens="'", kind="string", closes="'", apart=True)),
    "toml": (HASH, TRIPLE_DOUBLE, TRIPLE_SINGLE, DOUBLE, PLAIN_SINGLE),
    "ini": (FIRST_HASH, Token(opens=";", kind="line", first=True)),
    "lua": (*_lua("--"), DASHES, *_lua(""), DOUBLE, SINGLE),
    "haskell": (BRACED, DASHES, DOUBLE, CHARACTER),
    "lean": (Token(opens="/-", kind="block", closes="-/", nests=True), DASHES, DOUBLE, CHARACTER),
    "ada": (DASHES, PLAIN_DOUBLE, CHARACTER),
    "ocaml": (STARRED, LONG_DOUBLE, CHARACTER),
    "fsharp": (STARRED, SLASHES, TRIPLE_DOUBLE, LONG_DOUBLE, CHARACTER),
    "lisp": (
        Token(opens="#\\", kind="skip"),
        Token(opens='?"', kind="skip", apart=True),
        Token(opens='?\\"', kind="skip", apart=True),
        Token(opens="#|", kind="block", closes="|#", nests=True),
        SEMICOLON,
        LONG_DOUBLE,
    ),
    "clojure": (BACKSLASH, SEMICOLON, LONG_DOUBLE),
    "lisp-line": (SEMICOLON, PLAIN_DOUBLE),
    "wasm": (Token(opens="(;", kind="block", closes=";)", nests=True), Token(opens=";;", kind="line"), DOUBLE),
    "assembly": (SEMICOLON, SLASHES, BLOCK, FIRST_HASH, PLAIN_DOUBLE),
    "erlang": (Token(opens="$", kind="skip"), PERCENT, LONG_DOUBLE, APART_SINGLE),
    "tex": (BACKSLASH, PERCENT),
    "matlab": (
        Token(opens="%{\n", kind="block", closes="%}", first=True),
        PERCENT,
        PLAIN_DOUBLE,
        Token(opens="'", kind="string", closes="'", apart=True),
    ),
    "fortran": (
        Token(opens="!", kind="line"),
        Token(opens="C ", kind="line", column=True),
        Token(opens="c ", kind="line", column=True),
        Token(opens="*", kind="line", column=True),
        PLAIN_DOUBLE,
        APART_SINGLE,
    ),
    "basic": (
        Token(opens="'", kind="line"),
        Token(opens="REM ", kind="line", first=True),
        Token(opens="Rem ", kind="line", first=True),
        PLAIN_DOUBLE,
    ),
    "batch": tuple(
        Token(opens=word, kind="line", first=True) for word in ("::", "rem ", "REM ", "Rem ", "@rem ", "@REM ")
    ),
    "vim": (Token(opens='"', kind="line", first=True), APART_SINGLE),
    "roff": (Token(opens='.\\"', kind="line", column=True), Token(opens="'\\\"", kind="line", column=True)),
    "html": (
        MARKUP,
        *(
            Token(opens=word, kind="prefix", closes=close)
            for word, close in (("<?xml", "?>"), ("<!DOCTYP", ">"), ("<!doctyp", ">"))
        ),
    ),
}
"""Tokens by name, in the order in which they are tried."""

_ENTERS = {"php": "<?"}


@functools.cache
def syntax_rows() -> dict[str, int]:
    """The row of each syntax in `compiled_syntaxes()`."""
    return {name: row for row, name in enumerate(SYNTAXES)}


def syntax_of(name: str) -> Syntax:
    """The syntax of that name."""
    return Syntax(tokens=SYNTAXES[name], enters=_ENTERS.get(name, ""))


@functools.cache
def compiled_syntaxes() -> Syntaxes:
    """All syntaxes, as the kernel takes them."""
    return syntaxes_of([syntax_of(name) for name in SYNTAXES])
