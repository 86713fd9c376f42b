"""The HTTP edge: parse a request, call a service, answer in JSON."""
