"""What a kernel's messages say about the kernel: its state, its use, and which requests it still owes an answer.

Everything here is pure: it takes the few fields of a message that matter, already parsed, and does no I/O. So the same
rules hold in the gateway and in a program inside the kernel's pod.
"""
