"""How the kernel of each language is started."""
