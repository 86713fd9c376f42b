"""One client's websocket to one kernel: frames, flow in both directions, and what outlives a lost connection."""
