"""What all tests share: libraries' environment, and quiet where nobody can act."""

from __future__ import annotations

from hypothesis import settings

from infra.native_teardown import mute_native_teardown
from infra.settings import quiet_libraries

mute_native_teardown()
quiet_libraries()

# A busy machine is no failed law: examples are bounded in number, not in milliseconds.
settings.register_profile("home-mixer", deadline=None)
settings.load_profile("home-mixer")
