"""For every test of the repository: no test depends on another, and on no order."""

pytest_plugins = ["tests.support.isolation", "tests.support.order"]
