"""`alertctl serve`, the composition root: API on uvicorn, dispatcher threads and scheduler in one process."""

from alertctl.daemon.serve import serve

__all__ = ["serve"]
