"""`alertctl serve`: the composition root. One process: the API on uvicorn, the dispatcher's threads, the scheduler."""

from alertctl.daemon.serve import serve

__all__ = ["serve"]
