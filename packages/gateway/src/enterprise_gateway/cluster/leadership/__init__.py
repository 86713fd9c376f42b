"""Which replica acts for all of them."""
