"""Block Kit's limits as Slack documents them, for the blocks of a message (docs.slack.dev, reference/block-kit)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_BLOCKS = 50
MAX_CHARACTERS = 13_000
"""The limit for all texts in a message's blocks together; above it Slack answers `msg_blocks_too_long`."""
MAX_TEXT = 3000
MAX_URL = 3000
MAX_ID = 255
MAX_ALT_TEXT = 2000
MAX_RICH_TEXT = 1000
"""Parts and elements of rich text. Slack documents no limit but that of all characters."""

Check = Callable[[Any, str], None]
"""Raises BlockError for a wrong value at a JSON pointer."""


class BlockError(Exception):
    """Slack refuses the blocks (`invalid_blocks` or `msg_blocks_too_long`); the message ends with a JSON pointer."""

    def __init__(self, message: str, pointer: str, code: str = "invalid_blocks") -> None:
        super().__init__(f"{message} [json-pointer:{pointer}]")
        self.code = code


@dataclass(frozen=True, slots=True)
class Shape:
    """The properties of an object. It needs one of `any_of`, if there are any."""

    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)
    any_of: tuple[str, ...] = ()


Shapes = Mapping[str, Shape | None]
"""Shapes by `type`; None for a type that alerts don't use, which is accepted unchecked."""


def check_blocks(blocks: list[Any]) -> None:
    """Raise BlockError for the first block that Slack would refuse."""
    if len(blocks) > MAX_BLOCKS:
        raise BlockError(f"no more than {MAX_BLOCKS} items allowed", "/blocks")
    for index, block in enumerate(blocks):
        _check_object(block, f"/blocks/{index}", BLOCKS)
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(set(ids)) < len(ids):
        raise BlockError("block_id is used twice", "/blocks")
    if sum(map(len, _iter_texts(blocks))) > MAX_CHARACTERS:
        raise BlockError(f"no more than {MAX_CHARACTERS} characters in all", "/blocks", "msg_blocks_too_long")


def _iter_texts(value: Any) -> Iterator[str]:
    """Yield every text at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _iter_texts(item)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        yield from _iter_texts(list(value.values()))


def _check_object(value: Any, pointer: str, shapes: Shapes) -> None:
    if not isinstance(value, dict):
        raise BlockError("must be an object", pointer)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in shapes:
        raise BlockError(f"unsupported type: {kind}", f"{pointer}/type")
    if "block_id" in value:
        _check_id(value["block_id"], f"{pointer}/block_id")
    shape = shapes[kind]
    if shape is None:
        return
    checks = {**shape.required, **shape.optional}
    for name in value:
        if name not in ("type", "block_id", *checks):
            raise BlockError(f"invalid additional property: {name}", pointer)
    if shape.any_of and not any(name in value for name in shape.any_of):
        raise BlockError(f"missing required field: {' or '.join(shape.any_of)}", pointer)
    for name, check in checks.items():
        if name in shape.required or name in value:
            check(value.get(name), f"{pointer}/{name}")


def _accept(value: Any, pointer: str) -> None:
    """Accept a property that alerts don't use."""


def _string(limit: int) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not isinstance(value, str):
            raise BlockError("must be a string", pointer)
        if not value.strip():
            raise BlockError("must be more than 0 characters", pointer)
        if len(value) > limit:
            raise BlockError(f"must be less than {limit + 1} characters", pointer)

    return check


def _objects(limit: int, shapes: Shapes) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not isinstance(value, list) or not value:
            raise BlockError("must have at least 1 item", pointer)
        if len(value) > limit:
            raise BlockError(f"no more than {limit} items allowed", pointer)
        for index, item in enumerate(value):
            _check_object(item, f"{pointer}/{index}", shapes)

    return check


def _object(shapes: Shapes) -> Check:
    return lambda value, pointer: _check_object(value, pointer, shapes)


_check_id = _string(MAX_ID)


def _check_url(url: Any, pointer: str) -> None:
    _string(MAX_URL)(url, pointer)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https") or not rest or any(c.isspace() for c in url):
        raise BlockError("invalid url", pointer)


def _must(is_valid: Callable[[Any], bool], message: str) -> Check:
    def check(value: Any, pointer: str) -> None:
        if not is_valid(value):
            raise BlockError(message, pointer)

    return check


def _is_text_style(style: Any) -> bool:
    known = {"bold", "italic", "strike", "code", "underline", "highlight", "client_highlight", "unlink"}
    return isinstance(style, dict) and known.issuperset(style) and {True, False}.issuperset(style.values())


_check_style = _must(lambda style: style in ("primary", "danger"), "must be primary or danger")
_nonempty = _must(lambda value: isinstance(value, str) and value != "", "must be more than 0 characters")
_check_integer = _must(lambda value: type(value) is int, "must provide an integer")
_check_text_style = _must(_is_text_style, "must be an object of booleans")


def _plain_text(limit: int) -> Shapes:
    return {"plain_text": Shape({"text": _string(limit)}, {"emoji": _accept})}


def _any_text(limit: int) -> Shapes:
    return {**_plain_text(limit), "mrkdwn": Shape({"text": _string(limit)}, {"verbatim": _accept})}


def _image(**optional: Check) -> Shape:
    sources = {"image_url": _check_url, "slack_file": _accept}
    return Shape({"alt_text": _string(MAX_ALT_TEXT)}, {**sources, **optional}, any_of=tuple(sources))


ELEMENTS: Shapes = {
    "image": _image(),
    "button": Shape(
        {"text": _object(_plain_text(75))},
        {
            "action_id": _check_id,
            "url": _check_url,
            "style": _check_style,
            **dict.fromkeys(("value", "confirm", "accessibility_label"), _accept),
        },
    ),
    **dict.fromkeys(("overflow", "datepicker", "static_select", "users_select", "checkboxes", "radio_buttons")),
}
STYLE: Mapping[str, Check] = {"style": _check_text_style}
RICH_TEXT_ELEMENTS: Shapes = {
    "text": Shape({"text": _nonempty}, STYLE),
    "link": Shape({"url": _check_url}, {"text": _nonempty, "unsafe": _accept, **STYLE}),
    "emoji": Shape({"name": _nonempty}, {"unicode": _nonempty, **STYLE}),
    "user": Shape({"user_id": _nonempty}, STYLE),
    "usergroup": Shape({"usergroup_id": _nonempty}, STYLE),
    "channel": Shape({"channel_id": _nonempty}, STYLE),
    "broadcast": Shape({"range": _nonempty}, STYLE),
    "date": Shape(
        {"timestamp": _check_integer, "format": _nonempty},
        {"url": _check_url, "fallback": _nonempty, "timezone": _nonempty, **STYLE},
    ),
    **dict.fromkeys(("color", "team")),
}
RICH_TEXT_PARTS: Shapes = {
    "rich_text_section": Shape({"elements": _objects(MAX_RICH_TEXT, RICH_TEXT_ELEMENTS)}),
    **dict.fromkeys(("rich_text_list", "rich_text_preformatted", "rich_text_quote")),
}
BLOCKS: Shapes = {
    "header": Shape({"text": _object(_plain_text(150))}),
    "section": Shape(
        optional={
            "text": _object(_any_text(MAX_TEXT)),
            "fields": _objects(10, _any_text(2000)),
            "accessory": _object(ELEMENTS),
            "expand": _accept,
        },
        any_of=("text", "fields"),
    ),
    "divider": Shape(),
    "context": Shape({"elements": _objects(10, {**_any_text(MAX_TEXT), "image": _image()})}),
    "actions": Shape({"elements": _objects(25, ELEMENTS)}),
    "image": _image(title=_object(_plain_text(MAX_ALT_TEXT))),
    "rich_text": Shape({"elements": _objects(MAX_RICH_TEXT, RICH_TEXT_PARTS)}),
    **dict.fromkeys(("markdown", "table", "video", "file", "input")),
}
