"""Flower, started against the broker, shows Millrace online with its tasks, and its buttons work."""
import json
import os
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import harness
from site_app import convert_archive, convert_image, convert_video

NODE = "millrace@test"


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


port = free_port()
page = subprocess.Popen([os.environ["CELERY"], "-A", "site_app", "flower", f"--port={port}", "--address=127.0.0.1"], env={**os.environ, "FLOWER_UNAUTHENTICATED_API": "true"}, stderr=subprocess.DEVNULL)


def call(path, **form):
    body = urllib.parse.urlencode(form).encode() if form or path.count("/worker/") or "revoke" in path else None
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data=body, timeout=10) as answer:
            return json.loads(answer.read())
    except (urllib.error.URLError, ConnectionError):
        return None


def check_the_worker_is_online():
    workers = harness.until(lambda: call("/api/workers?refresh=1"), "there are workers")
    assert NODE in workers and "converter.tasks.convert_video" in workers[NODE]["registered"], workers
    harness.until(lambda: (call("/api/workers?status=1") or {}).get(NODE), "it is online")


def check_tasks_and_their_states():
    done, failed = convert_image.delay(1, "photo.jpg", "png"), convert_image.delay(1, "missing.jpg", "png")
    done.get(timeout=30)
    for result, state in ((done, "SUCCESS"), (failed, "FAILURE")):
        task = harness.until(lambda: (call("/api/tasks") or {}).get(result.id), "the task is known")
        harness.until(lambda: call("/api/tasks")[result.id]["state"] == state, state)
        assert call("/api/tasks")[result.id]["worker"] == NODE


def check_buttons():
    running = convert_video.apply_async(args=[1, "endless.mp4", "webm"], kwargs={"options": {"video": {"codec": "av1", "preset": "veryslow"}}})
    harness.until(lambda: running.state not in ("PENDING",), "it runs")
    assert call(f"/api/task/revoke/{running.id}", terminate="true", signal="SIGKILL")
    harness.until(lambda: running.state == "REVOKED", "it is revoked")
    assert call(f"/api/worker/pool/grow/{NODE}", n=1)
    assert call(f"/api/worker/pool/shrink/{NODE}", n=1)
    assert call(f"/api/worker/pool/autoscale/{NODE}", min=1, max=3)
    assert call("/api/task/rate-limit/converter.tasks.convert_image", workername=NODE, ratelimit="100/m")
    assert call("/api/task/timeout/converter.tasks.convert_image", workername=NODE, soft=60, hard=120)
    assert call(f"/api/worker/queue/add-consumer/{NODE}", queue="extra")
    assert convert_archive.apply_async(args=[1, "notes.txt", "noop"], queue="extra").get(timeout=30)["status"] == "success"
    assert call(f"/api/worker/queue/cancel-consumer/{NODE}", queue="extra")


try:
    harness.run(globals())
finally:
    page.terminate()
    page.wait()
