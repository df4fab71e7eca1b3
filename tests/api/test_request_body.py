"""A body is parsed without delaying other requests."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest
from fastapi import Request

from alertctl.api.request_body import LARGE_BYTES, read_json


@pytest.mark.parametrize(("size", "on_event_loop"), [(100, True), (LARGE_BYTES + 1, False), (900_000, False)])
def test_a_large_body_is_parsed_off_the_event_loop(size: int, on_event_loop: bool) -> None:
    body = json.dumps({"title": "x" * size}).encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    thread = asyncio.run(read_json(request, lambda _body: threading.get_ident()))
    assert (thread == threading.get_ident()) is on_event_loop
