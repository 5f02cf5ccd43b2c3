"""Reads the event files of a run with TensorBoard itself and compares every figure with `metrics.jsonl`.

    pip install tensorboard==2.21.0
    python tests/peer/tensorboard_events.py runs/demo
"""

import json
import struct
import sys
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def numbers(line):
    """Tag and value of each number of a line; those of evaluators one level down."""
    for name, value in line.items():
        if isinstance(value, dict):
            yield from ((f"{name}/{inner}", number) for inner, number in value.items() if number is not None)
        elif isinstance(value, (int, float)) and name != "step":
            yield name, value


def single(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def main(run):
    logged = defaultdict(lambda: defaultdict(dict))
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if "phase" in line:
            for tag, value in numbers(line):
                logged[line["phase"]][tag][line["step"]] = value
    compared = 0
    for phase, tags in logged.items():
        events = EventAccumulator(str(run / "tensorboard" / phase), size_guidance={"scalars": 0}).Reload()
        assert set(events.Tags()["scalars"]) == set(tags), (phase, events.Tags()["scalars"], sorted(tags))
        for tag, values in tags.items():
            read = {event.step: event.value for event in events.Scalars(tag)}
            assert read == {step: single(value) for step, value in values.items()}, (phase, tag, read, values)
            compared += len(read)
    print(f"{compared} figures of {len(logged)} phases are the same in TensorBoard and in metrics.jsonl")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
