"""From a request for a kernel to the objects that a cluster is asked for: pure, so that it is checked before anything exists."""
