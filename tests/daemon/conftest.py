from tests.support.daemon import call, serve, settings

__all__ = ["call", "serve", "settings"]
