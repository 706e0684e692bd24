"""Answer buffer: answers as they are written, token by token, without waiting for the device."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latent_core.models.token_confidence import TokenConfidence


@dataclass(frozen=True)
class Answers:
    """Decoded answers of a batch of rows.

    Attributes:
        token_ids: Answer tokens, int64 [rows, longest answer], the token that ends an answer included; filled up with
            the end-of-text token.
        lengths: Tokens of each answer, the one that ends it included, int64 [rows].
        finite: Whether every token was chosen by numbers: no hidden state behind one was infinite or none, bool [rows].
        logits: Next-token logits from which each token was chosen, [rows, longest answer, vocabulary], or None.
        logprob: Log-probability of each answer, the sum over its tokens, the one that ends it included: natural
            logarithms under the model's own distribution at temperature 1, float32 [rows], NaN where there are none;
            None where it is not kept.
        entropy: Mean over the same tokens of the entropy of the distribution that each was chosen from, in nats,
            float32 [rows]; None where it is not kept.
    """

    token_ids: Tensor
    lengths: Tensor
    finite: Tensor
    logits: Tensor | None = None
    logprob: Tensor | None = None
    entropy: Tensor | None = None


class AnswerBuffer:
    """Takes down what rows write, while rows that have finished are dropped from the batch."""

    def __init__(
        self, rows: int, most: int, filler: int, device: torch.device, *, keep_confidence: bool = False
    ) -> None:
        """Begin with empty answers.

        Args:
            rows: Rows of the first batch.
            most: Longest answer in tokens.
            filler: Id behind the end of an answer.
            device: Where the rows are.
            keep_confidence: Whether to keep how sure the model was of each answer.
        """
        self._rows = rows
        # One row more takes what does not count: choosing rows by a mask would wait for the device to count them.
        self._token_ids = torch.full((rows + 1, most), filler, device=device)
        self._lengths = torch.zeros(rows + 1, dtype=torch.int64, device=device)
        self._finite = torch.ones(rows + 1, dtype=torch.bool, device=device)
        self._logits: list[Tensor] = []
        self._logprob = torch.zeros(rows + 1, device=device)
        self._entropy = torch.zeros(rows + 1, device=device)
        self._keeps_confidence = keep_confidence

    def write(
        self,
        position: int,
        origin: Tensor,
        counts: Tensor,
        tokens: Tensor,
        finite: Tensor,
        logits: Tensor | None = None,
        confidence: TokenConfidence | None = None,
    ) -> None:
        """Write the next token of every row that counts.

        Args:
            position: Which token of an answer it is.
            origin: Row of the first batch that each row is, int64 [rows]; those that count differ.
            counts: Which rows count, bool [rows].
            tokens: Ids, int64 [rows].
            finite: Whether the hidden states that they follow from are finite, bool [rows].
            logits: What they were chosen from, [rows, vocabulary], if that is to be kept.
            confidence: How sure the model was of them, if that is to be kept; of all tokens then.
        """
        place = torch.where(counts, origin, self._rows)
        self._token_ids[place, position] = tokens
        self._lengths.index_add_(0, place, torch.ones_like(place))
        self._finite[place] = self._finite[place] & finite
        if confidence is not None:
            self._logprob.index_add_(0, place, confidence.logprob)
            self._entropy.index_add_(0, place, confidence.entropy)
        if logits is not None:
            kept = logits.new_full((self._rows + 1, logits.shape[-1]), float("nan"))
            kept[place] = logits
            self._logits.append(kept[: self._rows])

    def read(self) -> Answers:
        """Return the answers, cut to the longest one."""
        lengths = self._lengths[: self._rows]
        longest = int(lengths.max())
        logits = torch.stack(self._logits[:longest], dim=1) if self._logits else None
        answers = Answers(self._token_ids[: self._rows, :longest], lengths, self._finite[: self._rows], logits)
        if not self._keeps_confidence:
            return answers
        # Where thinking has taken all tokens nothing was written that anybody could be sure of.
        logprob = self._logprob[: self._rows].masked_fill(lengths == 0, float("nan"))
        return replace(answers, logprob=logprob, entropy=self._entropy[: self._rows] / lengths)
