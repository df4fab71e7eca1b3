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
    """Each part that must be well, with `ok` or `off`."""

    status: str
    parts: dict[str, str]


@router.get("/healthz")
async def healthz() -> Health:
    """The process answers."""
    return Health(status="ok")


@router.get("/readyz", response_model=Readiness, responses=problem_responses(503))
def readyz(services: ServicesDep) -> Response | Readiness:
    """The database takes writes and is migrated, the scheduler beats, the dispatcher works; 503 names what doesn't."""
    parts = {name: str(state) for name, state in services.readiness().items()}
    failing = [f"{name}: {state}" for name, state in parts.items() if state not in HEALTHY]
    return problem(503, "; ".join(failing)) if failing else Readiness(status="ready", parts=parts)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
def metrics(services: ServicesDep) -> Response:
    """What Prometheus reads."""
    return Response(services.metrics(), media_type=CONTENT_TYPE_LATEST)
