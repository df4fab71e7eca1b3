"""What runs as a process of its own, so that it costs the daemon neither its interpreter lock nor its CPU seconds."""
