"""The user's folders for settings and state, and links. A container's user may have no home folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from alertctl.errors import ConfigError

MAX_LINKS = 40
"""Links that a path may go through, as in Linux."""
_STATE = (".local/state/alertctl", ".local/state", ".local", "")
"""The state folder and the folders above it, relative to the home folder."""
_NO = ("", "0", "false", "no", "off")
_NOT_PRIVATE = (
    "XDG_STATE_HOME: is not set, {}, and {} is not a folder of mode 0700 "
    "that is yours: set XDG_STATE_HOME, or remove that folder"
)


def resolve_link(file: str | Path) -> Path:
    """Return the path of a file that is to be written, without links in it.

    Raises PermissionError for a link of another user (except root), which may be there to have us replace another
    file; a link to a folder may be theirs in a folder of their own. Raises OSError for a loop of links.
    """
    path = Path(file).absolute()
    # In a user namespace root's files may belong to the overflow user.
    trusted = (0, os.geteuid(), os.stat("/").st_uid)
    for _ in range(MAX_LINKS + 1):
        link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), None)
        if link is None:
            return path
        owner, folder = link.lstat().st_uid, link.parent.stat()
        is_shared = folder.st_uid != owner or bool(folder.st_mode & stat.S_IWOTH)
        if owner not in trusted and (link == path or is_shared):
            problem = f"{link} is a link of another user; name the file or folder that it points to"
            raise PermissionError(errno.EPERM, problem, str(file))
        path = link.parent / os.readlink(link) / path.relative_to(link)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(file))


def absolute_path(path: str | Path) -> str:
    """Return the absolute path; the path itself if it is relative and the working folder was removed."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        return str(path)


def home_folder(environ: Mapping[str, str]) -> Path | None:
    """Return `$HOME`, else the home folder in passwd; None when there is neither. It may not exist."""
    home = environ.get("HOME", "")
    if not home:
        import pwd

        try:
            home = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            return None
    return Path(home) if os.path.isabs(home) else None


def expand_home(path: str) -> str:
    """Return a path with its leading `~` or `~user` replaced. Raises ValueError when that has no home folder."""
    user, slash, rest = path.partition("/")
    if not user.startswith("~"):
        return path
    home = home_folder(os.environ) if user == "~" else os.path.expanduser(user)
    if home is None or str(home) == user:
        shown = user if user.isprintable() else ascii(user)
        raise ValueError(f"begins with {shown[:60]}, which has no home folder here (see HOME): write the full path")
    return f"{home}{slash}{rest}"


def config_folder(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_CONFIG_HOME/alertctl`, else `~/.config/alertctl`. It may not exist."""
    named = Path(environ.get("XDG_CONFIG_HOME", ""))
    # The XDG specification says to ignore a relative path in these variables.
    return (named if named.is_absolute() else (home_folder(environ) or Path("/")) / ".config") / "alertctl"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Return `$XDG_STATE_HOME/alertctl`, else `~/.local/state/alertctl`, else `alertctl-UID` in the temporary folder.

    The first two may not exist. The last is for a user without a home folder that can be written. It is made here with
    mode 0700. Raises ConfigError when another user owns it or may enter it.
    """
    return _lasting_state_folder(environ) or _temporary_state_folder(environ)


def has_temporary_state(environ: Mapping[str, str]) -> bool:
    return _lasting_state_folder(environ) is None


def why_state_is_temporary(environ: Mapping[str, str]) -> str:
    """Return why the home folder can't have the state folder."""
    home = home_folder(environ)
    unusable = home and _unusable_folder(home)
    if not unusable or unusable == home:
        return "the home folder is not writable"
    return f"{unusable} is not a writable folder of this user (correct its owner and mode)"


def ends_with_machine(environ: Mapping[str, str]) -> bool:
    """Return whether the state folder is lost with this machine: in a CI job, or in the temporary folder."""
    return environ.get("CI", "").strip().lower() not in _NO or has_temporary_state(environ)


def make_private_folder(folder: Path) -> None:
    """Make a folder and missing ones above it, mode 0700 whatever the umask; others keep theirs. Raises OSError."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_private_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        # Another process may have made it.
        if not folder.is_dir():
            raise
    else:
        folder.chmod(0o700)


def _lasting_state_folder(environ: Mapping[str, str]) -> Path | None:
    named = Path(environ.get("XDG_STATE_HOME", ""))
    if named.is_absolute():
        return named / "alertctl"
    home = home_folder(environ)
    return home / _STATE[0] if home and _unusable_folder(home) is None else None


def _unusable_folder(home: Path) -> Path | None:
    """Return the state folder, or the nearest one above it that exists, unless it is ours (or root's) and writable."""
    hidden = None
    for name in _STATE:
        folder = home / name
        try:
            status = folder.stat()
        except FileNotFoundError:
            if folder.is_symlink():
                return folder
            continue
        except (PermissionError, NotADirectoryError):
            # The cause is a folder above it.
            hidden = hidden or folder
            continue
        except OSError:
            return folder
        owned = stat.S_ISDIR(status.st_mode) and status.st_uid in (0, os.geteuid())
        return hidden if owned and os.access(folder, os.W_OK | os.X_OK) else folder
    return home


def _temporary_state_folder(environ: Mapping[str, str]) -> Path:
    named = environ.get("TMPDIR", "")
    folder = Path(named if os.path.isabs(named) and os.path.isdir(named) else "/tmp") / f"alertctl-{os.geteuid()}"
    try:
        make_private_folder(folder)
    except FileExistsError:
        pass
    except OSError:
        # The first write to the folder reports the error.
        return folder
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o777 != 0o700:
        raise ConfigError([_NOT_PRIVATE.format(why_state_is_temporary(environ), folder)])
    return folder
