"""Switches: one row for each, and the VIF, plan, facts and device of a port by its row."""
