"""What is told to a tracker."""

from __future__ import annotations

import pydantic_core

from llmpt.tracker import wire


def test_a_path_of_bytes_leaves_the_rest_of_what_is_told_readable() -> None:
    said = wire.written({"problems": [{"what": "/h\udcff/é", "reason": "it is not there"}]})
    assert pydantic_core.from_json(said) == {"problems": [{"what": "/h?/é", "reason": "it is not there"}]}
