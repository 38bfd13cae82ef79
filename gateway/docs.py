"""The page at `/docs`: the OpenAPI document as one readable page. No script, nothing fetched: it works offline.

Guarantee: it shows every operation, parameter, schema, example and code of the document it is given, and everything
taken from there is escaped. Anchors: operations by their id, schemas by `schema-NAME`, problems by their code, which is
where the `type` of a problem points.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

import msgspec

from gateway.components import REF, Schema
from gateway.docs_style import STYLE
from gateway.problems import KINDS
from gateway.wire import JSON

Described = Mapping[str, Any]

_CODE: Final = re.compile(r"`([^`]+)`")
_STRONG: Final = re.compile(r"\*\*([^*]+)\*\*")
_BOUNDS: Final = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "above",
    "exclusiveMaximum": "below",
    "minLength": "shortest",
    "maxLength": "longest",
    "minItems": "fewest",
    "maxItems": "most",
}


def page(described: Described) -> bytes:
    """The page for a document made by `openapi.document`."""
    by_tag = {tag["name"]: list(_operations_of(described, tag["name"])) for tag in described["tags"]}
    title, version = escape(described["info"]["title"]), escape(described["info"]["version"])
    return "".join(
        (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            f'<title>{title}</title><meta name="viewport" content="width=device-width">',
            f'<meta name="color-scheme" content="light dark"><style>{STYLE}</style></head><body>',
            f"<nav><strong>{title}</strong>{_nav(by_tag)}</nav><main>",
            f"<h1>{title} <small>{version}</small></h1>{_prose(described['info']['description'])}",
            '<p>The same for machines: <a href="/openapi.json">/openapi.json</a> (OpenAPI 3.1).</p>',
            _access(described),
            *(_section(tag, by_tag[tag["name"]], described) for tag in described["tags"]),
            f'<section id="problems"><h2>Problems</h2>{_problems()}</section>',
            f'<section id="schemas"><h2>Schemas</h2>{_schemas(described)}</section>',
            "</main></body></html>",
        )
    ).encode()


def _operations_of(described: Described, tag: str) -> Iterator[tuple[str, str, Described]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _nav(by_tag: Mapping[str, list[tuple[str, str, Described]]]) -> str:
    parts = ['<a href="#access">access</a><a href="#problems">problems</a><a href="#schemas">schemas</a>']
    for tag, operations in by_tag.items():
        links = (
            f'<a href="#{escape(operation["operationId"])}">{_badge(method)} {escape(_short(path))}</a>'
            for method, path, operation in operations
        )
        parts.append(f'<a class=tag href="#tag-{escape(tag)}">{escape(tag)}</a>{"".join(links)}')
    return "".join(parts)


def _short(path: str) -> str:
    for prefix in ("/api/v1/admin/prop/accounts/{accountId}", "/api/v1/prop/accounts/{accountId}", "/api/v1/prop"):
        if path.startswith(prefix + "/"):
            return "…" + path.removeprefix(prefix)
    return path


def _badge(method: str) -> str:
    return f"<b class={method.lower()}>{method}</b>"


def _access(described: Described) -> str:
    scheme = described["components"]["securitySchemes"]["token"]
    return f'<section id="access"><h2>Access</h2>{_prose(scheme["description"])}{_code(_CURL_SETUP)}</section>'


_CURL_SETUP: Final = """\
export PROP_URL=http://127.0.0.1:8080   # where `prop serve` says it listens
export PROP_TOKEN=...                   # from `prop token create`"""


def _section(tag: Described, operations: list[tuple[str, str, Described]], described: Described) -> str:
    articles = "".join(_operation(method, path, operation, described) for method, path, operation in operations)
    name = escape(tag["name"])
    return f'<section id="tag-{name}"><h2>{name}</h2><p>{_inline(tag["description"])}</p>{articles}</section>'


def _operation(method: str, path: str, operation: Described, described: Described) -> str:
    name = escape(operation["operationId"])
    scopes = " ".join(scope for needed in operation.get("security", ()) for scope in needed["token"]) or "no token"
    parts = [
        f'<article id="{name}"><h3><a href="#{name}">{_badge(method)} <code>{escape(path)}</code></a>',
        f"<small>{escape(scopes)}</small></h3><p>{_inline(operation['summary'])}</p>",
        _prose(operation.get("description", "")),
        _parameters(operation["parameters"]),
        _body(operation.get("requestBody")),
        f"<h4>Example</h4>{_code(curl(method, path, operation))}",
        f"<h4>Answers</h4>{_answers(operation['responses'])}</article>",
    ]
    return "".join(parts)


def curl(method: str, path: str, operation: Described) -> str:
    """The operation's example as a command line; `PROP_URL` and `PROP_TOKEN` are variables of the shell."""
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
    words = [f'curl -s "$PROP_URL{path}"']
    if operation.get("security"):
        words.append('-H "Authorization: Bearer $PROP_TOKEN"')
    body = operation.get("requestBody")
    if body is not None and (body["required"] or body["content"][JSON]["example"]):
        words.append('-H "Content-Type: application/json"')
        words.append(f"-d {shlex.quote(_json(body['content'][JSON]['example']))}")
    elif method != "GET":
        words[0] = words[0].replace("curl -s", f"curl -s -X {method}")
    return " \\\n  ".join(words)


def _parameters(parameters: Iterable[Described]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{_type(each['schema'])}{'' if each.get('required') else _default(each['schema'])}</td>"
        f"<td>{_inline(each.get('description', ''))}</td></tr>"
        for each in parameters
    ]
    head = "<tr><th>Parameter</th><th>in</th><th>type</th><th></th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


def _body(body: Described | None) -> str:
    if body is None:
        return ""
    optional = "" if body["required"] else " (may be left out)"
    return f"<p>Body: {_type(body['content'][JSON]['schema'])}{optional}</p>"


def _answers(responses: Mapping[str, Described]) -> str:
    rows = []
    for status, response in responses.items():
        content = "".join(_content(media_type, each) for media_type, each in response.get("content", {}).items())
        headers = [f"<code>{escape(name)}</code>" for name in response.get("headers", {}) if name != "X-Request-Id"]
        named = f"<p>With {', '.join(headers)}</p>" if headers else ""
        rows.append(f"<tr><td><code>{status}</code></td><td>{_described(response)}{named}{content}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _described(response: Described) -> str:
    """The description of an answer; the codes of a problem link to the table of problems."""
    text = _inline(response["description"])
    return re.sub(r"<code>(\w+)</code>", lambda found: _linked(found[1]) if found[1] in KINDS else found[0], text)


def _linked(code: str) -> str:
    return f'<a href="#{code}"><code>{code}</code></a>'


def _content(media_type: str, content: Described) -> str:
    schema = content["schema"]
    if "examples" in content:  # a problem: its codes are links, its shape is the table's
        return ""
    kind = "" if media_type == JSON else f" <code>{escape(media_type)}</code>"
    text = _inline(schema.get("description", ""))
    shown = f"<p>{_type(schema)}{kind} {text}</p>"
    if "example" not in content:
        return shown
    example = content["example"] if isinstance(content["example"], str) else _json(content["example"])
    return f"{shown}<details><summary>example</summary>{_code(example)}</details>"


def _problems() -> str:
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{kind.status}</td><td>{escape(kind.title)}.</td>'
        f"<td>{'yes' if kind.retryable else ''}</td>"
        f"<td>{'' if kind.retry_after_s is None else f'{kind.retry_after_s} s'}</td></tr>"
        for code, kind in KINDS.items()
    )
    head = "<tr><th>code</th><th>status</th><th>what it means</th><th>retryable</th><th>Retry-After</th></tr>"
    return (
        f"<p>Errors are {_type({'$ref': REF + 'Problem'})} documents, <code>application/problem+json</code>. Decide by "
        "<code>code</code>: it never changes its meaning. Retryable: the same request may be sent again.</p>"
        f"<table>{head}{rows}</table>"
    )


def _schemas(described: Described) -> str:
    return "".join(
        f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3><p>{_inline(schema.get("description", ""))}</p>'
        f"{_fields(schema)}</article>"
        for name, schema in described["components"]["schemas"].items()
    )


def _fields(schema: Schema) -> str:
    if "properties" not in schema:
        return f"<p>{_type(schema)}</p>"
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_type(field)}"
        f"{'' if name in schema.get('required', ()) else _default(field)}</td>"
        f"<td>{_inline(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    )
    return f"<table>{rows}</table>" if rows else "<p>No fields.</p>"


def _default(schema: Schema) -> str:
    given = (
        "" if schema.get("default") is None else f", default <code>{escape(_json(schema['default'], indent=0))}</code>"
    )
    return f" <small>optional{given}</small>"


def _type(schema: Schema) -> str:
    """What a schema takes, in words."""
    if "$ref" in schema:
        name = escape(schema["$ref"].removeprefix(REF))
        return f'<a href="#schema-{name}">{name}</a>'
    for word, joint in (("allOf", " with "), ("anyOf", " or "), ("oneOf", " or ")):
        if word in schema:
            return joint.join(_type(each) for each in schema[word])
    if "const" in schema:
        return f"<code>{escape(_json(schema['const']))}</code>"
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(each))}</code>" for each in schema["enum"])
    bounds = [f"{said} {schema[word]}" for word, said in _BOUNDS.items() if word in schema]
    limits = f" <small>{escape(', '.join(bounds))}</small>" if bounds else ""
    match schema.get("type"):
        case "array":
            return f"list of {_type(schema['items'])}{limits}"
        case "object" if "properties" in schema:
            fields = ", ".join(
                f"<code>{escape(name)}</code>: {_type(each)}" for name, each in schema["properties"].items()
            )
            return f"{{ {fields} }}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {_type(schema['additionalProperties'])}"
        case "string" if "format" in schema:
            return f"{escape(schema['format'])}{limits}"
        case "string" if "pattern" in schema:
            return f"string <code>{escape(schema['pattern'])}</code>{limits}"
        case kind:
            return f"{escape(str(kind or 'anything'))}{limits}"


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", escape(text, quote=False)))


def _code(text: str) -> str:
    return f"<pre>{escape(text, quote=False)}</pre>"


def _json(value: Any, *, indent: int = 2) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=indent).decode()
