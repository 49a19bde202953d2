from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from licence_vendor import Vendor


@pytest.fixture(scope="session")
def vendor() -> Vendor:
    """Whose keys this session's providers accept."""
    return Vendor()


@pytest.fixture(scope="session")
def keyring(vendor: Vendor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vendor.write_keyring(tmp_path_factory.mktemp("licence") / "keyring.json")


@pytest.fixture(scope="session", autouse=True)
def licensed(vendor: Vendor, keyring: Path) -> Iterator[None]:
    """The providers of these tests, and of the processes they start, run as a licensee's do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATRION_LICENSE_KEYRING", str(keyring))
        patch.setenv("ATRION_LICENSE_KEY", vendor.issue(tier="enterprise", limit=None))
        yield
