"""A WordPiece vocabulary from raw text, cased, laid out like KoELECTRA's, and the same every time."""

from collections import Counter
from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer, Normalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import WordPieceTrainer

from data.encode import FIRST_TOKEN, LAST_TOKEN, MASK_TOKEN, PAD_TOKEN

UNKNOWN = "[UNK]"
SPECIAL_TOKENS = [PAD_TOKEN, UNKNOWN, FIRST_TOKEN, LAST_TOKEN, MASK_TOKEN]
CONTINUATION = "##"
ALPHABET_SHARE = 0.4
"""At most this share of the vocabulary is single characters; each takes two entries, one to begin a word."""


def train_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn at most ``size`` pieces from cleaned ``texts``; the same texts in any order give the same tokenizer.

    The library's trainer numbers pieces in the order of a randomly seeded hash map, and breaks ties by number. So
    every single-character piece is numbered for it beforehand, in code point order, after which no tie is left to
    chance. Accents stay: stripping them would take Hangul syllables apart.
    """
    texts = list(texts)
    normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False)
    alphabet = _alphabet(texts, normalizer, limit=int(size * ALPHABET_SHARE / 2))
    learner = Tokenizer(WordPiece(unk_token=UNKNOWN))
    learner.normalizer = normalizer
    learner.pre_tokenizer = BertPreTokenizer()
    numbered = [*SPECIAL_TOKENS, *alphabet, *(CONTINUATION + character for character in alphabet)]
    trainer = WordPieceTrainer(
        vocab_size=size,
        special_tokens=numbered,
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    return _tokenizer(learner.get_vocab(with_added_tokens=True), normalizer)


def _alphabet(texts: Sequence[str], normalizer: Normalizer, limit: int) -> list[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    visible = [character for character in counts if not character.isspace()]
    return sorted(sorted(visible, key=lambda character: (-counts[character], character))[:limit])


def _tokenizer(vocabulary: dict[str, int], normalizer: Normalizer) -> Tokenizer:
    tokenizer = Tokenizer(
        WordPiece(
            vocabulary,
            unk_token=UNKNOWN,
            continuing_subword_prefix=CONTINUATION,
            max_input_chars_per_word=200,
        )
    )
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{FIRST_TOKEN} $A {LAST_TOKEN}",
        special_tokens=[(token, vocabulary[token]) for token in (FIRST_TOKEN, LAST_TOKEN)],
    )
    return tokenizer
