"""What the supervisor does for gateways: it keeps what the kernel says, hands it out, and passes on what clients ask."""
