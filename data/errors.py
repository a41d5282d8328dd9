"""The errors of this package, as one tree.

DataError
├── TextError            a review that cannot be judged
│   ├── InvalidText      not valid Unicode (lone surrogates)
│   ├── EmptyText        nothing left after cleaning
│   └── TextTooLong      more tokens than the model can read
├── FormatError          a file that is not in NSMC's format
├── SettingError         a value outside its range
├── SplitError           rows that cannot be split as asked
└── BundleError          a bundle that must not be served
    ├── BundleInvalid    a file is missing, unreadable or not what it should be
    │   └── UnknownFormat   it was written by an older or newer version of this code
    ├── DigestMismatch   a file's bytes are not the ones the manifest names
    └── GoldenMismatch   the model does not reproduce its golden samples

Messages name the field, the value's problem and what is allowed; they never hold a review's text.
"""


class DataError(ValueError):
    """Root of everything that ``data`` raises on purpose."""


class TextError(DataError):
    """A review that cannot be judged; ``index`` is its place among those given, from 0."""

    index: int = 0


class InvalidText(TextError):
    """The text is not valid Unicode."""


class EmptyText(TextError):
    """Nothing is left of the text after cleaning."""

    def __init__(self) -> None:
        super().__init__("text is empty after cleaning; it must hold at least one visible character")


class TextTooLong(TextError):
    """The text has more tokens than the model can read."""

    def __init__(self, length_tokens: int, max_length_tokens: int, index: int = 0) -> None:
        super().__init__(f"text is {length_tokens} tokens long; at most {max_length_tokens} are allowed")
        self.index = index
        self.length_tokens = length_tokens
        self.max_length_tokens = max_length_tokens


class FormatError(DataError):
    """A file that is not in NSMC's format."""


class SettingError(DataError):
    """A setting outside its range."""


class SplitError(DataError):
    """Rows that cannot be split as asked."""


class BundleError(DataError):
    """A bundle that must not be served."""


class BundleInvalid(BundleError):
    """A bundle file is missing, unreadable or not what it should be."""


class UnknownFormat(BundleInvalid):
    """The bundle's format is that of an older or newer version of this code, which cannot run it."""


class DigestMismatch(BundleError):
    """A bundle file's bytes are not the ones that its manifest names."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(f"bundle file {name!r} has SHA-256 {found}; the manifest says {expected}")
        self.name = name


class GoldenMismatch(BundleError):
    """The model does not reproduce the golden samples of its bundle."""
