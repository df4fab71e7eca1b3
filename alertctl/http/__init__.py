"""The HTTP client for all outbound requests, on libcurl. Importing this package does not load libcurl."""
