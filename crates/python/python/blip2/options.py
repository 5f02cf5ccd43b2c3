"""How text is written, by the names of `transformers`."""

from typing import Literal, TypedDict


class GenerationOptions(TypedDict, total=False):
    """Keyword arguments of `Model.caption`, `Model.ask` and `Chat.ask`; what is left out is as the model has it.

    max_new_tokens: most new tokens.
    min_new_tokens: no end before this many new tokens.
    num_beams: beams of the search; 1 takes the likeliest token each time.
    early_stopping: when beam search is over: False, True or "never", as in `transformers`.
    length_penalty: above 0 favours long beams, below 0 short ones.
    repetition_penalty: divides the score of tokens that were written before.
    no_repeat_ngram_size: no run of this many tokens twice; 0 allows it.
    do_sample: draw tokens by their probability; on where top_p, top_k or temperature is given.
    top_p: draw from the likeliest tokens that together have this probability.
    top_k: draw from this many likeliest tokens; 0 for all.
    temperature: divides the logits before a draw.
    seed: decides what is drawn: the same seed gives the same text.
    """

    max_new_tokens: int
    min_new_tokens: int
    num_beams: int
    early_stopping: bool | Literal["never"]
    length_penalty: float
    repetition_penalty: float
    no_repeat_ngram_size: int
    do_sample: bool
    top_p: float
    top_k: int
    temperature: float
    seed: int
