"""Answer errors as RFC 9457 problem JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match

from alertctl.api.audit import log_refusal
from alertctl.api.deps import BASE
from alertctl.error_codes import status_phrase
from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed, NotFound, Unreachable

log = logging.getLogger("alertctl.api")
MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 2
"""Seconds in Retry-After: about as long as a restart of the database takes."""


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
    body = Problem(type="about:blank", title=status_phrase(status), status=status, detail=clean(detail), errors=errors)
    return JSONResponse(body.model_dump(exclude_none=True), status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def clean(text: str) -> str:
    """Replace lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def error_response(_request: Request, error: Exception) -> Response:
    """Return the response for any error but the framework's. An unexpected one is logged, not shown."""
    detail = str(error)
    if isinstance(error, NotAllowed):
        log_refusal(403 if error.authenticated else 401, f"{error.caller}: {detail}" if error.caller else detail)
        if error.authenticated:
            return problem(403, detail)
        error_parameter = ' error="invalid_token"' if detail != NO_TOKEN else ""
        return problem(401, detail, headers={"WWW-Authenticate": f"Bearer{error_parameter}"})
    if isinstance(error, InvalidEvent):
        return problem(422, detail, errors=[FieldProblem(field=clean(error.field), message=clean(error.message))])
    if isinstance(error, NotFound | Conflict):
        return problem(404 if isinstance(error, NotFound) else 409, detail)
    if isinstance(error, Unreachable):
        log.warning("%s", error)
        unreachable = "The database or the platform's key set cannot be reached; try again later."
        return problem(503, unreachable, headers={"Retry-After": str(RETRY_SECONDS)})
    log.error("a request failed: %s", type(error).__name__, exc_info=error)
    return problem(500, "Internal error; see the daemon's log.")


NO_TOKEN = "send a token: Authorization: Bearer actl_… (an admin creates one with alertctl token create)"


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error with a problem, including the framework's own."""
    app.add_exception_handler(AlertctlError, error_response)
    app.add_exception_handler(Exception, error_response)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = clean(request.url.path)[:200]
    details = {
        404: f"There is nothing at {path}. The API is under {BASE}; see /docs.",
        405: f"{request.method[:20]} is not allowed at {path}; see /docs.",
    }
    headers = dict(error.headers or {})
    if error.status_code == 405:
        # The framework lists only the methods of the path's first route.
        routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
        methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
        headers["Allow"] = ", ".join(sorted(methods))
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), headers=headers)


def _invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [_field_problem(detail) for detail in error.errors()]
    return problem(422, "; ".join(f"{wrong.field}: {wrong.message}" for wrong in errors)[:2000], errors=errors[:50])


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    path = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "unknown field; see /docs"
    return FieldProblem(field=clean(".".join(path)[:200]) or "body", message=clean(message))


def request_error(error: ValidationError) -> RequestValidationError:
    """Return pydantic's error about a body as the one that the handler above answers."""
    return RequestValidationError(error.errors(include_url=False, include_context=False, include_input=False))


def openapi_response(status: int) -> dict[str, Any]:
    """Return the OpenAPI description of a problem response."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": status_phrase(status), "content": {MEDIA_TYPE: {"schema": schema}}}


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: the problems that it answers in addition to those of every route."""
    return {status: openapi_response(status) for status in statuses}
