"""The first page: what this is, whether it is well, how to run something, where to go."""

from collections.abc import Iterable, Mapping
from html import escape

from opeva_api.docs import ICON

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem}"
    "h1{margin-bottom:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}"
    "pre{background:#8882;border-radius:.4rem;padding:.8rem 1rem;overflow-x:auto;font-size:.9rem}"
    "td{padding:.15rem 1.5rem .15rem 0;vertical-align:top}"
    ".well,.ill{border-left:.3rem solid #2e9e5b;padding:.2rem .8rem}.ill{border-color:#d9822b}"
)
_HOW = """curl -X POST {address}/run-simulation \\
     -H 'Content-Type: application/json' \\
     -d '{{"config_path": "rbc-quick.yaml"}}'"""


def page(about: str, links: Mapping[str, str], problems: Iterable[str], address: str) -> str:
    """The page as HTML; `address` is how its reader reached it."""
    rows = "".join(
        f'<tr><td><a href="{path}">{path}</a></td><td>{escape(text)}</td></tr>' for path, text in links.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>OPEVA jobs</title>'
        '<meta name="viewport" content="width=device-width">'
        f'<link rel="icon" href="{ICON}"><style>{_STYLE}</style></head>'
        f"<body><h1>OPEVA jobs</h1><p>{escape(about)}</p>{_state(list(problems))}"
        "<h2>Run a simulation</h2><p>Put a spec file into the folder <code>specs/</code> of the shared volume, or send "
        "a request that names a config under <code>configs/</code>:</p>"
        f"<pre>{escape(_HOW.format(address=address.rstrip('/')))}</pre>"
        f"<h2>Look around</h2><table>{rows}</table></body></html>"
    )


def _state(problems: list[str]) -> str:
    if not problems:
        return '<p class="well">All is well: the operator is at work.</p>'
    return "".join(f'<p class="ill">{escape(problem[:1].upper() + problem[1:])}.</p>' for problem in problems)
