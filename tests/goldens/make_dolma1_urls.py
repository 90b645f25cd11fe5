"""Write down what Dolma 1.2.1's URL taggers answer, with small lists of ours in place of its own.

Run where it is installed, not where this project is: cd /tmp && PYTHON_OF_DOLMA_1 /path/to/make_dolma1_urls.py

`dolma1_urls.json` gets the lists, and for each tagger the URLs with `true`, `false` or the error that ended the run.
"""

from __future__ import annotations

import importlib
import json
import tempfile
from pathlib import Path

HERE = Path(__file__).parent

HOSTS = (
    "# hosts\n127.0.0.1 localhost\n::1 ip6-localhost\n0.0.0.0 0.0.0.0\n0.0.0.0 bad.example\n0.0.0.0 www.worse.example\n"
    "127.0.0.1\ttabs.example\n198.51.100.7 address.example\n0.0.0.0 wow.example # why\n"
)
PLAIN = (
    "bad.example\nweb.example\nwww.worse.example\n198.51.100.7\nUPPER.example\nbücher.example\nsub.deep.example\n"
    "; comment\n! comment\n"
)
MIXED = (
    "||rule.example^\n||wide.example^\n||third.example^$third-party\nhttp://url.example/x?y\nplain.example\n"
    "  spaces.example \n"
)
LINKS = "bad.example\npath.example/Login\nslash.example/login/\nhttp://scheme.example/login\nport.example:8080/x\n"
RULES = (
    "[Adblock Plus 2.0]\n! comment\n||ads.example^\n@@||good.ads.example^\n||third.example^$third-party\n"
    "||first.example^$first-party\n||image.example^$image\n||script.example^$script\n||document.example^$document\n"
    "||all.example^$all\n||popup.example^$popup\n||important.example^$important\n||domain.example^$domain=x.example\n"
    "/banner/*\n&track=\n/re[0-9]+x/\n|http://start.example/a\nsite.example##.advert\n-advert-\n||wild.*/tracker^\n"
)
WIKIDATA = json.dumps(
    [
        {"url": "http://www.daily.example/", "description": "daily newspaper"},
        {"url": "http://news.paper.co.uk/x", "description": "newspaper of a town"},
        {"url": "http://www.town.paper.co.uk", "description": "newspaper of another town"},
        {"url": "https://tabloid.example", "description": "a Tabloid"},
        {"url": "https://nothing.example", "description": None},
        {"url": "https://vague.example", "description": "website"},
        {"url": "https://paper.cam", "description": "magazine"},
        {"url": "https://someone.blogspot.com", "description": "magazine"},
    ]
)

COMMON = ["", None, "http://[::1", "http://a b.example", "mailto:a@bad.example", "http://good.example/"]
DOMAIN_URLS = [
    *("http://bad.example/a", "https://www.bad.example", "http://sub.bad.example", "http://BAD.example:80/"),
    *("bad.example/x", "//bad.example/x", "ftp://bad.example", "http://user@bad.example/", "http://bad.example?x#y"),
    *("http://worse.example/", "http://web.example/", "http://eb.example/", "http://w.bad.example/"),
    *("http://tabs.example", "http://address.example", "http://198.51.100.7/x", "http://0.0.0.0/", "http://127.0.0.1/"),
    *(
        "http://wow.example",
        "http://ow.example",
        "http://upper.example",
        "http://bücher.example/",
        "http://deep.example",
    ),
    *("http://sub.deep.example", "http://rule.example", "http://third.example", "http://url.example/y"),
    "http://wide.example",
    *(
        "http://plain.example",
        "http://spaces.example",
        "http://localhost/",
        "http://notbad.example",
        "http://bad.example./",
    ),
]
LINK_URLS = [
    *("http://bad.example/", "http://bad.example/x", "https://bad.example?x", "http://www.bad.example"),
    *("http://path.example/login", "http://path.example/LOGIN/", "http://path.example/login?x", "http://path.example/"),
    *("http://slash.example/login", "http://slash.example/login/", "http://scheme.example/login"),
    *("http://port.example:8080/x", "http://port.example/x", "http://path.example/login/more"),
]
RULE_URLS = [
    *("http://ads.example/", "https://www.ads.example/x", "http://good.ads.example/", "http://third.example/a"),
    *("http://first.example/", "http://image.example/", "http://script.example/", "http://document.example/"),
    *("http://all.example/", "http://popup.example/", "http://important.example/", "http://domain.example/"),
    *("http://a.example/banner/x", "http://a.example/?x&track=1", "http://a.example/re12x", "http://start.example/a"),
    *("https://start.example/ab", "http://start.example/ab", "http://site.example/", "http://my-advert-x.example"),
    *("http://ADS.example/X", "ads.example", "http://ads.example:8080/", "http://wild.example/tracker"),
]
WIKIDATA_URLS = [
    *("http://daily.example/x", "http://www.daily.example", "http://blog.daily.example", "http://paper.co.uk/"),
    *("http://news.paper.co.uk", "http://town.paper.co.uk/y", "http://www.other.co.uk/", "http://my.other.co.uk/"),
    *("http://tabloid.example/", "http://nothing.example/", "http://vague.example/", "http://paper.cam/"),
    *("http://someone.blogspot.com/", "http://other.blogspot.com/"),
]
CASES = {
    "domain_blocklist_utp_v1": (PLAIN, DOMAIN_URLS),
    "domain_blocklist_phishing_v1": (LINKS, DOMAIN_URLS),
    "link_blocklist_phishing_v1": (LINKS, LINK_URLS),
    "blocklist_hosts_porn_v1": (HOSTS, DOMAIN_URLS),
    "blocklist_firebog_ads_v1": (MIXED, DOMAIN_URLS),
    "oisd_big_abp_v1": (RULES, RULE_URLS),
    "allowlist_wikidata_v1": (WIKIDATA, WIKIDATA_URLS),
    "allowlist_wikidata_cleaned_v1": (WIKIDATA, WIKIDATA_URLS),
}


def answer(tagger: object, url: str | None) -> bool | str:
    """Whether 1.2.1 lists the URL, or the error that it raises."""
    record = importlib.import_module("dolma.core.data_types").DocumentWithMetadata
    try:
        found = tagger.predict(record(id="0", text="a", source="", version=None, metadata={"url": url}))
    except Exception as error:  # noqa: BLE001 - whatever it is would have ended its run: that is the answer
        return type(error).__name__
    return bool(found.spans)


def main() -> None:
    """Ask each tagger about its URLs."""
    module = importlib.import_module("dolma.taggers.url")
    registry = importlib.import_module("dolma.core.registry").TaggerRegistry
    module.cached_path = lambda path: path
    written = {}
    for name, (text, urls) in CASES.items():
        kind = registry.get(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "list.txt"
            path.write_text(text)
            kind.BLOCKLIST_PATHS = [str(path)]
            tagger = kind()
        answers = [[url, answer(tagger, url)] for url in [*COMMON, *urls]]
        written[name] = {"list": text, "answers": answers}
    path = HERE / "dolma1_urls.json"
    path.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
