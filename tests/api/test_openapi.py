"""The OpenAPI description, held against what is answered: by schemathesis, with a token of each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from alertctl.db import Store, upgrade
from tests.support.api_server import ApiServer, openapi_schema, running
from tests.support.cases import each

EXAMPLES, LONG_EXAMPLES = 2, 6
BOUNDED = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# A value of the right type may still be refused for its meaning (an error_rate of 7).
UNUSED_CHECKS = ("positive_data_acceptance",)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    path: Path = tmp_path_factory.mktemp("schema") / "alertctl.db"
    with ExitStack() as stack:
        store = Store(f"sqlite:///{path}")
        stack.callback(store.close)
        upgrade(store)
        yield stack.enter_context(running(store))


DESCRIPTION = openapi_schema()
ROUTES = [f"{method.upper()} {path}" for path, methods in DESCRIPTION["paths"].items() for method in methods]


@dataclass
class Validator:
    """The description as schemathesis reads it, with the checks of an answer."""

    schema: Any
    checks: list[Any]
    session: Any


@pytest.fixture(scope="module")
def validator(api: ApiServer) -> Iterator[Validator]:
    # Imported here: every worker would spend a second of CPU time on it.
    import requests
    import schemathesis
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.config.update(base_url=f"http://127.0.0.1:{api.port}")
    checks = [check for check in CHECKS.get_all() if check.__name__ not in UNUSED_CHECKS]
    with requests.Session() as session:
        # No search for a proxy before each request.
        session.trust_env = False
        yield Validator(schema, checks, session)


@pytest.mark.parametrize(
    ("mode", "role"),
    [pytest.param("positive", "viewer", marks=pytest.mark.long), ("positive", "admin"), ("negative", "admin")],
)
@each("route", ROUTES)
def test_every_answer_is_as_described(
    route: str, mode: str, role: str, api: ApiServer, validator: Validator, long: bool
) -> None:
    from schemathesis import GenerationMode

    method, path = route.split()
    headers = {"Authorization": f"Bearer {api.tokens[role]}"}

    @settings(BOUNDED, max_examples=LONG_EXAMPLES if long else EXAMPLES)
    @given(case=validator.schema[path][method].as_strategy(generation_mode=GenerationMode(mode)))
    def hold(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=validator.checks, session=validator.session, timeout=60)

    try:
        hold()
    except Unsatisfiable:
        # A route without parameters can't be asked wrongly.
        assert mode == "negative"
