"""Describe the HTTP API by OpenAPI: requests, responses and errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.params import Depends
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from alertctl.api.auth import RequireRole
from alertctl.api.endpoints.events import IDEMPOTENCY_KEY
from alertctl.api.errors import Problem, openapi_response
from alertctl.api.request_body import MAX_BYTES
from alertctl.channels import CHANNEL_NAMES
from alertctl.events import EVENT_TYPES, EventFields
from alertctl.labels import NAME
from alertctl.publish import LONGEST_WINDOW
from alertctl.users import Role

DESCRIPTION = "Publish events, read the delivery log, and manage preferences, users and tokens."
REFERENCE = "#/components/schemas/{model}"
_JSON_SCHEMA_NAMES = {"ge": "minimum", "le": "maximum"}
KEY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Idempotency key: repeating the call with the same key sends nothing.",
    "schema": {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY}$"},
}
_MOMENT = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}


def install_openapi(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Serve the description of these routes at /openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _description(app, routes)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def required_role(route: APIRoute) -> Role | None:
    """Return the role that a route requires, by its dependencies or its `x-role`; None when it needs no token."""
    if route.openapi_extra and "x-role" in route.openapi_extra:
        role: Role = route.openapi_extra["x-role"]
        return role
    hints = get_type_hints(route.endpoint, include_extras=True).values()
    dependencies = (extra.dependency for hint in hints for extra in get_args(hint) if isinstance(extra, Depends))
    return next((required.role for required in dependencies if isinstance(required, RequireRole)), None)


def _description(app: FastAPI, routes: Sequence[BaseRoute]) -> dict[str, Any]:
    description = get_openapi(title=app.title, version=app.version, routes=routes, description=DESCRIPTION)
    schemas = description.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    problem = Problem.model_json_schema(ref_template=REFERENCE)
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    description["components"]["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of `alertctl token create`, or a JWT of the platform",
        }
    }
    for route in routes:
        if not isinstance(route, APIRoute):
            continue
        for method in route.methods or ():
            operation = description["paths"][route.path][method.lower()]
            _add_problems(route, operation)
            operation.pop("x-role", None)
            if operation.pop("x-publishes", False):
                operation["requestBody"] = _publish_body(schemas)
                operation.setdefault("parameters", []).append(KEY_HEADER)
    return description


def _add_problems(route: APIRoute, operation: dict[str, Any]) -> None:
    """Add the problems that a route can answer because it has a role, a body or parameters."""
    role = required_role(route)
    responses = operation["responses"]
    responses.pop("422", None)
    has_body = "requestBody" in operation or "x-publishes" in operation
    codes = [422] if has_body or operation.get("parameters") else []
    codes += [400, 413] if has_body else []
    if role is not None:
        operation["security"] = [{"bearer": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nRole: {role.or_higher}."
        # Also for a viewer: a token may have the scope `publish`.
        codes += [401, 403, 503]
    responses.update({str(code): openapi_response(code) for code in codes})


def _publish_body(schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the request body that publishes an event: one schema for each event type."""
    for kind in EVENT_TYPES:
        schemas[kind.__name__] = _event_body(kind, schemas)
    mapping = {kind.event_type: REFERENCE.format(model=kind.__name__) for kind in EVENT_TYPES}
    references = [{"$ref": reference} for reference in mapping.values()]
    schema = {"oneOf": references, "discriminator": {"propertyName": "event_type", "mapping": mapping}}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _event_body(kind: type[EventFields], schemas: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = _simplify(kind.model_json_schema(ref_template=REFERENCE))
    schemas.update(body.pop("$defs", {}))
    body["properties"] = {
        "event_type": {"const": kind.event_type},
        "to": {
            "type": ["array", "null"],
            "items": {"type": "string"},
            "description": "targets instead of the default ones",
        },
        "channel": {"enum": [*CHANNEL_NAMES, None], "description": "send to this channel only"},
        "labels": {
            "type": ["object", "null"],
            "propertyNames": {"pattern": f"^{NAME}$"},
            "description": "labels for routes and filters: texts by name",
        },
        "dedup_window": {
            "type": ["number", "null"],
            "minimum": 1,
            "maximum": LONGEST_WINDOW,
            "description": "seconds in which a repeat (dedup_key, type and subject) to a target is suppressed",
        },
        "expires_at": _MOMENT | {"description": "time after which the event is not sent"},
        "originally_published_at": _MOMENT
        | {"description": "time of the first publication, if earlier; the message shows it"},
        **body["properties"],
    }
    body["dependentRequired"] = {"dedup_window": ["dedup_key"]}
    body["required"] = ["event_type", *body.get("required", [])]
    return body


def _simplify(schema: Any) -> Any:
    """Return the schema with JSON Schema's names for bounds, without lengths above the body limit."""
    if isinstance(schema, dict):
        remaining = {name: value for name, value in schema.items() if name != "maxLength" or value < MAX_BYTES // 2}
        return {_JSON_SCHEMA_NAMES.get(name, name): _simplify(value) for name, value in remaining.items()}
    return [_simplify(item) for item in schema] if isinstance(schema, list) else schema
