"""Where the checkout is whose tests these are."""

from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
