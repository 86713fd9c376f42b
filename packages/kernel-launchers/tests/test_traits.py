import pytest

from kernel_launchers.traits import KernelTraits, foreign_traits, traits_of


@pytest.mark.parametrize(
    ("language", "mode", "traits"),
    [
        ("R", "signal", KernelTraits(serves_control=False)),
        ("python", "signal", KernelTraits()),
        ("r", "message", KernelTraits(serves_control=False)),
        ("c++", "message", KernelTraits(interrupted_by_message=True)),
        ("", "anything", KernelTraits()),
    ],
)
def test_what_a_kernel_can_follows_from_its_language_and_its_kernelspec(language, mode, traits):
    assert traits_of(language, interrupt_mode=mode) == traits


@pytest.mark.parametrize(
    ("mode", "traits"),
    [
        ("signal", KernelTraits(answered_for=("usage_request", "interrupt_request"))),
        ("message", KernelTraits(interrupted_by_message=True, answered_for=("usage_request",))),
    ],
)
def test_a_foreign_kernel_is_interrupted_in_the_way_that_its_kernelspec_names(mode, traits):
    assert foreign_traits("bash", interrupt_mode=mode) == traits
