"""Each test works for no request, whatever one before it in the same process has left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmpt.core import request_id


@pytest.fixture(autouse=True)
def of_no_request() -> Iterator[None]:
    with request_id.carried(""):
        yield
