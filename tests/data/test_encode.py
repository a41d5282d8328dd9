import threading
import time

import numpy as np
import pytest

from data.bundle import Bundle
from data.encode import Encoder, pad
from data.errors import BundleInvalid, SettingError, TextTooLong


def test_rows_begin_and_end_with_the_special_tokens(bundle: Bundle) -> None:
    rows = bundle.encoder.encode(["정말 재미있어요", "별로"])
    assert {row[0] for row in rows} == {2}
    assert {row[-1] for row in rows} == {3}


def test_a_text_that_is_too_long_says_which_and_how_long(bundle: Bundle) -> None:
    encoder = Encoder((bundle.folder / "tokenizer.json").read_text(), max_length_tokens=6)
    with pytest.raises(TextTooLong, match="at most 6 are allowed") as caught:
        encoder.encode(["별로", "재미 있다 재미 있다 재미 있다"])
    assert caught.value.index == 1
    assert caught.value.length_tokens > 6


def test_truncation_keeps_the_beginning_and_the_end_token(bundle: Bundle) -> None:
    text = "재미 있다 재미 있다 재미 있다"
    (whole,) = bundle.encoder.encode([text])
    (cut,) = Encoder((bundle.folder / "tokenizer.json").read_text(), 6).encode([text], truncate=True)
    assert cut == [*whole[:5], whole[-1]]


def test_padding() -> None:
    ids, mask = pad([[2, 7, 3], [2, 3]], pad_id=0)
    assert ids.tolist() == [[2, 7, 3], [2, 3, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert ids.dtype == mask.dtype == np.int64


def test_the_fingerprint_names_tokenizer_and_limit(bundle: Bundle) -> None:
    content = (bundle.folder / "tokenizer.json").read_text()
    assert Encoder(content, 512).fingerprint == bundle.encoder.fingerprint
    assert Encoder(content, 511).fingerprint != bundle.encoder.fingerprint
    assert Encoder(content + " ", 512).fingerprint != bundle.encoder.fingerprint


def test_what_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(BundleInvalid, match=r"tokenizer\.json is not a tokenizer"):
        Encoder("{}", 512)
    with pytest.raises(SettingError, match="at least 3"):
        Encoder("{}", 2)


def test_rows_of_one_length_are_not_padded() -> None:
    ids, mask = pad([[1, 2, 3], [4, 5, 6]], pad_id=0)
    assert ids.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert ids.dtype == mask.dtype == np.int64


def test_encoding_leaves_the_interpreter_lock_alone(bundle: Bundle) -> None:
    counted, stop = 0, threading.Event()

    def count() -> None:
        nonlocal counted
        while not stop.is_set():
            counted += 1
            time.sleep(0)

    counting = threading.Thread(target=count)
    counting.start()
    texts = ["정말 재미있어요 최고 " * 20] * 2_000
    before, during = counted, 0
    for _ in range(10):  # on a busy machine the other thread gets less of the processor, lock or no lock
        bundle.encoder.encode(texts, truncate=True)
        during = counted - before
        if during > 1_000:
            break
    stop.set()
    counting.join()
    assert during > 1_000  # with the lock held, another thread gets in a few times at most
