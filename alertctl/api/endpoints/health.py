"""Liveness, readiness and metrics of the process. These routes need no token."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from alertctl.api.deps import ServicesDep
from alertctl.api.errors import problem, problem_responses

router = APIRouter(tags=["process"])
HEALTHY = ("ok", "off")


class Health(BaseModel):
    status: str


class Readiness(BaseModel):
    """The state of each part: `ok` or `off`."""

    status: str
    parts: dict[str, str]


@router.get("/healthz")
async def healthz() -> Health:
    """Return 200 while the process runs."""
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problem_responses(503))
def readyz(services: ServicesDep) -> Response | Readiness:
    """Check database, migrations, scheduler and dispatcher. 503 names the failing parts."""
    parts = {name: str(state) for name, state in services.readiness().items()}
    failing = [f"{name}: {state}" for name, state in parts.items() if state not in HEALTHY]
    return problem(503, "; ".join(failing)) if failing else Readiness(status="ready", parts=parts)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
def metrics(services: ServicesDep) -> Response:
    """Return the metrics in Prometheus's text format."""
    return Response(services.metrics(), media_type=CONTENT_TYPE_LATEST)
