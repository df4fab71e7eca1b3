"""The part of curl that the pages use, so that their tests need no curl. `python curl.py -s URL …`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import urlsplit

QUIET = ("-s", "-N", "-sN", "-sS", "-S")
"""Options that don't change what is printed here."""
SILENCE = 1.0
"""Seconds without a line after which an event stream counts as read."""


@dataclass
class Request:
    """The request of a curl command line. Raises ValueError for an option that is not supported here."""

    words: Sequence[str]
    method: str = ""
    url: str = ""
    body: str | None = None
    fail: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words = iter(self.words)
        for word in words:
            if word in ("-X", "--request"):
                self.method = next(words)
            elif word in ("-H", "--header"):
                name, _, value = next(words).partition(":")
                self.headers[name] = value.strip()
            elif word in ("-d", "--data"):
                self.body = next(words)
            elif word in ("-f", "-fs", "-fsS", "-sf", "-sfS", "--fail"):
                self.fail = True
            elif word.startswith("-") and word not in QUIET:
                raise ValueError(f"curl: the tests of the pages do not support {word}")
            elif not word.startswith("-"):
                self.url = word
        if self.body is not None:
            self.headers.setdefault("Content-Type", "application/x-www-form-urlencoded")
        self.method = self.method or ("GET" if self.body is None else "POST")

    def send(self) -> tuple[int, Iterator[str]]:
        """Return the status and the parts of the body."""
        parts = urlsplit(self.url)
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(self.method, target, self.body.encode() if self.body else None, self.headers)
        response = connection.getresponse()
        if response.headers.get_content_type() == "text/event-stream":
            return response.status, _until_silence(connection, response)
        return response.status, iter([response.read().decode()])


def _until_silence(connection: HTTPConnection, response: HTTPResponse) -> Iterator[str]:
    # A streaming response keeps the socket that its connection had.
    connection.sock.settimeout(SILENCE)
    try:
        while line := response.readline():
            yield line.decode()
    except TimeoutError:
        pass


def main() -> int:
    request = Request(sys.argv[1:])
    status, parts = request.send()
    if request.fail and status >= 400:
        print(f"curl: (22) The requested URL returned error: {status}", file=sys.stderr)
        return 22
    for part in parts:
        sys.stdout.write(part)
    return 0


if __name__ == "__main__":
    sys.exit(main())
