"""The page at `/docs`: the OpenAPI document as plain HTML. No script, nothing fetched: it works offline."""

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from gateway.problems import KINDS

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-top:2.5rem}article{border-top:1px solid #d0d7de;padding:.8rem 0}
code{font:13px ui-monospace,monospace}.method{display:inline-block;min-width:3.2rem;font-weight:600}
table{border-collapse:collapse}td{padding:.15rem .9rem .15rem 0;vertical-align:top}p{margin:.3rem 0}
.quiet{color:#57606a}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}article{border-color:#30363d}.quiet{color:#8b949e}}
"""


def page(described: dict[str, Any]) -> bytes:
    """The page for a document made by `openapi.document`."""
    title = escape(described["info"]["title"])
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    problems = "".join(_problem(code) for code in KINDS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title} <small class=quiet>{escape(described['info']['version'])}</small></h1>"
        f"<p>{escape(described['info']['description'])} "
        'The machine-readable form is <a href="/openapi.json">/openapi.json</a>.</p>'
        f"<h2>Operations</h2>{operations}<h2>Problems</h2><table>{problems}</table></body></html>"
    ).encode()


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    scope = " ".join(each for needed in operation.get("security", ()) for each in needed["token"])
    lines = "".join(f"<p class=quiet>{line}</p>" for line in _facts(operation))
    return (
        f'<article id="{escape(operation["operationId"])}">'
        f"<p><span class=method>{method.upper()}</span> <code>{escape(path)}</code>"
        f"{f' <span class=quiet>{escape(scope)}</span>' if scope else ''}</p>"
        f"<p>{escape(operation['summary'])}</p>{lines}</article>"
    )


def _facts(operation: dict[str, Any]) -> Iterator[str]:
    query = [each["name"] for each in operation["parameters"] if each["in"] == "query"]
    if query:
        yield "Query: " + " ".join(f"<code>{escape(name)}</code>" for name in query)
    body = operation.get("requestBody")
    if body:
        reference = body["content"]["application/json"]["schema"]["$ref"]
        yield f"Body: <code>{escape(reference.rpartition('/')[2])}</code>"
    yield "Answers: " + ", ".join(escape(status) for status in operation["responses"])


def _problem(code: str) -> str:
    kind = KINDS[code]
    retry = " Sending it again may help." if kind.retryable else ""
    return (
        f'<tr id="{code}"><td><code>{code}</code></td><td>{kind.status}</td><td>{escape(kind.title)}.{retry}</td></tr>'
    )
