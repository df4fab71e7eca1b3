"""The types of settings: what they are parsed to, each with its validator."""

from __future__ import annotations

from collections.abc import Callable
from os.path import isdir, isfile, join
from typing import Annotated

from pydantic import BeforeValidator, SecretStr, ValidationInfo

from alertctl.config import urls, validators
from alertctl.config.folders import expand_home


def _secret_text(value: object) -> object:
    """Return the text of a secret; any other value unchanged."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _existing(exists: Callable[[str], bool], kind: str) -> Callable[[object, ValidationInfo], str]:
    """Return a validator for the path of a file or folder, relative to the working folder of `load`, or no text."""

    def check(value: object, info: ValidationInfo) -> str:
        path = expand_home(validators.text(value))
        if path and not exists(join((info.context or {}).get("cwd", ""), path)):
            raise ValueError(f"{validators.quoted(path)} is not a {kind}")
        return path

    return check


_existing_file = _existing(isfile, "file")


def _key_set(value: object, info: ValidationInfo) -> str:
    """Return the location of a JWKS document: a URL (with its query), or an existing file."""
    location = validators.text(value)
    if not location.lower().startswith(("http://", "https://")):
        return _existing_file(value, info)
    urls.url(location.split("?")[0])
    return location


YesOrNo = Annotated[bool, BeforeValidator(validators.yes_or_no)]
Text = Annotated[str, BeforeValidator(validators.text)]
Host = Annotated[str, BeforeValidator(urls.host)]
Url = Annotated[str, BeforeValidator(urls.url)]
SlackUrl = Annotated[str, BeforeValidator(lambda value: urls.url(value) + "/")]
ExistingFolder = Annotated[str, BeforeValidator(_existing(isdir, "folder"))]
ExistingFile = Annotated[str, BeforeValidator(_existing_file)]
Credential = Annotated[SecretStr, BeforeValidator(lambda value: validators.credential(_secret_text(value)))]
Password = Annotated[SecretStr, BeforeValidator(lambda value: validators.password(_secret_text(value)))]
HmacSecret = Annotated[SecretStr, BeforeValidator(lambda value: validators.hmac_secret(_secret_text(value)))]
Days = Annotated[int, BeforeValidator(validators.integer(1, 36_500, "a number of days"))]
Port = Annotated[int, BeforeValidator(validators.integer(1, 65535, "a port"))]
KeySet = Annotated[str, BeforeValidator(_key_set)]
Algorithms = Annotated[tuple[str, ...], BeforeValidator(validators.algorithms)]
