"""From cleaned text to token ids: one implementation for training and serving.

A tokenizer is a ``tokenizer.json`` of the ``tokenizers`` library, whose Rust code runs outside the interpreter lock.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from data.errors import BundleInvalid, SettingError, TextTooLong
from data.text import CLEANING_VERSION

TOKENIZER_FILE = "tokenizer.json"
PAD_TOKEN, FIRST_TOKEN, LAST_TOKEN, MASK_TOKEN = "[PAD]", "[CLS]", "[SEP]", "[MASK]"

IdArray = npt.NDArray[np.int64]


class Encoder:
    """Turns cleaned texts into token ids, with [CLS] and [SEP], up to ``max_length_tokens``."""

    def __init__(self, tokenizer_json: str, max_length_tokens: int) -> None:
        """``tokenizer_json`` is the content of a tokenizer file. Raises BundleInvalid where it is not one."""
        if max_length_tokens < 3:
            raise SettingError(f"max_length_tokens is {max_length_tokens}; it must be at least 3")
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer_json)
        except Exception as error:  # the library raises bare Exception for every malformed file
            raise BundleInvalid(f"{TOKENIZER_FILE} is not a tokenizer: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.pad_id = self.id_of(PAD_TOKEN)
        self.vocab_size: int = self._tokenizer.get_vocab_size()
        self.max_length_tokens = max_length_tokens
        self.fingerprint = preprocessing_fingerprint(tokenizer_json, max_length_tokens)

    @classmethod
    def from_file(cls, path: Path, max_length_tokens: int) -> "Encoder":
        """Read ``path``, or the tokenizer file in it where it is a folder."""
        file = path / TOKENIZER_FILE if path.is_dir() else path
        try:
            return cls(file.read_text(encoding="utf-8"), max_length_tokens)
        except FileNotFoundError as error:
            raise BundleInvalid(f"{TOKENIZER_FILE} is missing") from error

    def id_of(self, token: str) -> int:
        """The id of a special token. Raises BundleInvalid where the tokenizer has none of this name."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise BundleInvalid(f"{TOKENIZER_FILE} has no {token} token")
        return int(found)

    def encode(self, texts: Sequence[str], *, truncate: bool = False) -> list[list[int]]:
        """Token ids of each cleaned text, unpadded.

        A text over the limit raises TextTooLong with its index, or, with ``truncate``, keeps its first tokens and
        its [SEP].
        """
        rows = []
        for index, encoding in enumerate(self._tokenizer.encode_batch_fast(list(texts))):
            ids: list[int] = encoding.ids
            if len(ids) > self.max_length_tokens:
                if not truncate:
                    raise TextTooLong(len(ids), self.max_length_tokens, index)
                ids = [*ids[: self.max_length_tokens - 1], ids[-1]]
            rows.append(ids)
        return rows


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[IdArray, IdArray]:
    """``rows`` as input ids and attention mask, both (B, T), T being the longest row."""
    if len(set(map(len, rows))) == 1:
        ids = np.array(rows, dtype=np.int64)
        return ids, np.ones(ids.shape, dtype=np.int64)
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    mask = (np.arange(lengths.max())[None, :] < lengths[:, None]).astype(np.int64)  # (B, T)
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask.astype(bool)] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    return ids, mask


def preprocessing_fingerprint(tokenizer_json: str, max_length_tokens: int) -> str:
    """SHA-256 over all that decides which ids a raw text becomes."""
    parts = (CLEANING_VERSION, str(max_length_tokens), tokenizer_json)
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()
