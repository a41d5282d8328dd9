"""A marker in every text that is sent, and the search for it where no text may be."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

WORD = "카나리아"
_OVERLAP = 256
_AROUND = 60


class Canary:
    """The marker of a run: a Korean word, digits that no other run has, and the number of the request."""

    def __init__(self, seed: int) -> None:
        self.digits = "c" + hashlib.sha256(f"canary {seed}".encode()).hexdigest()[:15]
        escaped = WORD.encode("ascii", "backslashreplace")
        forms = {self.digits.encode(), WORD.encode(), escaped, quote(WORD).encode(), repr(WORD.encode())[2:-1].encode()}
        self._forms = re.compile(b"|".join(re.escape(form) for form in sorted(forms)), re.IGNORECASE)

    def of(self, index: int) -> str:
        """What the texts of request ``index`` hold."""
        return f"{WORD}{self.digits}n{index}n"

    def found(self, pieces: Iterable[bytes]) -> Iterator[str]:
        """Every place with the marker, with what is around it; ``pieces`` are those of one stream."""
        before = b""
        for piece in pieces:
            window = before + piece
            end = len(window)
            for hit in self._forms.finditer(window):
                if hit.end() > len(before):
                    around = window[max(0, hit.start() - _AROUND) : min(end, hit.end() + _AROUND)]
                    yield around.decode("utf-8", "backslashreplace")
            before = window[-_OVERLAP:]
