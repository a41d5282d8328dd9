"""The errors of this package, as one tree.

TrainingError
├── ConfigError          a setting outside its range, or two that contradict each other
├── BackboneUnavailable  the named weights cannot be had or are no sequence classifier's
├── LossDiverged         the loss is no number any more, or far above where it began
├── CheckpointFailed     the disk does not take the state of a training
├── SaveFailed           the disk does not take the trained model
└── ExportMismatch       the exported file does not answer like the model it was made from
"""


class TrainingError(RuntimeError):
    """Root of everything that ``training`` raises on purpose."""


class ConfigError(TrainingError, ValueError):
    """A setting outside its range, or two that contradict each other."""


class BackboneUnavailable(TrainingError):
    """The named weights cannot be had, or are not those of a sequence classifier."""


class LossDiverged(TrainingError):
    """The loss is no number any more, or far above where it began."""


class CheckpointFailed(TrainingError):
    """The disk does not take the state of a training."""


class SaveFailed(TrainingError):
    """The disk does not take the trained model."""


class ExportMismatch(TrainingError):
    """The exported file does not answer like the model it was made from."""
