"""How models did on the behaviour suite on this machine: a child process finds it out, and it is remembered."""

import json
import logging
from pathlib import Path

from data.behaviour import BehaviourReport, suite_digest
from data.bundle import Manifest
from data.errors import DataError
from data.files import writing
from serving.engine.remembered import circumstances, default_folder, remembers
from serving.rollout.probe import probe, turn
from serving.settings import Settings

log = logging.getLogger(__name__)


class Conduct:
    """Tries bundles; each once, for as long as neither it, nor the suite, nor the machine's software changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, BehaviourReport] = {}
        self._suite = suite_digest()[:16]  # now, for later there are requests that would wait

    async def of(self, folder: Path) -> BehaviourReport:
        """What the bundle in ``folder`` made of the suite. Raises ModelUnavailable or BundleError where it cannot."""
        manifest = Manifest.read(folder)
        if (known := self._remembered(manifest)) is not None:
            return known
        async with turn():
            if (known := self._remembered(manifest)) is not None:  # another worker's turn was before this one's
                return known
            report = self._known[manifest.digest] = await probe(folder)
        if self._settings.remember_engine:
            self._remember(manifest, report)
        return report

    def _remembered(self, manifest: Manifest) -> BehaviourReport | None:
        if (known := self._known.get(manifest.digest)) is not None:
            return known
        if not self._settings.remember_engine or not remembers(manifest, self._settings.wanted, default_folder()):
            return None
        try:
            return BehaviourReport.from_dict(json.loads(self._file(manifest).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, DataError) as error:
            log.warning("how the model did before cannot be read (%s); it is tried again", type(error).__name__)
            return None

    def _remember(self, manifest: Manifest, report: BehaviourReport) -> None:
        try:
            with writing(self._file(manifest)) as temporary:
                temporary.write_text(json.dumps(report.as_dict()), encoding="utf-8")
        except OSError as error:
            log.warning("how the model did cannot be kept (%s); it will be tried again", error.strerror)

    def _file(self, manifest: Manifest) -> Path:
        of = f"{circumstances(manifest, self._settings.wanted)}-{self._suite}.json"
        return default_folder().parent / "behaviour" / of
