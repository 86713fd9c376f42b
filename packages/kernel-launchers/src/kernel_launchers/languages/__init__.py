"""The command that is a kernel of each language."""
