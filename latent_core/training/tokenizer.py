"""The word-level tokenizer of the bundled reasoner: one token per word, mark and number."""

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
UNKNOWN = "<|unk|>"
START_LATENT = "<|start-latent|>"
END_LATENT = "<|end-latent|>"
LATENT = "<|latent|>"


def build_tokenizer(words: Sequence[str], max_length: int) -> PreTrainedTokenizerFast:
    """Build a tokenizer that splits at white space and between words and marks, and ignores case.

    The three latent tokens get the last ids, as in released checkpoints.

    Args:
        words: The lower-case vocabulary without special tokens.
        max_length: Number of positions of the model.
    """
    entries = [END_OF_TEXT, UNKNOWN, *words, START_LATENT, END_LATENT, LATENT]
    backend = Tokenizer(WordLevel({word: index for index, word in enumerate(entries)}, unk_token=UNKNOWN))
    backend.normalizer = Lowercase()
    backend.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        unk_token=UNKNOWN,
        additional_special_tokens=[START_LATENT, END_LATENT, LATENT],
        model_max_length=max_length,
        # Decoded text is compared as it is: no spaces are taken out around punctuation.
        clean_up_tokenization_spaces=False,
    )
