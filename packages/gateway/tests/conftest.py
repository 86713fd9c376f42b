"""How many examples a property is tried with: HYPOTHESIS_PROFILE=thorough tries ten thousand of each, else a few hundred."""

import os

from hypothesis import HealthCheck, settings

# Large values are among the hostile ones on purpose, and a deadline for one example is meaningless on a loaded machine.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.data_too_large, HealthCheck.too_slow]}

settings.register_profile("quick", max_examples=200, **_COMMON)
settings.register_profile("thorough", max_examples=10_000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "quick")
