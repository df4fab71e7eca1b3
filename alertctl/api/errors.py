"""Errors as RFC 9457 problem JSON, each with a sentence that a person can act on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from alertctl.api.deps import BASE
from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed, NotFound, Unreachable

log = logging.getLogger("alertctl.api")
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""What Retry-After asks for: about the time that a restart of the database takes."""


class FieldProblem(BaseModel):
    """One wrong field of a request, and what would be right."""

    field: str
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). `errors` names each wrong field."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem] | None = None


def problem(
    status: int, detail: str, *, headers: Mapping[str, str] | None = None, errors: list[FieldProblem] | None = None
) -> Response:
    phrase = HTTPStatus(status).phrase
    body = Problem(type="about:blank", title=phrase, status=status, detail=clean(detail), errors=errors)
    content = body.model_dump(exclude_none=True)
    return JSONResponse(content, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def clean(text: str) -> str:
    """The text without what JSON can't carry: lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def explain(error: AlertctlError) -> Response:
    """The problem that an error of ours is."""
    if isinstance(error, NotAllowed):
        return _not_allowed(error)
    if isinstance(error, InvalidEvent):
        wrong = FieldProblem(field=clean(error.field), message=clean(error.message))
        return problem(422, str(error), errors=[wrong])
    if isinstance(error, Unreachable):
        log.warning("%s", error)
        return problem(
            503,
            "The database (or the platform's key set) can't be reached now: try again in a moment.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
    if isinstance(error, NotFound):
        return problem(404, str(error))
    if isinstance(error, Conflict):
        return problem(409, str(error))
    return _unexpected(error)


def _not_allowed(error: NotAllowed) -> Response:
    if error.authenticated:
        return problem(403, str(error))
    given = ' error="invalid_token"' if str(error) != NO_TOKEN else ""
    return problem(401, str(error), headers={"WWW-Authenticate": f"Bearer{given}"})


NO_TOKEN = "send a token: Authorization: Bearer actl_… (alertctl token create makes one)"


def install(app: FastAPI) -> None:
    """Answer every error with a problem, also those of the framework; nothing of a traceback is shown."""
    app.add_exception_handler(AlertctlError, lambda _request, error: explain(_ours(error)))
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, lambda _request, error: _unexpected(error))


def _ours(error: Exception) -> AlertctlError:
    assert isinstance(error, AlertctlError)
    return error


def _unexpected(error: Exception) -> Response:
    log.error("a request failed: %s", type(error).__name__, exc_info=error)
    return problem(500, "Something went wrong here; the daemon's log says what. Nothing more is known to the caller.")


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = clean(request.url.path)[:200]
    details = {
        404: f"There is nothing at {path}: the API is under {BASE}, /docs describes it.",
        405: f"{request.method[:20]} is not possible at {path}: /docs says what is.",
    }
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The framework names the methods of the path's first route only.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), headers=headers)


def _methods(request: Request) -> set[str]:
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_problem(one) for one in error.errors()]
    return problem(422, "; ".join(f"{one.field}: {one.message}" for one in errors)[:2000], errors=errors[:50])


def _field_problem(found: Mapping[str, Any]) -> FieldProblem:
    place = [str(part) for part in found["loc"] if part not in ("body", "query", "path", "header")]
    message = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        message = "there is no such field (/docs has them all)"
    return FieldProblem(field=clean(".".join(place)[:200]) or "body", message=clean(message))


def rejected(error: ValidationError) -> RequestValidationError:
    """What pydantic found wrong with a body, for the handler above."""
    return RequestValidationError(error.errors(include_url=False, include_context=False, include_input=False))


def response(status: int) -> dict[str, Any]:
    """A problem's place in the OpenAPI description."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: the problems that it answers beside those of every route."""
    return {status: response(status) for status in statuses}
