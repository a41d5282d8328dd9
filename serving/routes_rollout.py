"""The rollout over HTTP. Whoever moves something needs a key with the scope admin (``serving.access.guard``)."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from data.ledger import Entry
from serving import problems, schema
from serving.api import PREFIX, Utf8JsonResponse, body_of, parsed, within_deadline
from serving.errors import RolloutUnreachable
from serving.rollout.gates import Gate
from serving.rollout.operator import COMMANDS, Operator, Order

ROLLOUT = f"{PREFIX}/rollout"
CHANGES, MOST_CHANGES = 100, 1_000
router = APIRouter(prefix=ROLLOUT, tags=["rollout"])


class Command(schema.Request):
    """A command for the rollout."""

    value: str | None = Field(
        default=None, max_length=200, description="The tag to stage, or a share in percent.", examples=["10"]
    )
    who: str = Field(min_length=1, max_length=100, description="Who gives it; it is kept.", examples=["kim"])
    why: str = Field(default="", max_length=500, description="Why; it is kept.", examples=["v7 looks good"])
    force: bool = Field(default=False, description="Promote though gates fail; it is kept.")


class Worker(BaseModel):
    """What a worker says of itself: what it serves, what it has ready, and what it could not load."""

    worker: str
    generation: int
    live: str
    ready: list[str]
    problems: dict[str, str]


class Status(BaseModel):
    """What all workers should serve, what they do, and what was observed."""

    generation: int
    blue: str | None
    green: str | None
    live_slot: str
    live: str
    other: str | None
    role: str | None = Field(description="What the other slot holds: staged, previous, or nothing.")
    weight: float = Field(description="Share of callers that the staged model answers, in percent.")
    shadow: float = Field(description="Share of requests that both answer, in percent.")
    trial: int
    watched_until: float = Field(description="Seconds since 1970: until then a promotion may take itself back.")
    gates: list[Gate]
    gates_passed: bool | None
    workers: list[Worker]
    behind: list[str] = Field(description="Workers that do not serve this generation yet.")


STATUS_EXAMPLE = {
    "generation": 3, "blue": "koelectra-nsmc:v6-1f0a3b7c", "green": "koelectra-nsmc:v7-3f2a9c1d", "live_slot": "blue",
    "live": "koelectra-nsmc:v6-1f0a3b7c", "other": "koelectra-nsmc:v7-3f2a9c1d", "role": "staged", "weight": 0.0,
    "shadow": 20.0, "trial": 1, "watched_until": 0.0,
    "gates": [{"name": "disagreement", "passed": True, "detail": "98 of 1,412 (6.9%) ...; at most 10.0%"}],
    "gates_passed": True,
    "workers": [{
        "worker": "a1b2-1", "generation": 3, "live": "koelectra-nsmc:v6-1f0a3b7c", "problems": {},
        "ready": ["koelectra-nsmc:v6-1f0a3b7c", "koelectra-nsmc:v7-3f2a9c1d"],
    }],
    "behind": [],
}  # fmt: skip
CHANGE_EXAMPLE = {
    "number": 1, "at": 1795420800.0, "who": "kim", "what": "stage koelectra-nsmc:v7-3f2a9c1d",
    "before": "koelectra-nsmc:v6-1f0a3b7c", "after": "koelectra-nsmc:v6-1f0a3b7c", "why": "", "figures": {},
    "previous": "0" * 64,
}  # fmt: skip


@router.get("", response_model=Status, responses=schema.documented(STATUS_EXAMPLE) | problems.documented(401, 409, 503))
@within_deadline
async def status(request: Request) -> Utf8JsonResponse:
    """What is live, what is beside it, and whether it may be promoted."""
    return Utf8JsonResponse(await _operator(request).status())


@router.get(
    "/history",
    response_model=list[Entry],
    responses=schema.documented([CHANGE_EXAMPLE]) | problems.documented(401, 422, 503),
)
@within_deadline
async def history(
    request: Request, last: Annotated[int, Query(ge=1, le=MOST_CHANGES, description="How many, at most.")] = CHANGES
) -> Utf8JsonResponse:
    """The last changes, oldest first, with the whole chain verified; ``python -m serving.rollout history`` has all."""
    entries = await _operator(request).history()
    return Utf8JsonResponse([asdict(entry) for entry in entries[-last:]])


def _route(command: str) -> None:
    @router.post(
        f"/{command}",
        name=command,
        response_model=Status,
        responses=schema.documented(STATUS_EXAMPLE) | problems.documented(400, 401, 403, 409, 413, 415, 422, 503, 504),
        openapi_extra=body_of(Command),
        summary=f"{command.capitalize()}, with a key that has the scope admin",
    )
    @within_deadline
    async def move(request: Request) -> Utf8JsonResponse:
        asked = await parsed(request, Command)
        operator = _operator(request)
        await operator.carry_out(Order(command, asked.who, asked.why, asked.value, asked.force))
        return Utf8JsonResponse(await operator.status())


for _each in COMMANDS:
    _route(_each)


def _operator(request: Request) -> Operator:
    operator: Operator | None = request.app.state.operator
    if operator is None:
        raise RolloutUnreachable("the service is still starting")
    return operator
