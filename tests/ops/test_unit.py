"""The systemd unit matches alertctl's behaviour."""

from __future__ import annotations

import os
import re
import socket
from collections import defaultdict

from alertctl.config import load
from alertctl.config.sources import IN_FILES
from alertctl.errors import ConfigError
from alertctl.sandbox import Sandbox
from tests.ops.checkout import SETTINGS, settings_named_in, text
from tests.ops.conftest import PATIENCE, environment, serving

UNIT = text("config/alertctl.service")


def directives(unit: str) -> dict[str, list[str]]:
    """Every directive's values, in order; sections don't matter, no name is in two of them."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in unit.splitlines():
        if line and not line.startswith(("#", "[")):
            name, equals, value = line.partition("=")
            assert equals, f"{line!r} is not a directive"
            found[name].append(value)
    return found


SET = directives(UNIT)
WITH_EXAMPLES = directives(re.sub(r"^#(LoadCredential|Environment)=", r"\1=", UNIT, flags=re.MULTILINE))


def test_every_setting_that_the_unit_names_exists():
    assert settings_named_in("config/alertctl.service") <= SETTINGS
    names = {value.partition("=")[0] for value in WITH_EXAMPLES["Environment"]}
    assert {name for name in names if name not in ("PATH", "PYTHONUNBUFFERED", "XDG_STATE_HOME")} <= SETTINGS


def test_every_credential_is_handed_over_and_read_under_the_same_name():
    loaded = {value.partition(":")[0] for value in WITH_EXAMPLES["LoadCredential"]}
    read = {found for value in WITH_EXAMPLES["Environment"] for found in re.findall(r"%d/(\S+)", value)}
    assert loaded == read


def test_every_secret_of_a_daemon_can_be_a_credential():
    read = {name.partition("=")[0].removesuffix("_FILE") for name in WITH_EXAMPLES["Environment"]}
    # A public key is not a secret, and a daemon has no token for a server: it is one.
    assert set(IN_FILES) - {"JWT_PUBLIC_KEY", "ALERTCTL_TOKEN"} <= read


def test_the_log_goes_to_the_units_state_directory(tmp_path):
    state = next(value.partition("=")[2] for value in SET["Environment"] if value.startswith("XDG_STATE_HOME="))
    settings = load({"XDG_STATE_HOME": state}, tmp_path)
    assert settings.database.url == f"sqlite:///{state}/{SET['StateDirectory'][0]}/alertctl.db"


def test_bad_settings_are_not_tried_again():
    assert SET["RestartPreventExitStatus"] == [str(ConfigError.exit_code)]
    assert SET["Restart"] == ["on-failure"]


def test_a_stop_outlasts_what_is_being_sent(tmp_path):
    deadline = load({"HOME": str(tmp_path)}, tmp_path).alertctl.deadline
    open_requests = 10
    assert float(SET["TimeoutStopSec"][0]) > deadline + open_requests


def test_the_unit_uses_nothing_that_systemd_251_does_not_know():
    newer = {"OpenFile", "ReloadSignal", "ImportCredential", "RestartMode", "RestartSteps", "RestartMaxDelaySec"}
    newer |= {"MemoryPressureWatch", "MemoryPressureThresholdSec", "DelegateSubgroup", "FileDescriptorStorePreserve"}
    newer |= {"SurviveFinalKillSignal", "MemoryZSwapWriteback", "BindLogSockets", "PrivatePIDs"}
    assert newer.isdisjoint(SET)
    booleans = {SET[name][0] for name in SET if name.startswith(("Private", "ProtectControl", "ProtectHost"))}
    assert booleans == {"yes"}
    assert "systemd 251 or newer" in UNIT.partition("\n")[0]


def test_the_unit_allows_more_descriptors_than_streams_clients_and_senders_use():
    assert int(SET["LimitNOFILE"][0]) >= 16384


def test_the_unit_gives_no_privilege():
    assert SET["CapabilityBoundingSet"] == [""]
    assert SET["DynamicUser"] == SET["NoNewPrivileges"] == ["yes"]
    assert SET["ProtectSystem"] == ["strict"]


def test_the_daemon_tells_the_service_manager_when_it_is_ready_and_when_it_stops(tmp_path):
    assert SET["Type"] == ["notify"]
    name = f"alertctl-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, Sandbox() as sandbox:
        manager.bind(f"\0{name}")
        manager.settimeout(PATIENCE)
        with serving({**environment(sandbox, tmp_path), "NOTIFY_SOCKET": f"@{name}"}, tmp_path):
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"
