"""Messages and stubs of the container runtime interface, generated from `api.proto` beside this file."""
