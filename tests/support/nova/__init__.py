"""Nova's own code, set up to be compared with ours."""
