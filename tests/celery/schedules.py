"""Millrace's schedules send tasks that a Python worker runs, each once."""
import json
import os
import subprocess

import redis

import harness
from site_app import app

MILLRACE, NAME = os.environ["MILLRACE"], "site.ran"
broker = redis.Redis.from_url(os.environ["BROKER"])
worker = subprocess.Popen([os.environ["CELERY"], "-A", "site_app", "worker", "-P", "solo", "-Q", "python", "-n", "python@test", "-l", "warning"])


def millrace(*words):
    done = subprocess.run([MILLRACE, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs():
    """The jobs that have sent something, by id."""
    listed = json.loads(millrace("jobs", "list", "--queue", "cleanup", "--json"))["jobs"]
    return {job["id"]: job for job in listed if job["converter"] == "celery.send"}


def check_each_fire_is_run_once():
    millrace("schedules", "put", "report", "--every", "1s", "--missed", "all", "--task", NAME, "--args", '["a", 2]', "--kwargs", '{"b": [null]}', "--queue", "python")
    assert f"{NAME} to python" in millrace("schedules", "list")
    harness.until(lambda: broker.llen("ran") >= 3, "it ran three times")
    millrace("schedules", "put", "report", "--every", "1s", "--disabled", "--task", NAME, "--queue", "python")
    harness.until(lambda: all(job["state"] == "succeeded" for job in jobs().values()) and broker.llen("ran") == len(jobs()), "all have run")
    ran, sent = [entry.decode() for entry in broker.lrange("ran", 0, -1)], jobs()
    assert sorted(ran) == sorted(sent), (ran, sent)
    for id in ran:
        # The job's id is the task's.
        result = app.AsyncResult(id)
        assert result.get(timeout=30) == {"args": ["a", 2], "kwargs": {"b": [None]}, "root_id": id, "parent_id": None}
    assert f"sent {NAME} to python" in millrace("jobs", "log", ran[0])


def check_one_that_is_run_now():
    millrace("schedules", "put", "now", "--cron", "@yearly", "--task", NAME)
    id = millrace("schedules", "run", "now").strip()
    assert app.AsyncResult(id).get(timeout=30)["args"] == []


try:
    harness.until(lambda: app.control.ping(destination=["python@test"], timeout=1), "the worker is there")
    harness.run(globals())
finally:
    worker.kill()
    worker.wait()
