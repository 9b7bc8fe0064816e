from __future__ import annotations

import pytest
from studio_kit import png, running


@pytest.fixture
def client(tmp_path):
    with running(tmp_path / "studio") as client:
        yield client


@pytest.fixture
def picture(client):
    """The name of a picture that was uploaded."""
    return client.post("/api/pictures", content=png()).json()["name"]
