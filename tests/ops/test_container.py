"""The image and the compose file use files, settings and commands that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from alertctl import __version__
from alertctl.config import check, load
from tests.ops.checkout import ROOT, SETTINGS, settings_named_in, text, yaml_of

LINES = re.sub(r"\\\n\s*", " ", text("config/Dockerfile")).splitlines()


def instruction(name: str) -> str:
    """The last instruction of that name."""
    return [line.removeprefix(f"{name} ") for line in LINES if line.startswith(f"{name} ")][-1]


@pytest.mark.parametrize("file", ["config/Dockerfile", "config/compose.yaml"])
def test_every_setting_that_the_container_names_exists(file):
    assert settings_named_in(file) <= SETTINGS


def test_every_image_has_a_full_version():
    images = [service["image"] for service in COMPOSE["services"].values()]
    assert f"alertctl:{__version__}" in images
    for image in (instruction("ARG").removeprefix("BASE="), *images):
        assert re.fullmatch(r"\w+:\d+\.\d+(\.\d+)?(-[a-z]+)*", image), image


def test_the_image_runs_as_a_user_who_is_not_root_and_starts_alertctl_itself():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instruction("USER"))
    assert json.loads(instruction("ENTRYPOINT")) == ["alertctl"]
    assert json.loads(instruction("CMD")) == ["serve"]


def test_the_image_leaves_the_operators_choices_free():
    # DATABASE_URL beside an operator's DATABASE_URL_FILE would be an error.
    assert not {"DATABASE_URL", "ALERTCTL_CONFIG"} & set(re.findall(r"(\w+)=", instruction("ENV")))


def test_the_images_settings_put_the_log_on_its_volume():
    environ = dict(re.findall(r"(\w+)=(\S+)", instruction("ENV")))
    settings = load(environ, Path("/"))
    assert settings.database.url == f"sqlite:///{instruction('VOLUME')}/alertctl.db"
    assert (settings.alertctl.host, str(settings.alertctl.port)) == ("0.0.0.0", instruction("EXPOSE"))


def test_the_builder_receives_every_file_of_the_image():
    allowed = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    sources = [
        word for line in LINES if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert sources
    assert set(sources) <= allowed
    assert all((ROOT / source).exists() for source in sources)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A server on loopback that answers /readyz with `status` and everything else with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_ignores_proxies(status, code):
    _, dashed_c, program = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    with answering(status) as port:
        environ = {"ALERTCTL_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        assert subprocess.run([sys.executable, dashed_c, program], env=environ, timeout=30).returncode == code


def test_a_health_check_of_nothing_that_listens_fails():
    _, dashed_c, program = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    with answering(200) as port:
        pass
    run = subprocess.run([sys.executable, dashed_c, program], env={"ALERTCTL_PORT": str(port)}, capture_output=True)
    assert run.returncode != 0


COMPOSE = yaml_of("config/compose.yaml")
SERVICE = COMPOSE["services"]["alertctl"]


def test_the_compose_files_settings_pass_config_check(tmp_path):
    kinds = {"slack_bot_token": "xoxb-1", "sendgrid_api_key": "SG.1", "database_url": "postgresql://a:b@postgres/c"}
    for secret in SERVICE["secrets"]:
        (tmp_path / secret).write_text(kinds[secret])
    environ = {name: value.replace("/run/secrets", str(tmp_path)) for name, value in SERVICE["environment"].items()}
    problems = check(load(environ, tmp_path))
    # The network between these containers is private to them.
    assert [(problem.name, problem.severity) for problem in problems] == [("DATABASE_URL", "warning")]


def test_every_secret_of_the_compose_file_is_a_file_that_its_first_lines_tell_how_to_make():
    used = {secret for service in COMPOSE["services"].values() for secret in service["secrets"]}
    assert used == set(COMPOSE["secrets"])
    head = text("config/compose.yaml").partition("\nname:")[0]
    assert all(f"> config/{COMPOSE['secrets'][secret]['file']}\n" in head for secret in used)


def test_the_composed_container_may_write_to_nothing_but_its_volume():
    assert SERVICE["read_only"] is True
    assert SERVICE["cap_drop"] == ["ALL"]
    assert [volume.partition(":")[2] for volume in SERVICE["volumes"]] == [instruction("VOLUME")]


def test_nothing_is_published_to_other_machines_unless_an_operator_says_so():
    assert all(port.startswith("127.0.0.1:") for port in SERVICE["ports"])
    assert "ports" not in COMPOSE["services"]["postgres"]
