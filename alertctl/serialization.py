"""Convert schemas to and from JSON."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from alertctl.errors import InvalidEvent

T = TypeVar("T")
MAX_DEPTH = 50
"""Levels of objects and lists in a caller's JSON. Nothing of ours has more than 3."""
MAX_VALUES = 5000
"""Values in a caller's JSON: each may be an error, and a million errors take seconds to report."""
_SCALARS = (str, int, float, types.NoneType)
TOO_MANY_VALUES = f"has more than {MAX_VALUES} values; send fewer, or link to the details"


@lru_cache(maxsize=64)
def stamp(moment: datetime) -> str:
    """Return a time in UTC, to the second, in the format of the public API: 2026-03-02T14:32:00Z."""
    return f"{moment.astimezone(UTC).isoformat()[:19]}Z"


class _Stamped:
    """Makes pydantic, where it is used, write a time to JSON with `stamp`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        serializer = core_schema.plain_serializer_function_ser_schema(
            stamp, return_schema=core_schema.str_schema(), when_used="json"
        )
        return {**handler(source), "serialization": serializer}


Moment = Annotated[datetime, _Stamped()]


def utc_time(value: Any) -> datetime:
    """Return the time that a text names, in UTC. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("should be a time like 2026-03-02T14:32:00Z (without a zone: UTC)") from None


def parse_moment(field: str, value: Any) -> datetime | None:
    """Return a caller's time in UTC, or None. Raises InvalidEvent that names the field."""
    try:
        return None if value is None else utc_time(value)
    except ValueError as error:
        raise InvalidEvent(field, str(error)) from None


def check_size(value: Any, field: str) -> None:
    """Raise InvalidEvent for JSON with too many levels or values, before anything recursive reads it."""
    containers, count = [value], 0
    for _ in range(MAX_DEPTH):
        values: list[Any] = []
        for container in containers:
            values.extend(container.values() if isinstance(container, Mapping) else container)
        count += len(values)
        if count > MAX_VALUES:
            raise InvalidEvent(field, TOO_MANY_VALUES)
        # Most values are scalars, and asking for a Mapping takes longest.
        nested = [item for item in values if not isinstance(item, _SCALARS)]
        containers = [item for item in nested if isinstance(item, Mapping | list | tuple)]
        if not containers:
            return
    raise InvalidEvent(field, f"has more than {MAX_DEPTH} levels of objects and lists; flatten it")


def as_json(value: Any) -> Any:
    """Return a schema, or a list or mapping of them, as JSON values."""
    if dataclasses.is_dataclass(value):
        return {item.name: as_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, Mapping):
        return {name: as_json(item) for name, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def from_json(kind: type[T], data: Any) -> T:
    """Return the schema that a server of the same or a newer version wrote. Unknown fields are ignored.

    Raises ValueError when the data doesn't fit.
    """
    try:
        return _read(kind, data)  # type: ignore[no-any-return]
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"not a {kind.__name__}: {error}") from None


def _read(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None if data is None else _read(next(item for item in get_args(kind) if item is not type(None)), data)
    if origin is list:
        return [_read(get_args(kind)[0], item) for item in data]
    if origin is dict:
        return {name: _read(get_args(kind)[1], item) for name, item in data.items()}
    if kind is datetime:
        return datetime.fromisoformat(data)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind(**{name: _read(hint, data[name]) for name, hint in _hints(kind).items() if name in data})
    return data


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
