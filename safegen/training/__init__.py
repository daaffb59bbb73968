"""Training of SPMs and of the shipped base; only the command line reaches it."""
