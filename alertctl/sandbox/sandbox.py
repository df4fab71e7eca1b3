"""The sandbox: three servers on loopback, started and stopped together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Literal, Self

from alertctl.sandbox.certificates import Certificates, Flavour
from alertctl.sandbox.chaos import Chaos, parse_chaos
from alertctl.sandbox.provider import OnMessage, Provider
from alertctl.sandbox.sendgrid import SendGridSandbox
from alertctl.sandbox.server import Listener, ServerThread, listening_socket
from alertctl.sandbox.slack import SlackSandbox
from alertctl.sandbox.smtp import SmtpSandbox

DEFAULT_CHANNEL = "#platform-alerts"


class Sandbox:
    """A local Slack, SendGrid and SMTP server, running between `start` and `close` or inside a `with`.

    Port 0 means any free port. `tls` is True, or "expired" or "wrong_host" for a certificate that clients should
    refuse; SMTP then offers STARTTLS, or uses TLS from the start with `smtp_tls="implicit"`. `on_message` is called
    with the provider's name and each accepted message, on the sandbox's thread. `chaos` is the argument of
    `parse_chaos` or its result; `seed` makes its chances repeatable. Raises ValueError unless `host` is loopback;
    `start` raises OSError when a port is taken.
    """

    def __init__(
        self,
        slack_port: int = 0,
        sendgrid_port: int = 0,
        smtp_port: int = 0,
        tls: bool | Flavour = False,
        on_message: OnMessage | None = None,
        chaos: str | Iterable[Chaos] | None = None,
        *,
        smtp_tls: Literal["starttls", "implicit"] = "starttls",
        host: str = "127.0.0.1",
        seed: int | None = None,
    ) -> None:
        if smtp_tls not in ("starttls", "implicit"):
            raise ValueError(f"smtp_tls is 'starttls' or 'implicit', not {smtp_tls!r}")
        self.host = self.smtp_host = host
        self.slack = SlackSandbox(on_message)
        self.sendgrid = SendGridSandbox(on_message)
        self.smtp = SmtpSandbox(on_message)
        self._ports = (slack_port, sendgrid_port, smtp_port)
        self._tls = tls
        self._implicit_tls = smtp_tls == "implicit"
        self._resources = contextlib.ExitStack()
        self.ca_file: str | None = None
        faults = {provider.name: provider.faults for provider in self.providers}
        for part in parse_chaos(chaos) if isinstance(chaos, str) else chaos or ():
            part.apply(faults[part.provider], seed)

    @property
    def providers(self) -> tuple[Provider[Any, Any], ...]:
        return self.slack, self.sendgrid, self.smtp

    def start(self) -> Self:
        """Listen and serve. Raises OSError when a port is taken, ImportError for TLS without `trustme`."""
        with contextlib.ExitStack() as stack:
            if self._tls or self._implicit_tls:
                certificates = Certificates("good" if isinstance(self._tls, bool) else self._tls)
                stack.callback(certificates.close)
                self.ca_file, self.smtp.tls = certificates.ca_file, certificates.context
            http_tls = self.smtp.tls if self._tls else None
            contexts = (http_tls, http_tls, self.smtp.tls if self._implicit_tls else None)
            listeners = []
            for provider, port, tls in zip(self.providers, self._ports, contexts, strict=True):
                listener = Listener(provider, listening_socket(self.host, port), tls)
                stack.callback(listener.socket.close)
                listeners.append(listener)
            slack, sendgrid, self.smtp_port = (listener.socket.getsockname()[1] for listener in listeners)
            self.slack_api_url, self.sendgrid_api_url = f"{self._origin(slack)}/api/", self._origin(sendgrid)
            thread = ServerThread(listeners)
            thread.start()
            stack.callback(thread.close)
            self._resources = stack.pop_all()
        return self

    def close(self) -> None:
        """Stop at once. A second call does nothing; the records stay readable."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def clear(self) -> None:
        """Forget messages, calls and faults of all providers."""
        for provider in self.providers:
            provider.clear()

    def _origin(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{port}"

    def settings(self, email: Literal["smtp", "sendgrid"] = "smtp") -> dict[str, str]:
        """Return environment variables that make alertctl use this sandbox.

        Settings of other providers are empty: a real key in the environment must not receive a demo's mail.
        """
        if email not in ("smtp", "sendgrid"):
            raise ValueError(f"email is 'smtp' or 'sendgrid', not {email!r}")
        settings = {
            "SLACK_ENABLED": "true",
            "SLACK_BOT_TOKEN": self.slack.token,
            "SLACK_API_URL": self.slack_api_url,
            "SLACK_DEFAULT_CHANNEL": DEFAULT_CHANNEL,
            "EMAIL_ENABLED": "true",
            "EMAIL_FROM_ADDRESS": "alerts@corp.example",
            "NOTIFICATION_ADMIN_EMAILS": "admin@corp.example",
        }
        if email == "sendgrid":
            settings |= {"SENDGRID_API_KEY": self.sendgrid.api_key, "SENDGRID_API_URL": self.sendgrid_api_url}
        else:
            user, password = self.smtp.credentials or ("", "")
            settings |= {
                "SENDGRID_API_KEY": "",
                "SMTP_HOST": self.smtp_host,
                "SMTP_PORT": str(self.smtp_port),
                "SMTP_SECURITY": "tls" if self._implicit_tls else "starttls" if self._tls else "none",
                "SMTP_USERNAME": user,
                "SMTP_PASSWORD": password,
            }
        if self.ca_file:
            settings["ALERTCTL_CA_BUNDLE"] = self.ca_file
        return settings
