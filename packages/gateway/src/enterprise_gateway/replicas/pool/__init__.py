"""Keeps pods ready for starts that nobody has asked for yet; one replica does it for all."""
