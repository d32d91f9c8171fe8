"""Choosing beside Nova's scheduler, claiming beside Placement."""
