"""`celery inspect` and `celery control`, as an admin types them, and revokes."""
import json
import os
import pathlib
import subprocess
import urllib.request

import redis
from celery import states

import harness
from site_app import app, convert_archive, convert_video

NODE = "millrace@test"
INPUTS = pathlib.Path(os.environ["INPUTS"])
broker = redis.Redis.from_url(os.environ["BROKER"])


def celery(*words):
    done = subprocess.run([os.environ["CELERY"], "-A", "site_app", *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def inspect(what, *words):
    """As `celery inspect`, without the seconds that a command takes to start."""
    return harness.until(lambda: getattr(app.control.inspect([NODE], timeout=2), what)(*words), f"{what} is answered")[NODE]


def ordered(command, **arguments):
    """The answer to an order."""
    return str(app.control.broadcast(command, arguments=arguments, destination=[NODE], reply=True, timeout=3, limit=1)[0][NODE])


def slow(**options):
    return convert_video.apply_async(args=[1, "endless.mp4", "webm"], kwargs={"options": {"video": {"codec": "av1", "preset": "veryslow"}}}, **options)


def check_status_and_ping():
    assert NODE in celery("status", "-t", "3")
    assert json.loads(celery("inspect", "--json", "-t", "3", "ping"))[NODE] == {"ok": "pong"}
    assert "converter.tasks.convert_video" in celery("inspect", "-t", "3", "registered")
    assert "time limits set successfully" in celery("control", "-t", "3", "time_limit", "converter.tasks.convert_video", "60", "120")


def check_what_is_registered_and_consumed():
    assert "converter.tasks.convert_video" in inspect("registered")
    assert {"video", "image"} <= {queue["name"] for queue in inspect("active_queues")}


def check_stats_conf_report_clock():
    stats = inspect("stats")
    assert stats["pid"] > 0 and stats["broker"]["transport"] == "redis" and "total" in stats
    assert "redis://" in inspect("conf")["broker_url"]
    assert "millrace" in inspect("report")["ok"]
    assert inspect("clock")["clock"] > 0


def check_active_reserved_scheduled_and_query():
    running, later = slow(), convert_archive.apply_async(args=[1, "notes.txt", "noop"], countdown=600, priority=6)
    active = harness.until(lambda: inspect("active"), "it is active")
    waiting = slow()
    assert [task["id"] for task in active] == [running.id] and active[0]["time_start"] > 0
    harness.until(lambda: waiting.id in [task["id"] for task in inspect("reserved")], "it is reserved")
    assert [task["request"]["id"] for task in inspect("scheduled")] == [later.id]
    found = inspect("query_task", [running.id, later.id, "nobody"])
    assert (found[running.id][0], found[later.id][0]) == ("active", "scheduled") and "nobody" not in found
    for result in (running, waiting, later):
        result.revoke(terminate=True, signal="SIGKILL")
    for result in (running, waiting, later):
        harness.until(lambda: result.state == states.REVOKED, "it is revoked")


def check_a_revoke_before_its_task():
    first = slow()
    harness.until(lambda: first.state != states.PENDING, "it runs")
    waiting = slow()
    answer = app.control.revoke(waiting.id, reply=True, timeout=2)
    assert "flagged as revoked" in answer[0][NODE]["ok"], answer
    harness.until(lambda: waiting.state == states.REVOKED, "it is revoked")
    assert waiting.id in inspect("revoked") and broker.zscore("millrace:revoked", waiting.id)
    first.revoke(terminate=True, signal="SIGKILL")
    harness.until(lambda: first.state == states.REVOKED, "it is terminated")
    app.control.revoke("known before", reply=True, timeout=2)
    result = convert_archive.apply_async(args=[1, "notes.txt", "noop"], task_id="known before")
    harness.until(lambda: result.state == states.REVOKED, "it is revoked")


def check_settings():
    image = "converter.tasks.convert_image"
    assert "time limits set successfully" in ordered("time_limit", task_name=image, soft=60, hard=120)
    assert "new rate limit set successfully" in ordered("rate_limit", task_name=image, rate_limit="10/m")
    assert "disabled" in ordered("rate_limit", task_name=image, rate_limit=0)
    assert "unknown task" in ordered("rate_limit", task_name="nobody.knows", rate_limit="10/m")
    with urllib.request.urlopen(os.environ["MILLRACE_URL"] + "/v1/queues/image") as answer:
        assert '"hard_time_limit":"2m"' in answer.read().decode().replace(" ", "")
    assert "pool will grow" in ordered("pool_grow", n=2)
    assert "pool will shrink" in ordered("pool_shrink", n=2)
    assert "autoscale now max=3 min=1" in ordered("autoscale", max=3, min=1)


def check_consumers():
    assert "add consumer extra" in ordered("add_consumer", queue="extra")
    result = convert_archive.apply_async(args=[1, "notes.txt", "noop"], queue="extra")
    assert result.get(timeout=30)["status"] == "success"
    assert "no longer consuming" in ordered("cancel_consumer", queue="extra")
    waits = convert_archive.apply_async(args=[1, "notes.txt", "noop"], queue="extra")
    convert_archive.delay(1, "notes.txt", "noop").get(timeout=30)
    assert waits.state == states.PENDING
    harness.until(lambda: broker.llen("extra") == 1, "it waits in its queue")


def check_events_and_unknown_requests():
    assert "events" in ordered("disable_events")
    assert "task events enabled" in ordered("enable_events")
    answer = app.control.broadcast("nosuch", reply=True, timeout=2)
    assert answer == [{NODE: {"error": "KeyError('nosuch')"}}], answer
    assert app.control.broadcast("ping", destination=["somebody@else"], reply=True, timeout=1) == []


harness.run(globals())
