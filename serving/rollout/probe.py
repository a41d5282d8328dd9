"""A child process that tries a bundle, so that one that is broken cannot take a worker down with it.

``python -m serving.rollout.probe FOLDER`` verifies the bundle and has it judge its golden samples with the engine that
a worker would take; what that is, is remembered for the worker. Then it goes through the behaviour suite, and writes
the report, without examples, as JSON. It ends with 0, or with 1 and the reason.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from data.behaviour import BehaviourReport, judge
from data.errors import DataError
from data.text import clean
from serving.engine.remembered import default_folder
from serving.errors import ModelUnavailable, ServingError
from serving.model import Model
from serving.settings import Settings

LIMIT_S = 180.0
TURN_LIMIT_S = 300.0
POLL_S = 0.05
NICE = 15
"""The workers' requests go first, from the child's first instruction on: half of its time are its imports."""
ROOT = Path(__file__).parent.parent.parent


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """One worker of this machine at a time: models are loaded one after the other, so that requests have room.

    A turn that does not come in time is taken nevertheless: it is a courtesy, and no model waits for it for ever.
    """
    name = Path(tempfile.gettempdir()) / f"nsmc-sentiment-{os.getuid()}.lock"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        for _ in range(round(TURN_LIMIT_S / POLL_S)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


async def probe(folder: Path) -> BehaviourReport:
    """Try the bundle in ``folder``. Raises ModelUnavailable with the reason why it cannot be served."""
    before = os.environ.get("PYTHONPATH")
    search = os.pathsep.join([str(ROOT), *([before] if before else [])])
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "serving.rollout.probe",
        str(folder),
        env={**os.environ, "PYTHONPATH": search},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    with suppress(ProcessLookupError):  # over already, which is told below
        os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
    try:
        async with asyncio.timeout(LIMIT_S):
            report, said = await child.communicate()
    except TimeoutError as error:
        raise ModelUnavailable(f"trying it took longer than {LIMIT_S:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode and child.returncode < 0:
        raise ModelUnavailable(f"the process that tried it was ended by {signal.Signals(-child.returncode).name}")
    if child.returncode:
        raise ModelUnavailable((said.decode(errors="replace").strip().splitlines() or ["no reason was given"])[-1])
    return BehaviourReport.from_dict(json.loads(report))


def main() -> int:
    """See the module."""
    settings = Settings.from_environment()
    try:
        model = Model.load(
            Path(sys.argv[1]),
            "probe",
            wanted=settings.wanted,
            remembered=default_folder() if settings.remember_engine else None,
        )
    except (DataError, ServingError) as error:
        print(error, file=sys.stderr)
        return 1
    report = judge(lambda texts: model.positive_of([clean(text) for text in texts]))
    print(json.dumps(report.brief().as_dict()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
