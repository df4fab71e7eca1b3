"""The one HTTP client for everything that leaves this machine, on libcurl. Importing it loads nothing."""
