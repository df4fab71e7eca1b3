"""Plain clients for the sandbox's servers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from alertctl.sandbox import Sandbox

TIMEOUT = 10.0


@dataclass
class HttpReply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def connect(url: str, ca_file: str | None = None) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)


def send_request(
    connection: http.client.HTTPConnection,
    path: str,
    body: Any = None,
    *,
    key: str = "",
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> HttpReply:
    """Send a request over a kept connection. A body that isn't bytes is sent as JSON."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    connection.request(method, path, data, {**sent, **(headers or {})})
    answer = connection.getresponse()
    return HttpReply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())


def send_one_request(url: str, path: str, body: Any = None, **rest: Any) -> HttpReply:
    connection = connect(url)
    try:
        return send_request(connection, path, body, **rest)
    finally:
        connection.close()


def post_message(sandbox: Sandbox, channel: str = "#general", **arguments: Any) -> HttpReply:
    body = {"channel": channel, "text": "hello", **arguments}
    return send_one_request(sandbox.slack_api_url, "/api/chat.postMessage", body, key=sandbox.slack.token)


def mail_payload(to: str = "dev@corp.example", **changes: Any) -> dict[str, Any]:
    """Return a valid payload for SendGrid with these changes; None removes a key."""
    payload = {
        "personalizations": [{"to": [{"email": to}]}],
        "from": {"email": "alerts@corp.example"},
        "subject": "Hello",
        "content": [{"type": "text/plain", "value": "text"}, {"type": "text/html", "value": "<p>html</p>"}],
        **changes,
    }
    return {name: value for name, value in payload.items() if value is not None}


def send_mail(sandbox: Sandbox, payload: Any = None, **rest: Any) -> HttpReply:
    key = rest.pop("key", sandbox.sendgrid.api_key)
    return send_one_request(sandbox.sendgrid_api_url, "/v3/mail/send", payload or mail_payload(), key=key, **rest)


def request_bytes(path: str, key: str, body: Any) -> bytes:
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data


def slack_bytes(sandbox: Sandbox) -> bytes:
    """Return a request to Slack with one message as bytes."""
    return request_bytes("/api/chat.postMessage", sandbox.slack.token, {"channel": "#a", "text": "x"})


def receive_all(port: int, data: bytes, timeout: float = TIMEOUT) -> bytes:
    """Send `data` and return everything received until the server closes. Raises ConnectionResetError for a reset."""
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(data)
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
        return received


def make_email(to: str = "dev@corp.example", text: str = "text") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "alerts@corp.example", to, "Hello"
    message.set_content(text)
    return message


def port_of(url: str) -> int:
    port = urlsplit(url).port
    assert port
    return port
