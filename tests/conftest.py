"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is no failure: no example has a deadline. In CI the examples are the same each time.
settings.register_profile("cielo", settings(), deadline=None)
settings.load_profile("cielo")
