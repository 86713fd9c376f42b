import pytest

from kernel_image_puller.errors import KubernetesCallFailed, SourceFailed
from kernel_image_puller.sources.config_map import ConfigMapSource


class FakeReader:
    def __init__(self, data: dict[str, str] | None) -> None:
        self.data = data

    def config_map(self, namespace: str, name: str) -> dict[str, str]:
        if self.data is None:
            raise KubernetesCallFailed(f"{namespace}/{name}: 403", status=403)
        return self.data


def _source(data: dict[str, str] | None) -> ConfigMapSource:
    return ConfigMapSource(reader=FakeReader(data), namespace="ns", name="images", key="image-names")


def test_the_list_below_the_key_is_read() -> None:
    assert [request.image for request in _source({"image-names": "- a\n- b"}).fetch().requests] == ["a", "b"]


@pytest.mark.parametrize("data", [None, {}, {"other": "- a"}, {"image-names": "a: b"}])
def test_what_cannot_be_read_is_a_failure(data: dict[str, str] | None) -> None:
    with pytest.raises(SourceFailed):
        _source(data).fetch()
