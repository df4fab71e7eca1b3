"""What a server answered: data, or one of our errors with the same words as on the database."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from alertctl.client.server_config import Server
from alertctl.errors import AlertctlError, Conflict, InvalidEvent, NotAllowed, NotFound, Unreachable
from alertctl.http.client import Response
from alertctl.schemas import from_json

T = TypeVar("T")
PROBLEM = "application/problem+json"
LONGEST = 500
"""Characters of somebody else's words that an error shows."""


def data_of(reply: Response, server: Server) -> Any:
    """The JSON of a reply that says yes. Raises the error that any other is."""
    if not 200 <= reply.status < 300:
        raise error_of(reply, server)
    found = _json(reply, "application/json")
    if found is None:
        raise no_alertctl(server, reply)
    return found


def read_as(kind: type[T], data: Any, server: Server) -> T:
    """One of our schemas. Raises Unreachable when it can't be one."""
    try:
        return from_json(kind, data)
    except ValueError as error:
        raise Unreachable(f"{server.root} answers what no alertctl does ({str(error)[:LONGEST]})") from None


def listed(kind: type[T], data: Any, server: Server) -> list[T]:
    """The `items` of an answer."""
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise Unreachable(f"{server.root} answers what no alertctl does (no items)")
    return [read_as(kind, each, server) for each in items]


def error_of(reply: Response, server: Server) -> AlertctlError:
    """The error that a reply without success is."""
    problem = _json(reply, PROBLEM)
    said = str(problem.get("detail", ""))[:LONGEST] if isinstance(problem, dict) else ""
    status = reply.status
    if status in (401, 403):
        words = said or f"{server.root} answered {status}, but not as alertctl does: is there a proxy in between?"
        return NotAllowed(words, authenticated=status == 403)
    if 300 <= status < 400:
        where = reply.headers.get("location", "").partition("?")[0][:LONGEST]
        return Unreachable(f"{server.root} sends elsewhere ({where}): ALERTCTL_SERVER should be the address itself")
    if not said:
        return no_alertctl(server, reply)
    if status >= 500 or status in (408, 429):
        return Unreachable(f"{server.root} answered {status}: {said}")
    return _refusal(status, said, problem)


def _refusal(status: int, said: str, problem: Any) -> AlertctlError:
    if status == 404:
        return NotFound(said)
    if status == 409:
        return Conflict(said)
    wrong = problem.get("errors")
    first = wrong[0] if isinstance(wrong, list) and wrong and isinstance(wrong[0], dict) else {}
    field = str(first.get("field") or "body")
    return InvalidEvent(field, said.removeprefix(f"{field}: "))


def no_alertctl(server: Server, reply: Response) -> Unreachable:
    kind = reply.headers.get("content-type", "nothing").partition(";")[0][:80]
    return Unreachable(
        f"{server.root} answers, but not as alertctl does ({reply.status}, {kind}): is ALERTCTL_SERVER right?"
    )


def _json(reply: Response, kind: str) -> Any:
    """The reply's JSON, None when it is of another kind or broken."""
    if reply.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        return None
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
