"""Captures what clients send, for the tests of the wire: capture.py REDIS_URL FOLDER, once with each version of Celery."""
import datetime
import decimal
import pathlib
import re
import sys

import celery
import redis
from celery import chain, chord

url, folder = sys.argv[1], pathlib.Path(sys.argv[2])
version = ".".join(celery.__version__.split(".")[:2])
server = redis.Redis.from_url(url)
app = celery.Celery(broker=url, backend=url)
TASK, ARGS = "converter.tasks.convert_video", {"task_id": 7, "input_path": "clips/a.mp4", "output_format": "webm"}


def keep(name, send):
    server.flushdb()
    send()
    lists = [key for key in server.keys() if server.type(key) == b"list"]
    message = re.sub(rb"gen\d+@[^\"]+", b"gen1@client", server.rpop(lists[0]))
    (folder / f"{name}-{version}.json").write_bytes(message)


def signature(task=TASK, **kwargs):
    return app.signature(task, kwargs={**ARGS, **kwargs})


keep("plain", lambda: app.send_task(TASK, kwargs=ARGS))
if version == "5.7":
    keep("gzip", lambda: app.send_task(TASK, kwargs=ARGS, compression="gzip"))
    keep("bzip2", lambda: app.send_task(TASK, kwargs=ARGS, compression="bzip2"))
    keep("msgpack", lambda: app.send_task(TASK, kwargs=ARGS, serializer="msgpack"))
    keep("yaml", lambda: app.send_task(TASK, kwargs=ARGS, serializer="yaml"))
    keep("pickle", lambda: app.send_task(TASK, kwargs=ARGS, serializer="pickle"))
    options = {"countdown": 60, "expires": 600, "time_limit": 50, "soft_time_limit": 40, "priority": 7, "ignore_result": True}
    keep("options", lambda: app.send_task(TASK, kwargs=ARGS, **options))
    keep("chain", lambda: chain(signature(), signature(), app.signature("site.after"))())
    keep("chord", lambda: chord([signature(), signature()], app.signature("site.collect"))())
    args = [datetime.datetime(2026, 1, 2, 3, 4, 5), decimal.Decimal("1.50")]
    keep("types", lambda: app.send_task(TASK, args=args))
    first = celery.Celery(broker=url, backend=url)
    first.conf.task_protocol = 1
    keep("protocol1", lambda: first.send_task(TASK, kwargs=ARGS))
