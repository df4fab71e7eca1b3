"""The state and configuration folders of users without a usable home folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from alertctl.config.folders import config_folder, ends_with_machine, expand_home, has_temporary_state, state_folder
from alertctl.errors import ConfigError

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The temporary folder of these tests."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


def without_home(temporary: Path, home: str = "/proc/none") -> dict[str, str]:
    return {"HOME": home, "TMPDIR": str(temporary)}


def expected(temporary: Path) -> Path:
    return temporary / f"alertctl-{os.geteuid()}"


@pytest.mark.parametrize("home", ["/proc/none", "/proc/none/home", "relative", "~", "/dev/null"])
def test_without_a_home_that_can_be_written_state_is_in_a_private_temporary_folder(temporary, home):
    environ = without_home(temporary, home)
    assert state_folder(environ) == state_folder(environ) == expected(temporary)
    assert stat.S_IMODE(expected(temporary).stat().st_mode) == 0o700
    assert has_temporary_state(environ)
    assert "~" not in str(config_folder(environ))


def test_a_home_is_used_when_its_state_folder_is_there_or_can_be_made(temporary, tmp_path):
    environ = without_home(temporary, str(tmp_path))
    assert state_folder(environ) == tmp_path / ".local/state/alertctl"
    state_folder(environ).mkdir(parents=True)
    assert state_folder(environ) == tmp_path / ".local/state/alertctl"
    assert not has_temporary_state(environ)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", [".local", ".local/state", ".local/state/alertctl"])
@pytest.mark.parametrize("obstacle", ["a file", "a link to nothing"])
def test_a_home_with_an_obstacle_is_not_used(temporary, tmp_path, name, obstacle):
    folder = tmp_path / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    if obstacle == "a file":
        folder.write_text("")
    else:
        folder.symlink_to(tmp_path / "nowhere")
    assert state_folder(without_home(temporary, str(tmp_path))) == expected(temporary)


@needs_root
def test_another_users_home_is_used_only_if_its_state_folder_is_ours(temporary, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12345)
    environ = without_home(temporary, str(home))
    assert state_folder(environ) == expected(temporary)
    (home / ".local/state/alertctl").mkdir(parents=True)
    assert state_folder(environ) == home / ".local/state/alertctl"


@pytest.mark.parametrize("obstacle", ["a file", "a link to nothing", "a link to a folder", "open to others"])
def test_a_temporary_folder_that_is_not_private_is_not_used(temporary, tmp_path, obstacle):
    folder = expected(temporary)
    if obstacle == "a file":
        folder.write_text("")
    elif obstacle == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    else:
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / ("elsewhere" if "folder" in obstacle else "nowhere"))
    with pytest.raises(ConfigError, match=f"XDG_STATE_HOME: .*{folder} is not a folder of mode 0700 that is yours"):
        state_folder(without_home(temporary))


@needs_root
def test_a_temporary_folder_of_somebody_else_is_not_used(temporary):
    expected(temporary).mkdir(mode=0o700)
    os.chown(expected(temporary), 12345, 12345)
    with pytest.raises(ConfigError, match="is not a folder of mode 0700 that is yours"):
        state_folder(without_home(temporary))


def test_xdg_state_home_needs_no_home(temporary, tmp_path):
    environ = {**without_home(temporary), "XDG_STATE_HOME": str(tmp_path)}
    assert state_folder(environ) == tmp_path / "alertctl"
    assert not ends_with_machine(environ)


@pytest.mark.parametrize(("value", "ends"), [("true", True), ("1", True), ("", False), ("false", False), ("0", False)])
def test_a_ci_jobs_state_folder_ends_with_its_machine(tmp_path, value, ends):
    assert ends_with_machine({"XDG_STATE_HOME": str(tmp_path), "CI": value}) is ends


def test_a_tilde_is_replaced_or_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/x.db") == f"{tmp_path}/x.db"
    assert expand_home("~") == str(tmp_path)
    assert expand_home("./~/x.db") == "./~/x.db"
    assert expand_home("~root/x") == "/root/x"
    with pytest.raises(ValueError, match="begins with ~nobody-of-this-name, which has no home folder"):
        expand_home("~nobody-of-this-name/x")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ValueError, match="begins with ~, which has no home folder here"):
        expand_home("~/x.db")


def test_a_tilde_that_cannot_be_replaced_is_a_mistake_in_that_setting(problems_in):
    names = ("DATABASE_URL", "ALERTCTL_CONFIG", "ALERTCTL_CA_BUNDLE", "SLACK_BOT_TOKEN_FILE")
    bad = "~nobody-of-this-name/x"
    problems = problems_in({name: f"sqlite:///{bad}" if name == "DATABASE_URL" else bad for name in names})
    assert sorted(line.partition(":")[0] for line in problems) == sorted(names)
    assert all("begins with ~nobody-of-this-name" in line for line in problems)
