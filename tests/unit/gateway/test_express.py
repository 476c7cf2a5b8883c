"""A route that the express lane would not serve as the framework does stops the start, with one sentence."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, BackgroundTasks, Body, Cookie, Depends, Header, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, Response

from jobplane.gateway.express import Express
from jobplane.gateway.openapi import routes_of
from jobplane.gateway.parameters import Unsupported
from jobplane.gateway.routes import jobs

OK = PlainTextResponse("ok")


class Terms(BaseModel):
    """Two headers."""

    prefer: str = ""
    if_match: str = ""


async def caller(request: Request) -> str:
    return request.method


async def once_more(who: Annotated[str, Depends(caller)]) -> str:
    return who


async def opened() -> AsyncIterator[str]:
    yield "open"


def blocking() -> str:
    return "slow"


class Made:
    """Its instances are awaited, making one is not."""

    async def __call__(self) -> str:
        return "made"


async def telling(response: Response) -> None:
    response.headers["X-Told"] = "yes"


class OwnRoute(APIRoute):
    """It could do anything with a request."""


async def plain() -> Response:
    return OK


def not_asynchronous() -> Response:
    return OK


async def without_a_word():  # type: ignore[no-untyped-def] # noqa: ANN201 - that is the point
    return OK


async def gives_a_dict() -> dict[str, str]:
    return {}


async def perhaps_a_response() -> Response | dict[str, str]:
    return OK


async def wants_a_generator(_value: Annotated[str, Depends(opened)]) -> Response:
    return OK


async def wants_what_blocks(_value: Annotated[str, Depends(blocking)]) -> Response:
    return OK


async def wants_an_instance(_value: Annotated[Made, Depends(Made)]) -> Response:
    return OK


async def wants_one_twice(_one: Annotated[str, Depends(caller)], _two: Annotated[str, Depends(once_more)]) -> Response:
    return OK


async def wants_tasks(tasks: BackgroundTasks) -> Response:
    tasks.add_task(blocking)
    return OK


async def wants_it_deeply(_value: Annotated[None, Depends(telling)]) -> Response:
    return OK


async def wants_a_cookie(_session: Annotated[str, Cookie()] = "") -> Response:
    return OK


async def wants_a_body(_body: Annotated[dict[str, str], Body()]) -> Response:
    return OK


async def wants_the_connection(_connection: HTTPConnection) -> Response:
    return OK


async def wants_headers_as_one(_terms: Annotated[Terms, Header()] = Terms()) -> Response:  # noqa: B008 - a frozen default
    return OK


async def wants_perhaps_headers_as_one(_terms: Annotated[Terms | None, Header()] = None) -> Response:
    return OK


async def wants_another_name(_prefer: Annotated[str, Header(validation_alias="x-prefer")] = "") -> Response:
    return OK


REFUSED: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (not_asynchronous, {}, "its function is not asynchronous"),
    (without_a_word, {}, "its function is not declared to give a Response"),
    (gives_a_dict, {}, "its function is not declared to give a Response"),
    (perhaps_a_response, {"response_model": None}, "its function is not declared to give a Response"),
    (plain, {"response_model": dict[str, str]}, "it has a response_model"),
    (plain, {"max_body_size": 10}, "it has a limit of its own for bodies"),
    (plain, {"route_class_override": OwnRoute}, "it is a OwnRoute"),
    (plain, {"dependencies": [Depends(blocking)]}, "its dependency blocking is no asynchronous function"),
    (wants_a_generator, {}, "its dependency opened is no asynchronous function"),
    (wants_what_blocks, {}, "its dependency blocking is no asynchronous function"),
    (wants_an_instance, {}, "its dependency Made is no asynchronous function"),
    (wants_one_twice, {}, "it uses caller more than once"),
    (wants_tasks, {}, "wants_tasks wants BackgroundTasks"),
    (wants_it_deeply, {}, "telling wants a Response to change"),
    (wants_a_cookie, {}, "wants_a_cookie wants a cookie parameter"),
    (wants_a_body, {}, "wants_a_body wants a body that the framework reads"),
    (wants_the_connection, {}, "wants_the_connection wants an HTTPConnection"),
    (wants_headers_as_one, {}, "wants_headers_as_one wants a model of several headers"),
    (wants_perhaps_headers_as_one, {}, "wants_perhaps_headers_as_one wants a model of several headers"),
    (wants_another_name, {}, "wants_another_name wants the header _prefer by a validation_alias"),
]


async def framework(_scope: Any, _receive: Any, _send: Any) -> None:
    """Serves everything else."""


def express(router: APIRouter) -> Express:
    return Express(framework, routes_of([router]), lambda app: app)  # type: ignore[arg-type] # only its routes count


@pytest.mark.parametrize(("endpoint", "options", "why"), REFUSED)
def test_a_route_that_would_misbehave_stops_the_start(
    endpoint: Callable[..., Any], options: dict[str, Any], why: str
) -> None:
    router = APIRouter()
    router.add_api_route("/things", plain)
    router.add_api_route("/things/{name}", endpoint, methods=["POST"], **options)
    with pytest.raises(Unsupported) as told:
        express(router)
    assert str(told.value).startswith(f"POST /things/{{name}} cannot be served by the express lane: {why}")
    assert str(told.value).endswith(".")


def test_a_route_behind_one_that_matches_all_of_its_requests_stops_the_start() -> None:
    router = APIRouter()
    router.add_api_route("/things/all", plain, methods=["POST"])
    router.add_api_route("/things/{name}", plain)
    router.add_api_route("/things/all", plain)
    with pytest.raises(Unsupported) as told:
        express(router)
    assert str(told.value).startswith("GET /things/all cannot be served by the express lane: /things/{name}, which is")


def test_the_routes_of_jobs_are_fit_for_it() -> None:
    assert set(express(jobs.router)._by_path) == {
        ("GET", "/api/admin/jobs"),
        ("POST", "/api/admin/jobs"),
    }
