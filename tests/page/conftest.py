import pytest

from data.bundle import Bundle
from serving.model import Model


@pytest.fixture(scope="session")
def model(bundle: Bundle) -> Model:
    return Model.load(bundle.folder, tag="koelectra-nsmc:test")
