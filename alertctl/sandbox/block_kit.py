"""Block Kit's limits as Slack documents them, for the blocks of a message (docs.slack.dev, reference/block-kit)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

MAX_BLOCKS = 50
MAX_CHARACTERS = 13_000
"""The limit for all texts in a message's blocks together; above it Slack answers `msg_blocks_too_long`."""
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

JsonObject = Mapping[str, Any]


class BlockError(Exception):
    """Slack refuses the blocks; the message ends with a JSON pointer.

    `code` is `invalid_blocks` or `msg_blocks_too_long`.
    """

    def __init__(self, message: str, pointer: str, code: str = "invalid_blocks") -> None:
        super().__init__(f"{message} [json-pointer:{pointer}]")
        self.code = code


def check_blocks(blocks: list[Any]) -> None:
    """Raise BlockError for the first block that Slack would refuse."""
    if len(blocks) > MAX_BLOCKS:
        raise BlockError(f"no more than {MAX_BLOCKS} items allowed", "/blocks")
    for index, block in enumerate(blocks):
        _check_block(block, f"/blocks/{index}")
    _check_ids([block["block_id"] for block in blocks if "block_id" in block])
    if sum(map(len, _iter_texts(blocks))) > MAX_CHARACTERS:
        raise BlockError(f"no more than {MAX_CHARACTERS} characters in all", "/blocks", "msg_blocks_too_long")


def _check_ids(ids: list[Any]) -> None:
    if len(set(map(str, ids))) < len(ids):
        raise BlockError("block_id is used twice", "/blocks")


def _iter_texts(value: Any) -> Iterator[str]:
    """Yield every text at any depth."""
    if isinstance(value, list):
        for item in value:
            yield from _iter_texts(item)
    elif isinstance(value, dict):
        if isinstance(value.get("text"), str):
            yield value["text"]
        for item in value.values():
            yield from _iter_texts(item)


def _check_block(block: Any, pointer: str) -> None:
    if not isinstance(block, dict):
        raise BlockError("must be an object", pointer)
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in BLOCKS:
        raise BlockError(f"unsupported type: {kind}", f"{pointer}/type")
    _check_length(block.get("block_id", "id"), MAX_ID, f"{pointer}/block_id")
    BLOCKS[kind](block, pointer)


def _check_header(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer, "text")
    _check_text(block.get("text"), f"{pointer}/text", MAX_HEADER, plain=True)


def _check_section(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer, "text", "fields", "accessory", "expand")
    if "text" not in block and "fields" not in block:
        raise BlockError("missing required field: text or fields", pointer)
    if "text" in block:
        _check_text(block["text"], f"{pointer}/text", MAX_TEXT)
    if "fields" in block:
        for index, text in enumerate(_check_list(block["fields"], MAX_FIELDS, f"{pointer}/fields")):
            _check_text(text, f"{pointer}/fields/{index}", MAX_FIELD)
    if "accessory" in block:
        _check_element(block["accessory"], f"{pointer}/accessory")


def _check_divider(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer)


def _check_context(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer, "elements")
    for index, element in enumerate(_check_list(block.get("elements"), MAX_CONTEXT_ELEMENTS, f"{pointer}/elements")):
        element_pointer = f"{pointer}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            _check_image_source(element, element_pointer)
        else:
            _check_text(element, element_pointer, MAX_TEXT)


def _check_actions(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer, "elements")
    for index, element in enumerate(_check_list(block.get("elements"), MAX_ACTIONS, f"{pointer}/elements")):
        _check_element(element, f"{pointer}/elements/{index}")


def _check_image(block: JsonObject, pointer: str) -> None:
    _check_properties(block, pointer, "image_url", "alt_text", "title", "slack_file")
    _check_image_source(block, pointer)
    if "title" in block:
        _check_text(block["title"], f"{pointer}/title", MAX_ALT_TEXT, plain=True)


def _accept(block: JsonObject, pointer: str) -> None:
    """Accept a block type that alerts don't use."""


BLOCKS: dict[str, Callable[[JsonObject, str], None]] = {
    "header": _check_header,
    "section": _check_section,
    "divider": _check_divider,
    "context": _check_context,
    "actions": _check_actions,
    "image": _check_image,
    **dict.fromkeys(("rich_text", "markdown", "table", "video", "file", "input"), _accept),
}


def _check_element(element: Any, pointer: str) -> None:
    if not isinstance(element, dict):
        raise BlockError("must be an object", pointer)
    if element.get("type") == "image":
        _check_image_source(element, pointer)
    elif element.get("type") == "button":
        _check_button(element, pointer)
    elif not isinstance(element.get("type"), str) or element["type"] not in OTHER_ELEMENTS:
        raise BlockError(f"unsupported type: {element.get('type')}", f"{pointer}/type")


OTHER_ELEMENTS = ("overflow", "datepicker", "static_select", "users_select", "checkboxes", "radio_buttons")


def _check_button(button: JsonObject, pointer: str) -> None:
    _check_properties(button, pointer, "text", "action_id", "url", "value", "style", "confirm", "accessibility_label")
    _check_text(button.get("text"), f"{pointer}/text", MAX_BUTTON, plain=True)
    _check_length(button.get("action_id", "id"), MAX_ID, f"{pointer}/action_id")
    if "url" in button:
        _check_url(button["url"], f"{pointer}/url")
    if button.get("style", "primary") not in ("primary", "danger"):
        raise BlockError("must be primary or danger", f"{pointer}/style")


def _check_image_source(image: JsonObject, pointer: str) -> None:
    if "slack_file" not in image:
        _check_url(image.get("image_url"), f"{pointer}/image_url")
    _check_length(image.get("alt_text"), MAX_ALT_TEXT, f"{pointer}/alt_text")


def _check_text(text: Any, pointer: str, limit: int, *, plain: bool = False) -> None:
    """Check a text object: `plain_text` or, unless `plain`, `mrkdwn`."""
    if not isinstance(text, dict):
        raise BlockError("missing required field: text", pointer)
    if text.get("type") not in (("plain_text",) if plain else ("plain_text", "mrkdwn")):
        raise BlockError(f"unsupported type: {text.get('type')}", f"{pointer}/type")
    option = "emoji" if text["type"] == "plain_text" else "verbatim"
    _check_properties(text, pointer, "text", option)
    _check_length(text.get("text"), limit, f"{pointer}/text")


def _check_length(text: Any, limit: int, pointer: str) -> None:
    if not isinstance(text, str):
        raise BlockError("must be a string", pointer)
    if not text.strip():
        raise BlockError("must be more than 0 characters", pointer)
    if len(text) > limit:
        raise BlockError(f"must be less than {limit + 1} characters", pointer)


def _check_url(url: Any, pointer: str) -> None:
    _check_length(url, MAX_URL, pointer)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https") or not rest or any(c.isspace() for c in url):
        raise BlockError("invalid url", pointer)


def _check_list(value: Any, limit: int, pointer: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise BlockError("must have at least 1 item", pointer)
    if len(value) > limit:
        raise BlockError(f"no more than {limit} items allowed", pointer)
    return value


def _check_properties(value: JsonObject, pointer: str, *names: str) -> None:
    for name in value:
        if name not in ("type", "block_id", *names):
            raise BlockError(f"invalid additional property: {name}", pointer)
