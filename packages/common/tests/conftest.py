"""Tests of properties: no example fails because the machine is busy."""

from hypothesis import HealthCheck, settings

# On top of what another package's tests have chosen, where they run in the same process.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
