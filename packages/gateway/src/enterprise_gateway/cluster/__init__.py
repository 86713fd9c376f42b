"""The only code that calls Kubernetes."""
