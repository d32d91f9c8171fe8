"""Whether a step is taken, judged as the product judges it: read what it looks at, then compare."""

from smartvif.drivers.drivers import Drivers
from smartvif.model.verdict import Holds
from smartvif.observe.read import read
from smartvif.plug.steps.step import Step


def holds(step: Step, drivers: Drivers) -> bool:
    """Whether what the step makes is there."""
    return isinstance(step.compare(read(step.scope(), drivers)), Holds)
