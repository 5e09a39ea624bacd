"""Orders of `celery control` to Millrace as a whole: the pools start anew, and the end."""
import json
import os
import subprocess
import urllib.request

import harness
from site_app import app, convert_archive, convert_video

NODE = "millrace@test"


def control(*words):
    done = subprocess.run([os.environ["CELERY"], "-A", "site_app", "control", "-t", "3", *words], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def check_nodes_by_pattern():
    ping = lambda pattern, matcher: app.control.broadcast("ping", pattern=pattern, matcher=matcher, reply=True, timeout=2)
    for pattern, matcher in (("millrace@*", "glob"), ("mill[a-z]+@(test|other)$", "pcre")):
        assert ping(pattern, matcher) == [{NODE: {"ok": "pong"}}], (pattern, matcher)
    for pattern, matcher in (("other@*", "glob"), ("race", "pcre")):
        assert ping(pattern, matcher) == [], (pattern, matcher)


def check_the_pools_start_anew():
    running = convert_video.apply_async(args=[1, "endless.mp4", "webm"], kwargs={"options": {"video": {"codec": "av1", "preset": "veryslow"}}})
    active = harness.until(lambda: (app.control.inspect([NODE], timeout=2).active() or {}).get(NODE), "it runs")
    job = lambda: json.load(urllib.request.urlopen(f"{os.environ['MILLRACE_URL']}/v1/jobs/{active[0]['job_id']}"))
    assert job()["attempt"] == 1
    assert "reload started" in control("pool_restart", "-d", NODE)
    # What ran is given back and begins again, and no failure is counted.
    again = harness.until(lambda: job() if job()["attempt"] == 2 else None, "its second attempt runs")
    assert again["failures"] == 0, again
    running.revoke(terminate=True, signal="SIGKILL")
    assert convert_archive.delay(1, "notes.txt", "noop").get(timeout=30)["status"] == "success"


def check_the_end():
    held = convert_archive.apply_async(args=[2, "notes.txt", "noop"], countdown=600)
    harness.until(lambda: (app.control.inspect([NODE], timeout=2).scheduled() or {}).get(NODE), "it is held")
    control("shutdown", "-d", NODE)
    harness.until(lambda: app.control.ping(destination=[NODE], timeout=1) == [], "it is gone")
    assert held.state == "PENDING"


harness.run(globals())
