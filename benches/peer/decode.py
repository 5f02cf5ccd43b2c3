"""llama.cpp behind a soft prompt: given as embeddings, then a word after the other, the most likely one."""

import ctypes
import os
from pathlib import Path

import llama_cpp as llama
import numpy

FILE = "assets/qwen2.5-coder-0.5b/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
DEVIATION = 0.02


@llama.llama_log_callback
def silent(_level, _text, _data):
    pass


def build(soft_tokens, tokens, precision):
    """`precision` is ours: this file keeps its own."""
    llama.llama_log_set(silent, ctypes.c_void_p())
    llama.llama_backend_init()
    file = Path(os.environ["BLIP2_HOME"]) / FILE
    model = llama.llama_model_load_from_file(str(file).encode(), llama.llama_model_default_params())
    if not model:
        raise RuntimeError(f"{file} does not load")
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 256
    settings.n_threads = settings.n_threads_batch = int(os.environ["OMP_NUM_THREADS"])
    context = llama.llama_init_from_model(model, settings)
    if not context:
        raise RuntimeError("llama.cpp makes no context")
    width = llama.llama_model_n_embd(model)
    words = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    soft_prompt = numpy.random.default_rng(1).normal(0.0, DEVIATION, (soft_tokens, width)).astype(numpy.float32)

    def decode(batch):
        status = llama.llama_decode(context, batch)
        if status != 0:
            raise RuntimeError(f"llama_decode fails with {status}")

    def read_soft_prompt():
        batch = llama.llama_batch_init(soft_tokens, width, 1)
        batch.n_tokens = soft_tokens
        ctypes.memmove(batch.embd, soft_prompt.ctypes.data, soft_prompt.nbytes)
        for place in range(soft_tokens):
            batch.pos[place] = place
            batch.n_seq_id[place] = 1
            batch.seq_id[place][0] = 0
            batch.logits[place] = place == soft_tokens - 1
        decode(batch)
        llama.llama_batch_free(batch)

    def most_likely():
        logits = numpy.ctypeslib.as_array(llama.llama_get_logits_ith(context, -1), (words,))
        return int(logits.argmax())

    def run():
        llama.llama_memory_clear(llama.llama_get_memory(context), True)
        read_soft_prompt()
        written = [most_likely()]
        while len(written) < tokens:
            word = (llama.llama_token * 1)(written[-1])
            # Behind what was read: the places are counted by the context itself.
            decode(llama.llama_batch_get_one(word, 1))
            written.append(most_likely())

    return run
