"""Public lists and models that taggers use, by name: where they are, under which licence, what uses them.

`dolma fetch NAME` gets them. They belong to others and may move or go; any of them may be had elsewhere, and given to
its tagger as a local file. Lists of Dolma 1.x have its taggers' names, and are the versions of 2024 that it uses;
`ut1_*` are today's lists of the Université Toulouse Capitole, by category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dolma.errors import ConfigError
from dolma.models.fetch import cached_path, fetched_path
from dolma.printable import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """A list or model: one file per URL. `size` is in MB, None where nobody has looked; `licence` as its owner says."""

    name: str
    kind: Literal["list", "model"]
    urls: tuple[str, ...]
    licence: str
    tagger: str
    size: float | None = None


def copies(given: str, *, tagger: str) -> tuple[Path, ...]:
    """The local files of a path, a fetched URL, or a fetched list or model by its name here.

    Raises:
        ConfigError: there is no such file, or it has not been fetched; says what gets it.
    """
    public = PUBLIC.get(given)
    if public is None or Path(given).is_file():
        try:
            return (fetched_path(given),)
        except ConfigError as error:
            raise ConfigError(f"{tagger}: {error.message}") from error
    if missing := [url for url in public.urls if not cached_path(url).is_file()]:
        raise ConfigError(
            f"{tagger}: {len(missing)} of the {len(public.urls)} files of {given!r} have not been fetched\n"
            f"  run `dolma fetch {printable(given)}`, or give local files"
        )
    return tuple(fetched_path(url) for url in public.urls)


_DOLMA = "https://dolma-artifacts.org/"
_SEVERAL = "several, of each list's owner"


def _list(name: str, folder: str, licence: str, *files: str) -> Public:
    urls = tuple(f"{_DOLMA}{folder}/{file}" for file in files)
    return Public(name=name, kind="list", urls=urls, licence=licence, tagger=name)


def _project(topic: str, *files: str) -> Public:
    folder = "blocklist_project/blocklist_project-20240207"
    return _list(f"blocklist_project_{topic}_v1", folder, "Unlicense", *(f"{file}.txt" for file in files))


def _firebog(topic: str, *files: str) -> Public:
    folder = f"blocklist_firebog/blocklist_firebog-20240208/{topic}"
    return _list(f"blocklist_firebog_{topic}_v1", folder, _SEVERAL, *(f"{file}.txt" for file in files))


def _hosts(topic: str) -> Public:
    return _list(f"blocklist_hosts_{topic}_v1", "blocklist_hosts/blocklist_hosts-20240208", "MIT", f"{topic}.txt")


def _oisd(size: str) -> Public:
    return _list(f"oisd_{size}_abp_v1", "blocklist_oisd/blocklist_oisd-20240205", "GPL-3.0", f"oisd_{size}_abp.txt.gz")


def _brave(topic: str, *files: str) -> Public:
    return _list(f"brave_{topic}_abp_v1", "blocklist_brave/blocklist_brave-20240206", "MPL-2.0", *files)


def _phishing(kind: str) -> Public:
    folder = "blocklist_phishing_db/blocklist_phishing_db-20240205"
    return _list(f"{kind}_blocklist_phishing_v1", folder, "MIT", "domains.txt.gz")


def _toulouse(category: str) -> Public:
    url = f"https://raw.githubusercontent.com/olbat/ut1-blacklists/master/blacklists/{category}/domains"
    return Public(name=f"ut1_{category}", kind="list", urls=(url,), licence="CC BY-SA 4.0", tagger="url_list")


def _wikidata(kind: str) -> Public:
    files = ("periodical-Q1002697/response.json", "website-Q35127/response.json")
    return _list(f"allowlist_wikidata_{kind}v1", "wikidata/wikidata-20220208", "CC0-1.0", *files)


def _model(name: str, url: str, licence: str, tagger: str, *, size: float | None = None) -> Public:
    return Public(name=name, kind="model", urls=(url,), licence=licence, tagger=tagger, size=size)


def _files(name: str, folder: str, licence: str, tagger: str, *files: str) -> Public:
    """A model of several files, which its tagger knows by their names."""
    urls = tuple(f"{folder}/{file}" for file in files)
    return Public(name=name, kind="model", urls=urls, licence=licence, tagger=f"{tagger}, by `path`")


def _table(entries: Sequence[Public]) -> dict[str, Public]:
    return {entry.name: entry for entry in entries}


PUBLIC = _table(
    [
        _list(
            "domain_blocklist_utp_v1", "blocklist_utp/blocklist_utp-20240205/adult", "CC BY-SA 4.0",
            "domains",
        ),
        _phishing("domain"),
        _phishing("link"),
        _oisd("small"),
        _oisd("big"),
        _oisd("nsfw"),
        _brave("core", "brave_ad_block_first_party_filters.txt", "brave_ad_block_updater.txt"),
        _brave("nsfw", "blocklists_anti_porn.txt"),
        _project("nsfw", "porn"),
        _project("social", "facebook", "fortnite", "tiktok", "twitter", "whatsapp", "youtube"),
        _project(
            "crime", "abuse", "fraud", "malware", "phishing", "piracy", "ransomware", "scam", "redirect"
        ),
        _project("vice", "crypto", "drugs", "gambling", "vaping"),
        _project("ads", "adobe", "ads", "basic", "smart-tv", "tracking"),
        _firebog(
            "ads", "blue/hosts", "green/AdguardDNS", "green/Admiral", "green/adservers", "green/Easylist-2",
            "green/hosts-2", "green/hosts-3", "green/hosts", "green/serverlist", "green/simple_ad",
        ),
        _firebog("crypto", "green/hosts_browser"),
        _firebog(
            "malicious", "blue/phishing-filter-hosts", "blue/Prigent-Malware", "green/AntiMalwareHosts",
            "green/hostfile", "green/hosts-2", "green/hosts", "green/latestdomains", "green/main-blacklist",
            "green/Mandiant_APT1_Report_Appendix_D", "green/notrack-malware", "green/phishing_army_blocklist_extended",
            "green/Prigent-Crypto", "green/RPiList-Malware", "green/RPiList-Phishing", "green/simple_malvertising",
        ),
        _firebog("nsfw", "blue/pi_blocklist_porn_top1m.list", "blue/Prigent-Adult"),
        _firebog("social", "blue/facebook"),
        _firebog(
            "suspicious", "blue/hosts-2", "blue/hosts-3", "blue/hosts-4", "blue/hosts-file", "blue/neohostsbasic",
            "blue/SNAFU", "blue/spammers", "green/hosts", "green/KADhosts", "green/w3kbl",
        ),
        _firebog(
            "trackers", "blue/ads-and-tracking-extended", "blue/AmazonFireTV", "blue/android-tracking",
            "blue/notrack-blocklist", "blue/SmartTV", "green/Easyprivacy", "green/firstparty-trackers-hosts",
            "green/hosts", "green/Prigent-Ads", "green/spy",
        ),
        _hosts("adware_malware"),
        _hosts("fakenews"),
        _hosts("gambling"),
        _hosts("porn"),
        _hosts("social"),
        _wikidata(""),
        _wikidata("cleaned_"),
        _toulouse("agressif"),
        _toulouse("chat"),
        _toulouse("dating"),
        _toulouse("ddos"),
        _toulouse("filehosting"),
        _toulouse("gambling"),
        _toulouse("malware"),
        _toulouse("mixed_adult"),
        _toulouse("phishing"),
        _model(
            "lid.176", "https://dl.fbaipublicfiles.com/fasttext/supervised-models/lid.176.bin", "CC BY-SA 3.0",
            "language, by `path`; it has the small form of this model already", size=131,
        ),
        _model(
            "dclm-oh-eli5",
            "hf://mlfoundations/fasttext-oh-eli5/openhermes_reddit_eli5_vs_rw_v2_bigram_200k_train.bin",
            "see huggingface.co/mlfoundations/fasttext-oh-eli5", "fasttext, by `path`",
        ),
        _model(
            "dolma17-quality",
            f"{_DOLMA}fasttext_models/dolma-1_7/cc_wiki_wikiref_sw_pes2o_adult_fakenews_math_books_openhermes.bin",
            "of AI2, not stated", "fasttext, by `path`",
        ),
        _model(
            "jigsaw-hatespeech",
            f"{_DOLMA}fasttext_models/jigsaw_fasttext_bigrams_20230515/jigsaw_fasttext_bigrams_hatespeech_final.bin",
            "of AI2, not stated", "fasttext, by `path`",
        ),
        _model(
            "jigsaw-nsfw",
            f"{_DOLMA}fasttext_models/jigsaw_fasttext_bigrams_20230515/jigsaw_fasttext_bigrams_nsfw_final.bin",
            "of AI2, not stated", "fasttext, by `path`",
        ),
        _files(
            "kenlm-wikipedia-en", "hf://edugp/kenlm/wikipedia", "MIT", "perplexity", "en.arpa.bin", "en.sp.model"
        ),
        _files(
            "fineweb-edu-classifier", "hf://HuggingFaceFW/fineweb-edu-classifier", "Apache-2.0", "transformer",
            "model.safetensors", "config.json", "tokenizer.json",
        ),
    ]
)  # fmt: skip
"""By name."""
