"""A reply that is cut off (the server was killed) counts as no reply: the call is repeated."""

from __future__ import annotations

import json

import pytest

from alertctl.client.api_calls import ApiCalls
from alertctl.client.server_config import ServerConfig
from alertctl.errors import Unreachable
from tests.support.clients import answering

BODY = json.dumps({"text": "x" * 500}).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY)


@pytest.mark.parametrize("arrived", [0, 1, len(BODY) - 1])
def test_a_cut_off_reply_is_requested_again(arrived):
    with answering(HEAD + BODY[:arrived], HEAD + BODY) as address:
        calls = ApiCalls(ServerConfig(address, "token", timeout=20))
        assert calls.get("/status") == json.loads(BODY)
        calls.close()


def test_a_call_that_must_not_be_repeated_is_not_and_the_error_says_why():
    with answering(HEAD + BODY[:10]) as address:
        calls = ApiCalls(ServerConfig(address, "token", timeout=20))
        with pytest.raises(Unreachable, match="in the middle of the answer"):
            calls.request("POST", "/delivery-log/retry", {"ids": []}, repeat=False)
        calls.close()
