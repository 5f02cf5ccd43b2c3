"""Calls leave Python to others, and end at Ctrl-C."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import pictures


def test_other_threads_run_meanwhile(endless):
    picture = pictures(Path(endless.name))[0]
    counted, over = 0, threading.Event()

    def count():
        nonlocal counted
        while not over.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    endless.caption(picture, num_beams=1, min_new_tokens=400, max_new_tokens=400)
    during = counted - before
    over.set()
    thread.join()
    assert during > 20


def test_threads_share_a_model(writer):
    files = pictures(Path(writer.name)) * 2
    expected = [writer.caption(file) for file in files]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(writer.caption, files)) == expected


LONG = {
    "a long text": "model.caption(picture, num_beams=1, min_new_tokens=60000, max_new_tokens=60000)",
    "beams": "model.caption(picture, num_beams=5, min_new_tokens=60000, max_new_tokens=60000)",
    "many pictures": "model.caption([picture] * 100000, max_new_tokens=2)",
    "many arrays": "model.embed([picture] * 100000, only='projected')",
    "a stream": "list(model.caption(picture, stream=True, num_beams=1, min_new_tokens=60000, max_new_tokens=60000))",
    "a conversation": "model.chat(picture).ask('what?', min_new_tokens=60000, max_new_tokens=60000)",
}

SCRIPT = """
import sys, time
from pathlib import Path
import blip2

model = blip2.load(sys.argv[1], device="flex")
picture = sys.argv[2]
model.caption(picture)

# Empty for a thread that ends between being listed and being read.
def thread_name(comm):
    try:
        return comm.read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""

# Threads that a call has started, and those that these have: the pool stays.
def at_work():
    return sum(thread_name(comm) == "blip2" for comm in Path("/proc/self/task").glob("*/comm"))

time.sleep(0.2)
idle = at_work()
print("begins", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
end = time.monotonic() + 60
while at_work() > idle and time.monotonic() < end:
    time.sleep(0.02)
assert at_work() <= idle, "the work goes on"
# And all is as before.
assert model.caption(picture) == model.caption(picture)
print("ends", flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are looked for in /proc")
@pytest.mark.parametrize("call", LONG.values(), ids=LONG.keys())
def test_ctrl_c_ends_a_call(endless, call):
    picture = pictures(Path(endless.name))[0]
    line = [sys.executable, "-c", SCRIPT.format(call=call), endless.name, picture]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "begins\n"
            time.sleep(0.3)
            os.kill(process.pid, signal.SIGINT)
            begin = time.monotonic()
            assert process.stdout.readline() == "interrupted\n"
            assert time.monotonic() - begin < 5
            assert process.stdout.readline() == "ends\n"
            assert process.wait() == 0
        finally:
            process.kill()
