"""Requests that schemathesis draws from the OpenAPI description, right ones and wrong ones, none answered by a 5xx."""

from typing import Any

import pytest
from amount import scaled
from hypothesis import HealthCheck, given, settings

from m3rt.serve.app import ROUTES

pytest.importorskip("fastapi", reason="needs the 'server' extra")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install schemathesis")
pytestmark = pytest.mark.filterwarnings("ignore")  # of schemathesis' parts

READS = ["/v1/models", "/models", "/info", "/v1/documents", "/live", "/ready", "/health", "/metrics"]
draws = settings(max_examples=scaled(4), suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def described(address: str) -> Any:
    return schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_route_is_described(described: Any) -> None:
    found = {(one.ok().method.upper(), one.ok().path) for one in described.get_all_operations()}
    assert found == {(route.method, route.path) for route in ROUTES} | {("GET", path) for path in READS}


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize(("method", "path"), [(route.method, route.path) for route in ROUTES])
def test_no_request_of_the_description_or_beside_it_fails_the_server(
    method: str, path: str, mode: Any, described: Any, client: Any
) -> None:
    @draws
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def none_fails(case: Any) -> None:
        answer = case.call(timeout=60)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert "\n" not in answer.text

    none_fails()
    assert client.get("/live").status_code == 200
