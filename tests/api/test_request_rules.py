"""HEAD answers where GET does, and a parameter counts once."""

from __future__ import annotations

import pytest

from tests.support.api_server import ApiServer, openapi_schema
from tests.support.cases import each

GET_ROUTES = [path for path, methods in openapi_schema()["paths"].items() if "get" in methods and "{" not in path]


@each("path", [*GET_ROUTES, "/openapi.json", "/nothing/here"])
def test_head_answers_as_get_does_without_a_body(shared_api: ApiServer, path: str) -> None:
    head, get = (shared_api.call(method, path) for method in ("HEAD", "GET"))
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    assert shared_api.call("HEAD", "/healthz").status == 200


def test_head_of_a_stream_ends_while_the_stream_goes_on(api: ApiServer) -> None:
    api.stopping = False
    assert (api.ask("HEAD", "/delivery-log/stream").status, api.ask("HEAD", "/me", by=None).status) == (200, 401)


@pytest.mark.parametrize(
    ("query", "name"),
    [("status=failed&status=success", "status"), ("status=failed&limit=5&status=failed", "status"), ("x&x", "x")],
)
def test_a_repeated_parameter_is_refused_and_named(shared_api: ApiServer, query: str, name: str) -> None:
    answer = shared_api.ask("GET", f"/delivery-log?{query}")
    assert (answer.status, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json["errors"] == [{"field": name, "message": "is given twice; send one value"}]


def test_different_parameters_are_fine(shared_api: ApiServer) -> None:
    assert shared_api.ask("GET", "/delivery-log?status=failed&channel=slack&to=").status == 200
