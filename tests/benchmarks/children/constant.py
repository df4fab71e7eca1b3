"""The yardstick of accepting: FastAPI on uvicorn with httptools, validating the same body and answering a constant.

    python -m tests.benchmarks.children.constant

The first line of stdout is JSON: `url`. The constant is as long as alertctl's own answer to the same body.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Response
from pydantic import Field

from alertctl.events.safety_rollback import SafetyRollback

ANSWER = json.dumps({"event_id": "0" * 36, "event_type": "safety_rollback", "deliveries": ["x" * 440], "warnings": []})


class Body(SafetyRollback):
    """Return the request body of POST /events for this event type: its fields and targets."""

    kind: Literal["safety_rollback"] = Field(alias="event_type")
    to: list[str] = []  # noqa: RUF012  (a pydantic field)
    channel: Literal["slack", "email"] | None = None


app = FastAPI(openapi_url=None)


@app.post("/events", status_code=202)
async def accept(body: Body) -> Response:
    return Response(ANSWER, 202, media_type="application/json")


class _Server(uvicorn.Server):
    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)


if __name__ == "__main__":
    options: dict[str, Any] = {"http": "httptools", "lifespan": "off", "log_config": None, "access_log": False}
    _Server(uvicorn.Config(app, port=0, **options)).run()
    sys.exit()
