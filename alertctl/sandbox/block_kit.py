"""Block Kit's limits as Slack documents them, for the blocks of a message (docs.slack.dev, reference/block-kit)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MAX_BLOCKS = 50
MAX_CHARACTERS = 13_000
"""Of all texts in a message's blocks together; beyond it Slack says `msg_blocks_too_long`."""
MAX_HEADER = 150
MAX_TEXT = 3000
MAX_FIELDS = 10
MAX_FIELD = 2000
MAX_BUTTON = 75
MAX_URL = 3000
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS = 25
MAX_ID = 255
MAX_ALT_TEXT = 2000

Thing = Mapping[str, Any]


class BlockError(Exception):
    """Why Slack refuses the blocks; the text has a JSON pointer.

    `code` is `invalid_blocks` or `msg_blocks_too_long`.
    """

    def __init__(self, message: str, pointer: str, code: str = "invalid_blocks") -> None:
        super().__init__(f"{message} [json-pointer:{pointer}]")
        self.code = code


def check_blocks(blocks: list[Any]) -> None:
    """Raise BlockError at the first block that Slack would refuse."""
    if len(blocks) > MAX_BLOCKS:
        raise BlockError(f"no more than {MAX_BLOCKS} items allowed", "/blocks")
    for index, block in enumerate(blocks):
        _check_block(block, f"/blocks/{index}")
    _check_ids([block["block_id"] for block in blocks if "block_id" in block])
    if sum(map(len, _texts(blocks))) > MAX_CHARACTERS:
        raise BlockError(f"no more than {MAX_CHARACTERS} characters in all", "/blocks", "msg_blocks_too_long")


def _check_ids(ids: list[Any]) -> None:
    if len(set(map(str, ids))) < len(ids):
        raise BlockError("block_id is used twice", "/blocks")


def _texts(value: Any) -> Iterator[str]:
    """Every text to be read, however deep."""
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for item in value.values():
            yield from _texts(item)


def _check_block(block: Any, at: str) -> None:
    if not isinstance(block, dict):
        raise BlockError("must be an object", at)
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise BlockError(f"unsupported type: {kind}", f"{at}/type")
    _check_length(block.get("block_id", "id"), MAX_ID, f"{at}/block_id")
    BLOCKS[kind](block, at)


def _header(block: Thing, at: str) -> None:
    _only(block, at, "text")
    _check_text(block.get("text"), f"{at}/text", MAX_HEADER, plain=True)


def _section(block: Thing, at: str) -> None:
    _only(block, at, "text", "fields", "accessory", "expand")
    if "text" not in block and "fields" not in block:
        raise BlockError("missing required field: text or fields", at)
    if "text" in block:
        _check_text(block["text"], f"{at}/text", MAX_TEXT)
    if "fields" in block:
        for index, text in enumerate(_list(block["fields"], MAX_FIELDS, f"{at}/fields")):
            _check_text(text, f"{at}/fields/{index}", MAX_FIELD)
    if "accessory" in block:
        _check_element(block["accessory"], f"{at}/accessory")


def _divider(block: Thing, at: str) -> None:
    _only(block, at)


def _context(block: Thing, at: str) -> None:
    _only(block, at, "elements")
    for index, element in enumerate(_list(block.get("elements"), MAX_CONTEXT_ELEMENTS, f"{at}/elements")):
        where = f"{at}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            _image_source(element, where)
        else:
            _check_text(element, where, MAX_TEXT)


def _actions(block: Thing, at: str) -> None:
    _only(block, at, "elements")
    for index, element in enumerate(_list(block.get("elements"), MAX_ACTIONS, f"{at}/elements")):
        _check_element(element, f"{at}/elements/{index}")


def _image(block: Thing, at: str) -> None:
    _only(block, at, "image_url", "alt_text", "title", "slack_file")
    _image_source(block, at)
    if "title" in block:
        _check_text(block["title"], f"{at}/title", MAX_ALT_TEXT, plain=True)


def _anything(block: Thing, at: str) -> None:
    """A block that Slack knows and alerts have no use for: taken as it is."""


BLOCKS: dict[str, Callable[[Thing, str], None]] = {
    "header": _header,
    "section": _section,
    "divider": _divider,
    "context": _context,
    "actions": _actions,
    "image": _image,
    **dict.fromkeys(("rich_text", "markdown", "table", "video", "file", "input"), _anything),
}


def _check_element(element: Any, at: str) -> None:
    if not isinstance(element, dict):
        raise BlockError("must be an object", at)
    if element.get("type") == "image":
        _image_source(element, at)
    elif element.get("type") == "button":
        _button(element, at)
    elif not isinstance(element.get("type"), str) or element["type"] not in OTHER_ELEMENTS:
        raise BlockError(f"unsupported type: {element.get('type')}", f"{at}/type")


OTHER_ELEMENTS = ("overflow", "datepicker", "static_select", "users_select", "checkboxes", "radio_buttons")


def _button(button: Thing, at: str) -> None:
    _only(button, at, "text", "action_id", "url", "value", "style", "confirm", "accessibility_label")
    _check_text(button.get("text"), f"{at}/text", MAX_BUTTON, plain=True)
    _check_length(button.get("action_id", "id"), MAX_ID, f"{at}/action_id")
    if "url" in button:
        _check_url(button["url"], f"{at}/url")
    if button.get("style", "primary") not in ("primary", "danger"):
        raise BlockError("must be primary or danger", f"{at}/style")


def _image_source(image: Thing, at: str) -> None:
    if "slack_file" not in image:
        _check_url(image.get("image_url"), f"{at}/image_url")
    _check_length(image.get("alt_text"), MAX_ALT_TEXT, f"{at}/alt_text")


def _check_text(text: Any, at: str, limit: int, *, plain: bool = False) -> None:
    """A text object: `plain_text` or, where allowed, `mrkdwn`."""
    if not isinstance(text, dict):
        raise BlockError("missing required field: text", at)
    if text.get("type") not in (("plain_text",) if plain else ("plain_text", "mrkdwn")):
        raise BlockError(f"unsupported type: {text.get('type')}", f"{at}/type")
    option = "emoji" if text["type"] == "plain_text" else "verbatim"
    _only(text, at, "text", option)
    _check_length(text.get("text"), limit, f"{at}/text")


def _check_length(text: Any, limit: int, at: str) -> None:
    if not isinstance(text, str):
        raise BlockError("must be a string", at)
    if not text.strip():
        raise BlockError("must be more than 0 characters", at)
    if len(text) > limit:
        raise BlockError(f"must be less than {limit + 1} characters", at)


def _check_url(url: Any, at: str) -> None:
    _check_length(url, MAX_URL, at)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https") or not rest or any(c.isspace() for c in url):
        raise BlockError("invalid url", at)


def _list(value: Any, limit: int, at: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise BlockError("must have at least 1 item", at)
    if len(value) > limit:
        raise BlockError(f"no more than {limit} items allowed", at)
    return value


def _only(thing: Thing, at: str, *names: str) -> None:
    for name in thing:
        if name not in ("type", "block_id", *names):
            raise BlockError(f"invalid additional property: {name}", at)
