"""Logs as JSON, a line an event, with the id of the request that it belongs to."""

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that is being answered; set by ``serving.boundary``."""
FIELDS = "fields"
"""``extra={FIELDS: {...}}`` adds to an event; names and numbers only, never a text."""
LogFormat = Literal["json", "text"]


class JsonFormatter(logging.Formatter):
    """An event as one line of JSON. Of an exception it tells type and place; its message may quote a review."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter.format``."""
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (request_id := REQUEST_ID.get()) is not None:
            event["request_id"] = request_id
        event |= getattr(record, FIELDS, {})
        if record.exc_info and record.exc_info[1] is not None:
            event["error"], event["place"] = type(record.exc_info[1]).__name__, place(record.exc_info[1])
        return json.dumps(event, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter.format``."""
        event = json.loads(JsonFormatter().format(record))
        clock, level, logger, message = (event.pop(name) for name in ("time", "level", "logger", "message"))
        rest = "".join(f" {name}={value}" for name, value in event.items())
        return f"{clock[11:23]} {level:<7} {logger}: {message}{rest}"


def configure(style: LogFormat, level: str) -> None:
    """All logs of this process go to standard output, in one form."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    for logger in (root, *root.manager.loggerDict.values()):  # BentoML gave handlers to several
        if isinstance(logger, logging.Logger):
            logger.handlers, logger.propagate = [], True
    logging.getLogger("uvicorn.access").propagate = False  # it names whatever path was asked for
    root.addHandler(handler)
    root.setLevel(level)


def place(error: BaseException) -> str:
    """Module and line that raised ``error``, without its message."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    return f"{frame.tb_frame.f_globals.get('__name__')}:{frame.tb_lineno}" if frame else "unknown"
