"""The OpenAPI description, held against what is answered: by schemathesis, with a token of each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from alertctl.db import Store, upgrade
from tests.support.api_server import ApiServer, openapi_schema, running

load_all_checks()
BOUNDED = settings(
    max_examples=6,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# What is right by its shape may still be refused for what it means (an error_rate of 7).
UNASKED = ("positive_data_acceptance",)
CHECKED = [check for check in CHECKS.get_all() if check.__name__ not in UNASKED]


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


@pytest.mark.parametrize("role", ["viewer", "developer", "admin"])
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("route", ROUTES)
def test_every_answer_is_as_described(route: str, mode: GenerationMode, role: str, api: ApiServer) -> None:
    method, path = route.split()
    schema = schemathesis.openapi.from_dict(DESCRIPTION)
    schema.config.update(base_url=f"http://127.0.0.1:{api.port}")
    headers = {"Authorization": f"Bearer {api.tokens[role]}"}

    @BOUNDED
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def hold(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=headers, checks=CHECKED)

    try:
        hold()
    except Unsatisfiable:
        # A route without parameters can't be asked wrongly.
        assert mode is GenerationMode.NEGATIVE
