"""Read what the sandbox's Slack shows of a thread."""

from __future__ import annotations

from alertctl.channels.slack import block_text
from alertctl.sandbox.records import SlackMessage


def steps(root: SlackMessage) -> list[str]:
    """Return the steps that a root shows after its edits, oldest first; none before its first edit."""
    if not root.edits:
        return []
    return [line.rsplit("  ", 1)[1] for line in block_text(root.edits[-1].blocks[1]).splitlines()]
