"""A Scala kernel: ipykernel speaks the protocol, and the Scala compiler's own interpreter runs the code in a JVM beside it."""
