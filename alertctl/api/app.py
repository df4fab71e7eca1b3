"""The application: routes, errors and their description, over the services that the composition root gives."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from alertctl import __version__
from alertctl.api import (
    delivery_log,
    dispatching,
    event_states,
    events,
    preferences,
    previews,
    process,
    standing,
    stream,
    tokens,
    trials,
    users,
)
from alertctl.api.access import DirectRoute, Endpoint, Gate
from alertctl.api.bodies import BodyLimit, bounded
from alertctl.api.contract import describe
from alertctl.api.problems import answer_to, install
from alertctl.api.services import Services

ROUTERS = (
    events.direct,
    events.router,
    previews.router,
    event_states.router,
    preferences.router,
    users.router,
    tokens.router,
    standing.router,
    dispatching.router,
    stream.router,
    delivery_log.router,
    trials.router,
    process.router,
)


class Api(FastAPI):
    """The application. A `DirectRoute` is called past the framework's layers: they cost as much as what it does."""

    direct: Mapping[tuple[str, str], Endpoint] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self.direct.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            return await super().__call__(scope, receive, send)
        scope["app"] = self
        request = Request(scope, bounded(receive))
        try:
            answer = await endpoint(request)
        except Exception as error:
            answer = answer_to(request, error)
        return await answer(scope, receive, send)


def create_app(services: Services) -> FastAPI:
    """The API over these services. Raises ConfigError for JWT settings that can't work."""
    # A redirect from /x/ to /x would lose the caller's token in some clients: 404 says what is wrong.
    app = Api(title="alertctl", version=__version__, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.gate = Gate(services)
    for router in ROUTERS:
        # Flat: whoever walks `app.routes` sees each route.
        app.router.routes.extend(router.routes)
    app.direct = {
        (method, route.path): route.get_route_handler()
        for route in events.direct.routes
        if isinstance(route, DirectRoute)
        for method in route.methods or ()
    }
    install(app)
    app.add_middleware(BodyLimit)
    describe(app)
    return app
