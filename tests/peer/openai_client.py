"""What OpenAI's own Python client makes of `blip2 serve`: every call that users make, checked.

openai_client.py ADDRESS PICTURE KEY [EMBEDDING_ADDRESS]
"""

import base64
import sys

import openai


def check(condition, what):
    """Ends with a word where something is not as it should be."""
    if not condition:
        sys.exit(f"FAIL {what}")
    print(f"ok {what}")


address, file, key = sys.argv[1:4]
with open(file, "rb") as picture:
    url = "data:image/png;base64," + base64.b64encode(picture.read()).decode()
client = openai.OpenAI(base_url=f"http://{address}/v1", api_key=key, max_retries=0)
model = client.models.list().data[0].id
check(client.models.retrieve(model).id == model, "models.list, models.retrieve")


def ask(text="what is it?", **options):
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], **{"max_tokens": 12, **options}
    )


answer = ask()
text = answer.choices[0].message.content
check(isinstance(text, str) and text and answer.choices[0].message.role == "assistant", "chat.completions.create")
check(answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens, "usage")
check(answer.choices[0].finish_reason in ("stop", "length"), "finish_reason")

pieces = list(ask(stream=True, stream_options={"include_usage": True}))
said = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
check(said == text and len(pieces) > 5, "stream")
check(pieces[-1].usage.completion_tokens == answer.usage.completion_tokens, "stream_options")

drawn = ask(n=3, temperature=1.5, top_p=0.95, seed=4)
again = ask(n=3, temperature=1.5, top_p=0.95, seed=4)
texts = [choice.message.content for choice in drawn.choices]
check(len(set(texts)) > 1 and texts == [choice.message.content for choice in again.choices], "n, temperature, top_p, seed")

scored = ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content
check(scored[0].logprob <= 0 and scored[0].top_logprobs[0].token == scored[0].token, "logprobs")
stop = text[len(text) // 2 :][:2]
check(ask(stop=[stop]).choices[0].message.content == text[: text.find(stop)].rstrip(), "stop")

followed = client.chat.completions.create(
    model=model,
    max_completion_tokens=8,
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url, "detail": "low"}}, {"type": "text", "text": "what is it?"}]},
        {"role": "assistant", "content": text},
        {"role": "user", "content": "and where?"},
    ],
)
check(isinstance(followed.choices[0].message.content, str), "several turns")


def refused(kind, call, what):
    try:
        call()
    except kind as error:
        check(len(error.message) > 10, f"{what}: {error.message}")
    else:
        sys.exit(f"FAIL {what} was taken")


refused(openai.NotFoundError, lambda: client.models.retrieve("other"), "another model")
refused(openai.BadRequestError, lambda: ask(max_tokens=10**6), "too many tokens")
refused(openai.BadRequestError, lambda: ask(tools=[{"type": "function", "function": {"name": "f"}}]), "tools")
stranger = openai.OpenAI(base_url=f"http://{address}/v1", api_key="wrong", max_retries=0)
refused(openai.AuthenticationError, stranger.models.list, "a wrong key")

if len(sys.argv) > 4:
    client = openai.OpenAI(base_url=f"http://{sys.argv[4]}/v1", api_key=key, max_retries=0)
    model = client.models.list().data[0].id
    # Without a word on the encoding the client asks for Base64.
    vectors = client.embeddings.create(model=model, input=["a cat", url])
    plain = client.embeddings.create(model=model, input="a cat", encoding_format="float")
    near = max(abs(a - b) for a, b in zip(vectors.data[0].embedding, plain.data[0].embedding))
    check(near < 1e-6 and len(vectors.data) == 2, "embeddings.create")
    check(abs(sum(value**2 for value in vectors.data[1].embedding) - 1) < 1e-4, "embeddings of pictures")
print("all is well")
