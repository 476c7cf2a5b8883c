"""Every scenario by name."""

from typing import Final

from tests.chaos import scenarios_kill
from tests.chaos.act import Scenario

SCENARIOS: Final[dict[str, Scenario]] = {scenario.name: scenario for scenario in scenarios_kill.SCENARIOS}
