"""The documentation against the running platform: whatever is sent, no 5xx, no undocumented status or shape."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from jobplane.gateway.openapi import document
from jobplane.gateway.routes import ROUTERS
from tests.support.platform import Platform

pytestmark = pytest.mark.system

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
# The live stream never ends, and logging out would end the login of all that follows; both have tests of their own.
schema = (
    schemathesis.openapi.from_dict(document(ROUTERS, "test"))
    .exclude(path="/api/admin/live")
    .exclude(path=["/api/admin/session", "/api/admin/token"], method="DELETE")
)


@pytest.fixture(scope="module")
def bearer(platform: Platform) -> dict[str, str]:
    return {"Authorization": f"Bearer {platform.token()}"}


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_every_answer_is_documented(case: schemathesis.Case[Any], platform: Platform, bearer: dict[str, str]) -> None:
    answer = case.call_and_validate(base_url=platform.url, headers=bearer, checks=CHECKS)
    assert answer.status_code < 500
