import pytest

from enterprise_gateway.errors import NotSupported, Unavailable
from enterprise_gateway.web.proxy.places import Places


def test_a_kernel_has_no_more_connections_than_allowed_and_others_have_theirs():
    places = Places(limit=1)
    with places.place("one"), places.place("two"), pytest.raises(Unavailable), places.place("one"):
        pass
    with places.place("one"):
        pass


def test_a_place_is_given_back_after_a_failure():
    places = Places(limit=1)
    with pytest.raises(KeyError), places.place("one"):
        raise KeyError
    with places.place("one"):
        pass


def test_none_are_allowed_where_the_limit_is_none():
    with pytest.raises(NotSupported), Places(limit=0).place("one"):
        pass
