"""Where the names of images come from."""
