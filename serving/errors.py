"""The errors of this package, as one tree. ``serving.problems`` gives each its HTTP status.

ServingError
├── SettingInvalid       an environment variable outside its range
├── ModelUnavailable     no model could be loaded
├── EngineFailed         a runtime or its device cannot do what it is given
├── RequestInvalid       a request that breaks the contract
├── Overloaded           the queue is full, or the request waited too long in it
├── DeadlineExceeded     the answer would come too late
├── CallerLeft           nobody waits for the answer any more
├── RolloutRefused       a command that the state of the rollout does not allow
├── RolloutUnreachable   where the state of the rollout is kept cannot be reached
├── JournalFailed        a correction that cannot be kept, or a folder that takes none
├── KeyInvalid           a key that cannot be made, changed or read
├── KeysUnreachable      where keys are kept cannot be reached
├── NotAllowed           a request without a key that is live
├── ScopeMissing         a request with a key that is for something else
└── QuotaExceeded        a caller has had as much as it may have for now
"""


class ServingError(RuntimeError):
    """Root of everything that ``serving`` raises on purpose."""


class SettingInvalid(ServingError, ValueError):
    """An environment variable outside its range."""


class ModelUnavailable(ServingError):
    """No model could be loaded, so there is nothing to answer with."""


class EngineFailed(ServingError):
    """A runtime or its device cannot do what it is given."""


class RequestInvalid(ServingError):
    """A request that breaks the contract; ``field`` names where."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Overloaded(ServingError):
    """The queue is full, or the request waited too long in it."""


class DeadlineExceeded(ServingError):
    """The answer would come too late."""


class CallerLeft(ServingError):
    """Nobody waits for the answer any more."""


class RolloutRefused(ServingError):
    """A command that the state of the rollout, a gate or a worker does not allow; the message says which and why."""


class RolloutUnreachable(ServingError):
    """Where the state of the rollout is kept cannot be reached, or holds something else."""


class JournalFailed(ServingError):
    """A correction that cannot be kept, or a folder that takes none."""


class KeyInvalid(ServingError):
    """A key that cannot be made, changed or read."""


class KeysUnreachable(ServingError):
    """Where keys are kept cannot be reached."""


class NotAllowed(ServingError):
    """A request without a key that is live."""


class ScopeMissing(ServingError):
    """A request with a key that is for something else."""


class QuotaExceeded(ServingError):
    """A caller has had as much as it may have for now; ``retry_after_s`` says when more, ``left`` how much now."""

    def __init__(self, message: str, headers: dict[str, str], retry_after_s: int, left: int) -> None:
        super().__init__(message)
        self.headers = headers
        self.retry_after_s = retry_after_s
        self.left = left
