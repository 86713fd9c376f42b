import pytest

from kernel_launchers.traits import KernelTraits, traits_of


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
