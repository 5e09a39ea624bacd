"""A storm: tasks sent while somebody kills Millrace again and again. Each has one right result, and its callback is sent once.

storm.py COUNT: sends, waits for all results, and counts. Whoever runs it does the killing."""
import json
import os
import pathlib
import random
import sys
import time

import redis

import harness
from site_app import app, convert_archive, path

COUNT = int(sys.argv.pop(1))
INPUTS = pathlib.Path(os.environ["INPUTS"])
broker = redis.Redis.from_url(os.environ["BROKER"])


def check_storm():
    dice, sent = random.Random(6), []
    for n in range(COUNT):
        callback = path.s(n).set(queue="counted")
        kwargs = {"task_id": n, "input_path": str(INPUTS / "notes.txt"), "output_format": "noop", "output_path": str(INPUTS / "out" / f"storm-{n}")}
        sent.append(convert_archive.apply_async(kwargs=kwargs, link=callback, priority=dice.choice([0, 0, 3, 6, 9])))
        time.sleep(dice.random() * 0.04)
    print("sent", flush=True)
    for n, result in enumerate(sent):
        assert result.get(timeout=180)["task_id"] == n
    harness.until(lambda: broker.hlen("unacked") == 0, "all is settled")
    # A callback has its task's priority, and so its list.
    raw = [message for key in broker.keys("counted*") for message in broker.lrange(key, 0, -1)]
    parents = [json.loads(message)["headers"]["parent_id"] for message in raw]
    assert len(parents) == len(set(parents)) == COUNT, f"{len(parents)} callbacks of {len(set(parents))} tasks"


harness.run(globals())
