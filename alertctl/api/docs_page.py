"""GET /docs: the OpenAPI description as one HTML page, without scripts and without other hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse

POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { font: bold 1rem monospace; border-top: 1px solid #999; padding-top: 1rem }
pre { background: #8882; padding: .5rem; overflow: auto }
table { border-spacing: .8rem .2rem } td { vertical-align: top }
"""


def install_docs_page(app: FastAPI) -> None:
    async def docs(_request: Request) -> HTMLResponse:
        return HTMLResponse(_page(app.openapi()), headers={"Content-Security-Policy": POLICY})

    app.add_route("/docs", docs, include_in_schema=False)


def _page(description: Mapping[str, Any]) -> str:
    title = f"{escape(description['info']['title'])} {escape(description['info']['version'])}"
    operations = [
        "\n".join(_operation(method, path, operation))
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = _details("Schemas", description["components"]["schemas"])
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    intro = '<p>Send a token: <code>Authorization: Bearer actl_…</code>. <a href="openapi.json">openapi.json</a></p>'
    return "\n".join([head, f"<h1>{title}</h1>", intro, *operations, "<h2>Schemas</h2>", schemas, "</html>"])


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>{method.upper()} {escape(path)}</h2>"
    yield from (f"<p>{escape(text)}</p>" for text in operation.get("description", "").split("\n\n") if text)
    parameters = operation.get("parameters", ())
    if parameters:
        rows = (
            f"<tr><td><code>{escape(item['name'])}</code></td><td>{escape(item['in'])}</td>"
            f"<td>{escape(item.get('description', ''))}</td></tr>"
            for item in parameters
        )
        yield f"<table>{''.join(rows)}</table>"
    if "requestBody" in operation:
        yield _details("Body", operation["requestBody"]["content"])
    yield _details(f"Responses: {', '.join(operation['responses'])}", operation["responses"])


def _details(summary: str, content: object) -> str:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
