"""How tests are dealt to processes: one after the other where they start clusters, file by file elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import pytest

_INTEGRATION = Path(__file__).parent / "integration"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Name the groups before xdist reads them.

    Clusters that start at the same moment take each other's ports, and starve each other on a small machine.
    """
    for item in items:
        group = "integration" if item.path.is_relative_to(_INTEGRATION) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
