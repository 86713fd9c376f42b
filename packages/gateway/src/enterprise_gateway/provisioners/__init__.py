"""How a kernel comes to run somewhere: jupyter_client's extension point, and what this gateway adds to it."""
