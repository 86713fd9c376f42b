"""Whether a kernel answers: the one proof that it has started."""

from enterprise_gateway.kernels.kernel import Kernel

__all__ = ["wait_until_it_answers"]


async def wait_until_it_answers(kernel: Kernel) -> None:
    """Return as soon as the kernel answers and its output is known to arrive; the caller sets the deadline."""
    await kernel.link.ask_kernel_info()
    await kernel.link.output_arrives(ask=True)
