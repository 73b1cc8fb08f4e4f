"""The HTTP service: mentions to links for many callers, on one model; extra `serve`."""
