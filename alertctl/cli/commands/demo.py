"""`alertctl demo`: the real pipeline on a sandbox; needs no configuration and leaves nothing behind."""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from alertctl.cli.context import speak_up
from alertctl.cli.output.deliveries import print_deliveries
from alertctl.cli.output.delivery_detail import attempt_lines
from alertctl.cli.output.streams import Output, OutputOption, print_json
from alertctl.cli.output.table import console
from alertctl.errors import AlertctlError
from alertctl.schemas import DeliveryItem, LogFilter, PublishRequest

if TYPE_CHECKING:
    from rich.console import Console

    from alertctl.client.local import LocalClient
    from alertctl.sandbox import Sandbox

HERE = "127.0.0.1"
RETRY_TIMEOUT = 10.0
"""Maximum seconds of the retry; it takes about one."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One event of the demo."""

    event_type: str
    fields: dict[str, Any]
    to: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        """Return the command line that sends it, in parts."""
        settings = [f"--set {shlex.quote(f'{name}={value}')}" for name, value in self.fields.items()]
        targets = [f"--to {shlex.quote(target)}" for target in self.to]
        return [f"alertctl send --event {self.event_type}", *settings, *targets]


SCENES = (
    Scene(
        "rollout_advance",
        {
            "feature_flag": "checkout-v3",
            "environment": "production",
            "from_percentage": 25,
            "to_percentage": 50,
            "stage": 2,
        },
    ),
    Scene(
        "safety_rollback",
        {
            "feature_flag": "checkout-v3",
            "environment": "production",
            "metric": "error_rate",
            "value": 0.0714,
            "threshold": 0.05,
            "from_percentage": 50,
            "to_percentage": 0,
            "url": "https://flags.corp.example/checkout-v3",
        },
    ),
    Scene("experiment_lifecycle", {"experiment": "new-cta", "action": "completed", "winner": "variant-b"}),
    Scene(
        "generic_alert",
        {"title": "Disk almost full", "message": "91 % of /var is used.", "severity": "warning", "source": "db-7"},
        ("slack:#flaky", "slack:@ana@corp.example", "email:dev@corp.example"),
    ),
)


@dataclass(slots=True)
class Play:
    """A running demo. `out` is quiet when the result is printed as JSON."""

    sandbox: Sandbox
    client: LocalClient
    out: Console
    shown: dict[str, int] = field(default_factory=dict)

    def run(self) -> list[DeliveryItem]:
        """Send every scene's event, then retry the failed deliveries. Returns the log."""
        for number, scene in enumerate(SCENES, 1):
            self._send(number, scene)
        self._retry()
        return self.log()

    def log(self) -> list[DeliveryItem]:
        return self.client.log(LogFilter(), limit=100).items

    def _send(self, number: int, scene: Scene) -> None:
        self._print(f"\n{number}  {scene.event_type}", "bold")
        lines = _wrap_command(scene.command, min(68, self.out.width - 8))
        self._print("   " + " \\\n      ".join(lines), "dim")
        receipt = self.client.publish(
            PublishRequest(event_type=scene.event_type, fields=scene.fields, to=list(scene.to))
        )
        deliveries = self.client.deliver(receipt.event_id)
        self.client.wait_for_edits()
        self._show_received()
        for delivery in deliveries:
            if delivery.status != "success":
                self._print(
                    f"   ✗ {delivery.channel} {delivery.to}: {delivery.error}. It stays in the log and is retried.",
                    "red",
                )

    def _retry(self) -> None:
        failed = [delivery.id for delivery in self.log() if delivery.status == "failed"]
        if not failed:
            return
        self._print("\n5  retry the failed delivery", "bold")
        self._print("   alertctl dispatch --once", "dim")
        deadline = time.monotonic() + RETRY_TIMEOUT
        while time.monotonic() < deadline and any(delivery.next_attempt_at for delivery in self.log()):
            self.client.dispatch()
            time.sleep(0.1)
        self._show_received()
        for delivery in failed:
            for line in attempt_lines(self.client.show(delivery)):
                self._print(f"   {line}", "green" if "success" in line else "")

    def _show_received(self) -> None:
        """Print the messages and edits that Slack and the inbox received since the last call."""
        from alertctl.cli.output.message import panel

        slack, smtp = self.sandbox.slack, self.sandbox.smtp
        received: tuple[tuple[str, str, Sequence[Any]], ...] = (
            ("messages", slack.name, slack.messages),
            ("edits", slack.name, slack.edits),
            ("mails", smtp.name, smtp.messages),
        )
        for kind, provider, messages in received:
            for message in messages[self.shown.get(kind, 0) :]:
                self.out.print(panel(provider, message))
            self.shown[kind] = len(messages)

    def print_end(self, items: list[DeliveryItem], seconds: float) -> None:
        self._print("\n6  the delivery log", "bold")
        self._print("   alertctl log\n", "dim")
        print_deliveries(items)
        self._print(
            f"\nDone in {seconds:.1f} s, and all files are removed. Next: `alertctl sandbox` runs such a Slack and "
            "inbox to try commands on; `alertctl config check` lists the settings that your own Slack and email need.",
            "",
        )

    def _print(self, text: str, style: str) -> None:
        from rich.text import Text

        self.out.print(Text(text, style=style))


def demo(output: OutputOption = Output.TABLE) -> None:
    """
    \b
    alertctl demo
    alertctl demo -o json

    Run a demo of a few seconds: send four events through the real pipeline to local stand-ins
    for Slack and a mail server. Reads no settings and removes all its files.
    """
    started = time.monotonic()
    with _environment() as (sandbox, client):
        play = Play(sandbox, client, console(quiet=output is Output.JSON))
        items = play.run()
        seconds = time.monotonic() - started
        if output is Output.JSON:
            print_json(_as_data(sandbox, items, seconds))
        else:
            play.print_end(items, seconds)
    if any(delivery.status != "success" for delivery in items):
        raise AlertctlError("some of the demo's alerts did not arrive")


def _as_data(sandbox: Sandbox, items: list[DeliveryItem], seconds: float) -> dict[str, Any]:
    from alertctl.cli.output.message import summary

    return {
        "items": items,
        "slack": [summary("slack", message) for message in (*sandbox.slack.messages, *sandbox.slack.edits)],
        "inbox": [summary("smtp", message) for message in sandbox.smtp.messages],
        "retried": [delivery.id for delivery in items if delivery.attempts > 1],
        "seconds": round(seconds, 3),
    }


def _wrap_command(parts: list[str], width: int) -> list[str]:
    """Return a command in lines of at most `width` characters."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


@contextmanager
def _environment() -> Iterator[tuple[Sandbox, LocalClient]]:
    """Yield a sandbox, and a client on an empty database in a temporary folder that is always removed."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    from alertctl.client.local import LocalClient
    from alertctl.config import load
    from alertctl.sandbox import Sandbox

    speak_up()
    # The sandbox is on this machine: reach it without the environment's proxy.
    os.environ["no_proxy"] = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HERE)))
    with _ended_by_signals(), TemporaryDirectory(prefix="alertctl-demo-") as folder, Sandbox() as sandbox:
        environ = {
            **sandbox.settings(),
            "HOME": folder,
            "DATABASE_URL": f"sqlite:///{folder}/demo.db",
            "RETRY_SCHEDULE": "500ms 1s 1s",
            "SLACK_PER_SECOND": "0",
            "SLACK_MENTION": "ana@corp.example",
            "SLACK_MENTION_FROM": "critical",
        }
        with LocalClient(load(environ, Path(folder))) as client:
            yield sandbox, client


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C, so that the temporary folder is removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        yield
