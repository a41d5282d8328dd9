"""The errors of this package, as one tree.

PipelineError
├── SettingsError        params.yaml or an environment variable is not what it must be
├── SourceError          NSMC's files cannot be had from their source
│   └── WrongFile        what was had is not the published file
├── RegistryError        the MLflow store does not hold what it must
├── PackagingError       the Bento cannot be made
└── TableError           a table of reviews cannot be read, or its verdicts cannot be written
"""


class PipelineError(RuntimeError):
    """Root of everything that ``pipelines`` raises on purpose."""


class SettingsError(PipelineError):
    """params.yaml or an environment variable is not what it must be."""


class SourceError(PipelineError):
    """NSMC's files cannot be had from their source."""


class WrongFile(SourceError):
    """A source holds another file than the published one."""


class RegistryError(PipelineError):
    """The MLflow store does not hold what it must."""


class PackagingError(PipelineError):
    """The Bento cannot be made."""


class TableError(PipelineError):
    """A table of reviews cannot be read, or its verdicts cannot be written."""
