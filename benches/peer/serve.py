"""Clients that ask a minimal FastAPI server at the same time, by the folder of the size of blip2-opt-2.7b."""

import base64
import io
import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import torch
import uvicorn
from fastapi import FastAPI
from PIL import Image
from transformers import Blip2ForConditionalGeneration, Blip2Processor

from dtypes import dtype
from generate import FOLDER, HOME


def application(precision):
    """What people put around `generate`: one request at a time has the model."""
    model = Blip2ForConditionalGeneration.from_pretrained(FOLDER, dtype=dtype(precision)).eval()
    processor = Blip2Processor.from_pretrained(FOLDER)
    turn = threading.Lock()
    server = FastAPI()

    @server.post("/v1/chat/completions")
    def answer(request: dict):
        picture, question = request["messages"][0]["content"]
        encoded = picture["image_url"]["url"].partition(",")[2]
        picture = Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")
        inputs = processor(picture, text=f"Question: {question['text']} Answer:", return_tensors="pt").to(dtype(precision))
        with turn, torch.inference_mode():
            written = model.generate(**inputs, max_new_tokens=request["max_tokens"], do_sample=False)
        new = written[0, inputs["input_ids"].shape[1] :]
        text = processor.decode(new, skip_special_tokens=True)
        return {"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": len(new)}}

    return server


def listening(server):
    """The port of `server`, which serves on a thread of its own."""
    served = uvicorn.Server(uvicorn.Config(server, port=0, log_level="warning"))
    threading.Thread(target=served.run, daemon=True).start()
    while not served.started:
        time.sleep(0.01)
    return served.servers[0].sockets[0].getsockname()[1]


def build(clients, answers, tokens, precision):
    address = f"http://127.0.0.1:{listening(application(precision))}/v1/chat/completions"
    picture = base64.b64encode((HOME / "picture.jpg").read_bytes()).decode()
    content = [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}"}},
        {"type": "text", "text": "what is in the picture?"},
    ]
    body = json.dumps({"model": "bench", "max_tokens": tokens, "messages": [{"role": "user", "content": content}]}).encode()

    def client(_):
        for _ in range(answers // clients):
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request) as answer:
                written = json.load(answer)["usage"]["completion_tokens"]
            if written != tokens:
                raise RuntimeError(f"{written} tokens were written, not {tokens}")

    def run():
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(client, range(clients)))

    return run
