"""The unit of work and the connections of a service's database."""

from collections.abc import Callable


def test_fixture_smoke(database_url: Callable[[str], str]) -> None:
    assert database_url("kernel-only") != database_url("bus")
