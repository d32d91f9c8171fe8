"""Plugging, beside os-vif and beside a script."""
