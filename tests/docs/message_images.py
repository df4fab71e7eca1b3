"""Write docs/images/message-*.png: each event's example as Slack and a mail program show it, with Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alertctl.events import EVENT_TYPES
from alertctl.preview_page import preview_page
from alertctl.schemas import Rendered

FOLDER = Path(__file__).parents[2] / "docs" / "images"
SCALE = 1.5
"""Pixels of a picture for each pixel of CSS."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FIXED = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC"), "2026-03-02 14:32 UTC"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "2026-03-02 14:32:00 UTC"),
    (
        re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"),
        "0190c0de-53a1-7000-8e1f-3f0a7c21d9b4",
    ),
)
"""Times and ids, so that a picture only changes when the message does."""
MEASURE = """<script>
addEventListener("load", () => {
  for (const frame of document.querySelectorAll("iframe")) {
    frame.style.height = frame.contentDocument.body.scrollHeight + "px";
  }
  document.title = Math.ceil(document.body.getBoundingClientRect().height);
});
</script>"""
PICTURE = """
body { margin: 0; }
h2, .text { display: none; }
.views { margin: 0; }
.view { border-radius: 0; }
.views ~ .views .slack { padding-left: 60px; }
iframe { height: 1px; }
"""


def write_message_images(run: Callable[[str], str]) -> None:
    """Write the pictures. `run` returns the output of an `alertctl` command."""
    browser = _browser()
    for kind in EVENT_TYPES:
        name = kind.event_type
        preview = f"preview --event {name} -o json"
        _write(browser, f"slack-{name}", run(f"{preview} --channel slack"), "light", 560)
        _write(browser, f"email-{name}", run(f"{preview} --channel email"), "light", 400)
    rollback = "preview --event safety_rollback -o json"
    _write(browser, "slack-compact", run(f"{rollback} --channel slack --style compact"), "light", 560)
    _write(browser, "slack-dark", run(f"{rollback} --channel slack"), "dark", 560)
    _write(browser, "email-dark", run(f"{rollback} --channel email"), "dark", 400)


def write_thread_image(root: Mapping[str, Any], replies: Sequence[Mapping[str, Any]]) -> None:
    """Write the picture of a thread, from the payloads of its messages."""
    messages = [
        Rendered(channel="slack", to="", routing_reason="", suppressed_reason=None, message=dict(payload))
        for payload in (root, *replies)
    ]
    _draw(_browser(), "slack-thread", messages, "light", 560)


def _browser() -> str:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"no browser was found: install one of {', '.join(BROWSERS)}")
    return browser


def _write(browser: str, name: str, output: str, theme: str, width: int) -> None:
    for changing, fixed in FIXED:
        output = changing.sub(fixed, output)
    _draw(browser, name, [Rendered(**item) for item in json.loads(output)["items"]], theme, width)


def _draw(browser: str, name: str, messages: Sequence[Rendered], theme: str, width: int) -> None:
    page = preview_page(messages, [theme], [width])
    # The page itself forbids scripts; the picture's needs its height.
    page = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace("<iframe sandbox ", "<iframe ")
    page = page.replace("</style>", f"{PICTURE}</style>", 1).replace("</body>", f"{MEASURE}</body>")
    with tempfile.TemporaryDirectory() as folder:
        file, picture = Path(folder, "page.html"), Path(folder, "picture.png")
        file.write_text(page, "utf-8")
        titled = _browse(browser, file, "--dump-dom", f"--window-size={width},2000")
        height = re.search(r"<title>(\d+)</title>", titled)
        assert height is not None, "the browser ran the page's script"
        size = f"--window-size={width},{height[1]}"
        _browse(browser, file, f"--screenshot={picture}", size, f"--force-device-scale-factor={SCALE}")
        (FOLDER / f"message-{name}.png").write_bytes(picture.read_bytes())
    print(f"docs/images/message-{name}.png")


def _browse(browser: str, file: Path, *options: str) -> str:
    command = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=2000",
    ]
    ran = subprocess.run([*command, *options, file.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    return ran.stdout
