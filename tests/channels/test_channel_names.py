"""A new channel is one folder, one registry line and its settings: no other module names a channel."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import alertctl

PACKAGE = Path(alertctl.__file__).parent
MAY_NAME_CHANNELS = (
    "addresses.py",  # what a valid and an equal address is
    "error_codes.py",  # the providers' error codes
    "channels/",
    "cli/commands/demo.py",  # the sandbox on the command line: its options and its inbox
    "cli/output/message.py",
    "cli/commands/sandbox.py",
    "cli/commands/test.py",
    "config/",  # a channel's settings, their checks and warnings
    "doctor/",
    "events/",
    "migrations/",
    "models/users.py",  # the columns of the preferences
    "preferences.py",  # the public names of the preferences
    "sandbox/",
)
USERS_HAVE_EMAIL = ("api/jwt.py", "client/remote.py", "users/")
"""Modules in which "email" is a field of a user or a claim of a JWT."""
PROVIDER = re.compile(r"slack|sendgrid|smtp", re.IGNORECASE)
EMAIL = re.compile(r"EMAIL_|ADMIN_EMAIL|admin_email|email_(enabled|disabled|address)|\bemail[:|]\S|^email$")
SANDBOX_HELP = "Run local stand-ins for Slack, SendGrid and a mail server."


def words(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every identifier and string of a module, with its line; no comments and no docstrings."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield line, node.value
        if isinstance(node, ast.Attribute) and node.attr == "email" and ast.unparse(node).endswith("settings.email"):
            yield line, "email"
        for name in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, name, None)
            if isinstance(value, str) and value != "email":
                yield line, value


def channel_names(path: str, source: str) -> list[str]:
    has_users = path.startswith(USERS_HAVE_EMAIL)
    return [
        f"alertctl/{path}:{line}: {word[:60]!r}"
        for line, word in words(ast.parse(source))
        if word != SANDBOX_HELP
        and (PROVIDER.search(word) or (EMAIL.search(word) and not (has_users and word == "email")))
    ]


def test_no_other_module_names_a_channel() -> None:
    names: list[str] = []
    for file in sorted(PACKAGE.rglob("*.py")):
        path = file.relative_to(PACKAGE).as_posix()
        if not path.startswith(MAY_NAME_CHANNELS):
            names += channel_names(path, file.read_text())
    assert names == []


def test_every_module_that_may_name_a_channel_exists() -> None:
    assert [path for path in (*MAY_NAME_CHANNELS, *USERS_HAVE_EMAIL) if not (PACKAGE / path).exists()] == []
