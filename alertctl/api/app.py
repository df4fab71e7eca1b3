"""The application: routes, errors and their description, over the services that the composition root gives."""

from __future__ import annotations

from fastapi import FastAPI

from alertctl import __version__
from alertctl.api.auth import Authenticator
from alertctl.api.deps import Services
from alertctl.api.endpoints import (
    delivery_log,
    dispatch,
    events,
    health,
    preferences,
    status,
    stream,
    test,
    tokens,
    users,
)
from alertctl.api.errors import install
from alertctl.api.openapi import describe
from alertctl.api.request_body import BodyLimit

ROUTERS = (
    events.router,
    preferences.router,
    users.router,
    tokens.router,
    status.router,
    dispatch.router,
    stream.router,
    delivery_log.router,
    test.router,
    health.router,
)


def create_app(services: Services) -> FastAPI:
    """The API over these services. Raises ConfigError for JWT settings that can't work."""
    # A redirect from /x/ to /x would lose the caller's token in some clients: 404 says what is wrong.
    app = FastAPI(title="alertctl", version=__version__, redoc_url=None, redirect_slashes=False)
    app.state.services = services
    app.state.authenticator = Authenticator(services)
    for router in ROUTERS:
        # Flat: whoever walks `app.routes` sees each route.
        app.router.routes.extend(router.routes)
    install(app)
    app.add_middleware(BodyLimit)
    describe(app)
    return app
