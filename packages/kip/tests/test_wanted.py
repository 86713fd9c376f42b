import pytest

from kernel_image_puller.wanted import ImageRequest, PullPolicy, WantingRules, decide

RULES = WantingRules()


def test_three_names_of_one_image_are_one_image() -> None:
    requests = [ImageRequest(name, f"spec-{name}") for name in ("python", "docker.io/library/python", "library/python:latest")]
    decided = decide(requests, RULES, {})
    assert list(decided.images) == ["docker.io/library/python:latest"]
    assert len(decided.images["docker.io/library/python:latest"].wanted_by) == 3


def test_always_wins_whoever_comes_first() -> None:
    eager, lazy = ImageRequest("a", "x", PullPolicy.ALWAYS), ImageRequest("a", "y", PullPolicy.IF_NOT_PRESENT)
    for requests in ([eager, lazy], [lazy, eager]):
        assert decide(requests, RULES, {}).images["docker.io/library/a:latest"].policy is PullPolicy.ALWAYS


def test_an_image_without_a_policy_has_the_administrators() -> None:
    decided = decide([ImageRequest("a", "x")], WantingRules(policy=PullPolicy.ALWAYS), {})
    assert decided.images["docker.io/library/a:latest"].policy is PullPolicy.ALWAYS


def test_a_bad_name_is_rejected_and_hides_no_other() -> None:
    decided = decide([ImageRequest("--help", "bad"), ImageRequest("a", "good")], RULES, {})
    assert list(decided.images) == ["docker.io/library/a:latest"]
    assert [(rejection.image, rejection.wanted_by) for rejection in decided.rejected] == [("--help", "bad")]


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("quay.io/x:1", True),
        ("quay.io.evil.example/x", False),
        ("elyra/kernel-py", True),
        ("elyra-evil/kernel-py", False),
        ("169.254.169.254/x", False),
        ("python", False),
    ],
)
def test_only_allowed_registries_are_reached(image: str, allowed: bool) -> None:  # noqa: FBT001  a row of the table
    rules = WantingRules(allowed_registries=("quay.io", "docker.io/elyra"))
    decided = decide([ImageRequest(image, "x")], rules, {})
    assert bool(decided.images) is allowed
    assert bool(decided.rejected) is not allowed


def test_a_gpu_image_goes_only_to_nodes_with_the_label() -> None:
    request = ImageRequest("gpu", "x", node_selector=(("accelerator", "nvidia"),))
    assert decide([request], RULES, {"accelerator": "nvidia"}).images
    for labels in ({}, {"accelerator": "amd"}, None):
        decided = decide([request], RULES, labels)
        assert not decided.images
        assert [entry.image for entry in decided.elsewhere] == ["gpu"]
        assert decided.undecided is (labels is None)


def test_without_a_node_selector_unknown_labels_leave_nothing_undecided() -> None:
    assert not decide([ImageRequest("a", "x")], RULES, None).undecided


def test_an_image_that_one_kernelspec_wants_everywhere_is_everywhere() -> None:
    requests = [ImageRequest("a", "x", node_selector=(("gpu", "1"),)), ImageRequest("a", "y")]
    assert list(decide(requests, RULES, {}).images) == ["docker.io/library/a:latest"]


def test_every_way_in_which_a_name_is_written_in_pods_is_kept() -> None:
    requests = [ImageRequest(name, "x") for name in ("a:1", "library/a:1", "docker.io/library/a:1", "a:1")]
    (image,) = decide(requests, WantingRules(), {}).images.values()
    assert image.written == ("a:1", "docker.io/library/a:1", "library/a:1")


def test_a_name_that_only_a_default_registry_of_ours_completes_is_written_out() -> None:
    (image,) = decide([ImageRequest("a:1", "x")], WantingRules(default_registry="r.example"), {}).images.values()
    assert image.written == ("r.example/a:1",)
