"""What a kernel ran and what came of it: executions with their outputs as a notebook has them, bounded in memory.

Everything here is pure: it is told of messages and does no I/O. So the same rules hold in the gateway and in a program inside
the kernel's pod.
"""
