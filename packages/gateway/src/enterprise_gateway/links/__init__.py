"""The gateway's one connection to each kernel, the log of what the kernel says, and the cursors that read it."""
