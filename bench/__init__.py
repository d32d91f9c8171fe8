"""Measurements beside the peers; see README.md."""
