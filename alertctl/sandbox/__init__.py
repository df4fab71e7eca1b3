"""A local Slack, SendGrid and SMTP server for first steps, the demo and the tests.

    with Sandbox() as sandbox:
        os.environ.update(sandbox.settings())
        ...
        sandbox.slack.wait_for(1)

It listens on loopback only, keeps messages in memory, and imports nothing else of alertctl.
"""

from __future__ import annotations

from alertctl.sandbox.chaos import Chaos, parse_chaos
from alertctl.sandbox.faults import KINDS, Fault, Faults
from alertctl.sandbox.http import HttpCall
from alertctl.sandbox.records import SendGridMessage, SlackMessage, SmtpCall, SmtpMessage
from alertctl.sandbox.sandbox import Sandbox

__all__ = [
    "KINDS",
    "Chaos",
    "Fault",
    "Faults",
    "HttpCall",
    "Sandbox",
    "SendGridMessage",
    "SlackMessage",
    "SmtpCall",
    "SmtpMessage",
    "parse_chaos",
]
