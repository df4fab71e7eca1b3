"""Programs that run as processes of their own, apart from the daemon's interpreter lock and CPU time."""
