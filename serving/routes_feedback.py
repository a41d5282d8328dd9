"""The route that takes a caller's correction of a verdict. What becomes of it is decided when the next model learns."""

import time
from typing import Literal, Self

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from data.errors import TextError
from data.journal import Correction, text_digest
from data.labels import NAMES
from data.text import clean_review
from serving import problems, schema
from serving.api import PREFIX, Utf8JsonResponse, account_of, body_of, parsed, within_deadline
from serving.boundary import REQUEST_ID_PATTERN
from serving.errors import JournalFailed, RequestInvalid
from serving.journal import Journal
from serving.problems import InputProblem

FEEDBACK = f"{PREFIX}/feedback"
MAX_CHARACTERS = 10_000
router = APIRouter(prefix=PREFIX, tags=["sentiment"])


class FeedbackRequest(schema.Request):
    """What a review should have been called; its text, its digest or the request that asked about it names it."""

    label: Literal["부정", "긍정"] = Field(description="What the review says.", examples=["부정"])
    text: str | None = Field(
        default=None,
        description="The review as written.",
        examples=["참 재밌기도 하겠다"],
        json_schema_extra={"maxLength": MAX_CHARACTERS},
    )
    text_digest: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the cleaned review in UTF-8, as an answer of this route says.",
    )
    request_id: str | None = Field(
        default=None,
        pattern=REQUEST_ID_PATTERN,
        description="X-Request-ID of an answer of /analyze or /batch, which no other request has.",
    )
    index: int = Field(default=0, ge=0, le=1_000_000, description="Which review of that request, from 0.")
    keep_text: bool = Field(
        default=False,
        description="Keep the text, so that it can be learned from; else its digest is kept, and the review is learned "
        "from only where it is known otherwise.",
        examples=[True],
    )

    def check(self) -> Self:
        """Raises RequestInvalid unless exactly one review is named."""
        if sum(each is not None for each in (self.text, self.text_digest, self.request_id)) != 1:
            raise RequestInvalid("exactly one of text, text_digest and request_id must be given")
        if self.text is not None and len(self.text) > MAX_CHARACTERS:
            raise RequestInvalid(
                f"text has {len(self.text):,} characters; at most {MAX_CHARACTERS:,} are allowed", "text"
            )
        if self.keep_text and self.text is None:
            raise RequestInvalid("keep_text: there is no text to keep; give it as text", "keep_text")
        if self.index and self.request_id is None:
            raise RequestInvalid("index: it is that of a review within request_id, which is not given", "index")
        return self


class FeedbackData(BaseModel):
    """What was kept."""

    label: Literal["부정", "긍정"]
    text_digest: str | None = Field(description="What the review is known by; null where request_id names it.")
    text_kept: bool


class FeedbackResponse(BaseModel):
    """Answer of ``/feedback``: it is kept, which does not mean that it is believed."""

    status: Literal["accepted"] = "accepted"
    data: FeedbackData


EXAMPLE = {
    "status": "accepted",
    "data": {
        "label": "부정",
        "text_digest": "47a5b6a1" + 28 * "0e",
        "text_kept": True,
    },
}


@router.post(
    "/feedback",
    status_code=202,
    response_model=FeedbackResponse,
    responses=schema.documented(EXAMPLE, 202) | problems.documented(400, 401, 403, 413, 415, 422, 503, 504),
    openapi_extra=body_of(FeedbackRequest),
)
@within_deadline
async def feedback(request: Request) -> Utf8JsonResponse:
    """Say what a review should have been called."""
    asked = (await parsed(request, FeedbackRequest)).check()
    digest, kept = asked.text_digest, None
    if asked.text is not None:
        try:
            cleaned = clean_review(asked.text)
        except TextError as error:
            raise InputProblem.of(error, "text") from error
        digest, kept = text_digest(cleaned), cleaned if asked.keep_text else None
    journal = _journal(request)
    await journal.corrected(
        Correction(
            at=round(time.time(), 3),
            caller=journal.caller(account_of(request)),
            label=NAMES.index(asked.label),
            digest=digest,
            request=asked.request_id,
            index=asked.index,
            text=kept,
        )
    )
    data = {"label": asked.label, "text_digest": digest, "text_kept": kept is not None}
    return Utf8JsonResponse({"status": "accepted", "data": data}, 202)


def _journal(request: Request) -> Journal:
    journal: Journal | None = request.app.state.journal
    if journal is None:
        raise JournalFailed("this service takes no corrections: JOURNAL_FOLDER is not set")
    return journal
