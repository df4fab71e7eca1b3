"""The operator's own templates, logo and colour of emails."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alertctl.channels.base import OutgoingMessage
from alertctl.channels.email.custom_templates import custom_templates, template_problems
from alertctl.channels.email.message import Branding, Sender, preview
from alertctl.channels.email.sendgrid import SendGridChannel
from alertctl.content import Content, Field, Severity
from alertctl.http.client import HttpClient
from tests.support.providers import SENDER, smtp_channel

NOW = datetime(2026, 3, 2, 14, 32, tzinfo=UTC)
CONTENT = Content(
    "generic_alert",
    "id",
    "Disk <b>full</b>",
    "One.\nTwo.",
    Severity.WARNING,
    (Field("host", "db-7"),),
    NOW,
    link="https://corp.example/x",
    labels=(("team", "growth"),),
    event_json='{"title": "Disk <b>full</b>", "source": "db-7"}',
)


def email(folder, content=CONTENT, text=None, html=None, **branding):
    custom_templates.cache_clear()
    for name, template in (("alert.txt", text), ("alert.html", html)):
        if template is not None:
            (folder / name).write_text(template)
    sender = Sender("a@corp.example", branding=Branding(templates=str(folder), **branding))
    return preview(content, OutgoingMessage("d", "b@corp.example", routing_reason="named"), sender)


def test_each_value_can_be_used(tmp_path):
    values = "{{ title }}|{{ summary }}|{{ severity }}|{{ link }}|{{ labels.team }}|{{ event_type }}|"
    loop = "{{ event.source }}|{% for name, value in fields %}{{ name }}={{ value }};{% endfor %}|"
    text = email(tmp_path, text=values + loop + "{{ occurred_at }}|{{ reason }}")["text"]
    assert text == (
        "Disk <b>full</b>|One.\nTwo.|Warning|https://corp.example/x|growth|generic_alert|db-7|host=db-7;|"
        "2026-03-02 14:32:00 UTC|You receive this because the sender of this generic_alert named this address."
    )


def test_the_events_own_fields_are_clean_and_without_tokens(tmp_path):
    raw = {"message": "key xoxb-123456789-abcdef\u202e\u0007", "details": {"a\u202eb": "xoxb-123456789-abcdef", "n": 7}}
    content = replace(CONTENT, event_json=json.dumps(raw))
    text = email(
        tmp_path,
        content,
        text="{{ event.message }}|{% for k, v in event.details.items() %}{{ k }}={{ v }};{% endfor %}",
    )["text"]
    assert text == "key ***|ab=***;n=7;"


def test_html_is_escaped_and_the_other_part_stays_built_in(tmp_path):
    shown = email(tmp_path, html="<h1>{{ title }}</h1>{{ summary | line_breaks }}")
    assert shown["html"] == "<h1>Disk &lt;b&gt;full&lt;/b&gt;</h1>One.<br>Two."
    assert "Event id" in shown["text"]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ title", "line 1: unexpected end of template"),
        ("{{ title | join }}", "line 1: No filter named 'join'"),
        ("{{ nothing.here.at.all() }}", "line 1: calls are not available"),
        ("{% include 'other.html' %}", "line 1: {% include %} is not available"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("x" * 100_001, "is longer than 100000 characters"),
        ("", "the result is empty"),
    ],
)
def test_a_template_that_cannot_be_used_is_replaced_and_named(tmp_path, template, problem):
    shown = email(tmp_path, html=template)
    assert "Disk &lt;b&gt;full&lt;/b&gt;" in shown["html"]
    (line,) = template_problems(str(tmp_path), {"title": "x"})
    assert line.startswith(f"alert.html: {problem}")
    assert not line.endswith(".")


def test_a_misspelt_value_is_named(tmp_path):
    (tmp_path / "alert.html").write_text(
        "<p>{{ titel }}</p>{% for k, v in fields %}{{ k }}{{ v }}{% endfor %}{{ reason }}"
    )
    (line,) = template_problems(str(tmp_path), {"title": "x", "fields": []})
    assert line == "alert.html: 'titel' is not a value; did you mean title?"


def test_a_variable_of_a_loop_is_no_value_outside_of_it(tmp_path):
    loop = "{% for key, value in fields if value %}{{ loop.index }}{{ key }}{% else %}{{ title }}{% endfor %}"
    (tmp_path / "alert.txt").write_text(f"{loop}x{{{{ key }}}}")
    assert list(template_problems(str(tmp_path), {"title": "x", "fields": []})) == [
        "alert.txt: 'key' is not a value; use title, fields or reason"
    ]
    (tmp_path / "alert.txt").write_text(f"{loop}x")
    assert not list(template_problems(str(tmp_path), {"title": "x", "fields": []}))


def test_the_reason_is_a_value_and_a_chain_of_filters_takes_no_optimizer(tmp_path):
    (tmp_path / "alert.txt").write_text(f"{{{{ rason }}}} {{{{ title{'|trim' * 150} }}}}")
    (line,) = template_problems(str(tmp_path), {"title": "x"})
    assert line == "alert.txt: 'rason' is not a value; did you mean reason?"


def test_a_folder_without_templates_is_named(tmp_path):
    assert list(template_problems(str(tmp_path), {})) == ["the folder has neither alert.txt nor alert.html"]


def test_logo_and_colour_are_in_the_built_in_template(tmp_path):
    shown = email(tmp_path, logo_url="https://corp.example/logo.png", accent="#123456")
    assert '<img src="https://corp.example/logo.png"' in shown["html"]
    assert "#123456" in shown["html"]


@pytest.mark.parametrize("provider", ["smtp", "sendgrid"])
def test_a_failed_template_sends_the_built_in_one_with_a_note_on_the_receipt(sandbox, tmp_path, provider):
    custom_templates.cache_clear()
    (tmp_path / "alert.html").write_text("{{ 1 / 0 }}")
    (tmp_path / "alert.txt").write_text("Own: {{ title }}, {{ reason }}")
    branding = Branding(templates=str(tmp_path))
    if provider == "smtp":
        channel = smtp_channel(sandbox, branding=branding)
    else:
        http = HttpClient(5.0, sandbox.ca_file)
        url = sandbox.sendgrid_api_url
        channel = SendGridChannel(sandbox.sendgrid.api_key, url, Sender(SENDER, "Corp", branding), http)
    (receipt,) = channel.send(CONTENT, [OutgoingMessage("d", "b@corp.example", routing_reason="named")])
    channel.close()
    assert receipt.note == "ALERTCTL_TEMPLATES: alert.html: division by zero; the built-in template is used"
    (message,) = getattr(sandbox, provider).messages
    if provider == "smtp":
        text = message.parsed.get_body(("plain",)).get_content()
    else:
        (text,) = (part["value"] for part in message.payload["content"] if part["type"] == "text/plain")
    assert text.startswith("Own: Disk <b>full</b>, ")
