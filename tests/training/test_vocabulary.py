import random

from training.vocabulary import SPECIAL_TOKENS, train_tokenizer

TEXTS = [
    f"{subject} {verdict}{mark}"
    for subject in ("영화", "연기", "이야기", "음악", "결말", "감독")
    for verdict in ("재미있어요", "지루해요", "최고예요", "별로예요", "아쉬워요")
    for mark in ("", "!", "ㅋㅋ", "ㅠㅠ")
]


def test_the_same_texts_in_any_order_give_the_same_tokenizer() -> None:
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    assert train_tokenizer(TEXTS, 300).to_str() == train_tokenizer(shuffled, 300).to_str()


def test_special_tokens_come_first_and_frame_a_text() -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    assert [tokenizer.id_to_token(number) for number in range(5)] == SPECIAL_TOKENS
    assert tokenizer.encode("영화 최고예요").tokens[0] == "[CLS]"
    assert tokenizer.encode("영화 최고예요").tokens[-1] == "[SEP]"


def test_pieces_are_not_special_and_unknown_letters_are_unknown() -> None:
    tokenizer = train_tokenizer(TEXTS, 300)
    assert "[UNK]" in tokenizer.encode("쀍").tokens
    assert tokenizer.encode("##요").tokens[1:3] == ["[UNK]", "[UNK]"]  # the text "##요" is not the piece ##요


def test_the_size_is_kept_and_case_and_accents_stay() -> None:
    tokenizer = train_tokenizer([*TEXTS, "Good GOOD", "é"], 200)
    assert tokenizer.get_vocab_size() <= 200
    tokens = tokenizer.encode("Good").tokens
    assert "good" not in "".join(tokens)
