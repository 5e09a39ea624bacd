"""Tasks sent with `delay()` end as a site expects them: results, states, failures, options."""
import json
import os
import pathlib
from datetime import datetime, timedelta, timezone
from itertools import takewhile

import redis
from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery import __version__, states

import harness
from site_app import app, convert_archive, convert_audio, convert_document, convert_image, convert_video

INPUTS = pathlib.Path(os.environ["INPUTS"])
broker = redis.Redis.from_url(os.environ["BROKER"])


def noop(task=convert_archive, **options):
    return task.apply_async(kwargs={"task_id": 1, "input_path": str(INPUTS / "notes.txt"), "output_format": "noop"}, **options)


def refused(result):
    """The exception that `get()` raises."""
    try:
        value = result.get(timeout=30)
    except Exception as error:
        return error
    raise AssertionError(f"it raises, and does not return {value}")


def check_each_family():
    wanted = [
        (convert_video, "clip.mp4", "webm", "low"),
        (convert_audio, "tone.wav", "mp3", "high"),
        (convert_image, "photo.jpg", "webp", "high"),
        (convert_document, "notes.md", "html", None),
        (convert_archive, "mixed.zip", "tar.gz", None),
    ]
    sent = [(n, name, to, task.delay(task_id=n, input_path=str(INPUTS / name), output_format=to, quality=quality)) for n, (task, name, to, quality) in enumerate(wanted)]
    for n, name, to, result in sent:
        value = result.get(timeout=90)
        path = pathlib.Path(value["output_path"])
        assert result.state == states.SUCCESS and result.successful() and result.ready() and not result.failed(), name
        assert (value["task_id"], value["status"], value["output_format"]) == (n, "success", to), value
        assert path.parent == INPUTS and path.stat().st_size == value["output_size"] > 0, value
        assert result.date_done is not None


def check_positional_arguments_and_a_path_of_ones_own():
    wanted = INPUTS / "out" / "small.png"
    value = convert_image.delay(9, "photo.jpg", "png", None, None, {"width": 64}, str(wanted)).get(timeout=30)
    assert value["output_path"] == str(wanted) and wanted.read_bytes()[:4] == b"\x89PNG"
    assert value["outputs"][0]["media"]["width"] == 64, value


def check_outputs_go_nowhere_else():
    error = refused(convert_image.delay(9, "photo.jpg", "png", output_path="/etc/photo.png"))
    assert isinstance(error, PermissionError) and not os.path.exists("/etc/photo.png"), error


def check_failures_can_be_raised():
    assert isinstance(refused(convert_image.delay(1, str(INPUTS / "missing.jpg"), "png")), FileNotFoundError)
    assert isinstance(refused(convert_image.delay(1, "/etc/passwd", "png")), FileNotFoundError)
    assert isinstance(refused(convert_image.delay(1, "photo.jpg", "nothing")), ValueError)
    assert isinstance(refused(convert_image.delay(1, "photo.jpg", "png", quality="best")), ValueError)
    error = refused(app.send_task("converter.tasks.convert_image", kwargs={"inputt": 1}, queue="image"))
    assert isinstance(error, TypeError) and "inputt" in str(error)
    result = convert_image.delay(1, "broken.jpg", "png")
    error = refused(result)
    assert type(error).__name__ in ("CorruptInput", "UnsupportedFormat") and result.failed(), repr(error)


def check_states_on_the_way():
    seen = set()
    result = convert_video.delay(1, "long.mp4", "webm", options={"video": {"codec": "vp9"}})
    while not result.ready():
        meta = result.backend.get_task_meta(result.id)
        seen.add(meta["status"])
        if meta["status"] == "PROGRESS":
            assert {"current", "total", "percent", "status"} <= meta["result"].keys(), meta
    assert result.successful() and seen & {"STARTED", "PROGRESS"}, seen


def check_ignored_results():
    ignored, kept = noop(ignore_result=True), noop()
    kept.get(timeout=30)
    assert not app.backend.client.exists(f"celery-task-meta-{ignored.id}")


def check_results_expire():
    result = noop()
    result.get(timeout=30)
    assert 0 < app.backend.client.ttl(f"celery-task-meta-{result.id}") <= 86400


def check_a_task_for_later_waits_and_keeps_nobody():
    later, now = noop(countdown=2), noop()
    now.get(timeout=30)
    assert later.state == states.PENDING
    later.get(timeout=30)


def check_what_has_expired_is_revoked():
    for expires in (0, datetime.now(timezone.utc) - timedelta(minutes=1)):
        result = noop(expires=expires) if expires else noop(countdown=-5, expires=datetime.now(timezone.utc) - timedelta(seconds=1))
        assert type(refused(result)).__name__ == "TaskRevokedError" and result.state == states.REVOKED


def check_time_limits_and_retries():
    result = convert_video.apply_async(args=[1, "long.mp4", "webm"], kwargs={"options": {"video": {"codec": "av1", "preset": "veryslow"}}}, time_limit=2, soft_time_limit=1, retry=False)
    harness.until(lambda: result.state == states.RETRY, "another attempt is to come")
    # As Celery has it: not ready, and what went wrong is the state's info.
    meta = result.backend.get_task_meta(result.id)
    assert isinstance(meta["result"], (SoftTimeLimitExceeded, TimeLimitExceeded)) and "attempt 1" in meta["traceback"], meta
    assert not result.ready() and not result.failed() and meta["date_done"] is None
    result.revoke()


def check_the_end_is_one_script_that_spares_a_success():
    """Where results have another server, it is two."""
    same_server = os.environ["BROKER"].rsplit("/", 1)[0] == os.environ["BACKEND"].rsplit("/", 1)[0]
    server = app.backend.client
    with server.monitor() as monitor:
        result = noop()
        result.get(timeout=30)
        mark = f"seen {result.id}"
        server.echo(mark)
        seen = []
        for command in monitor.listen():
            if mark in command["command"]:
                break
            seen.append(command)
    written = next(n for n, c in enumerate(seen) if c["command"].startswith(f"SETEX celery-task-meta-{result.id}") and '"SUCCESS"' in c["command"])
    script = list(takewhile(lambda c: c["client_type"] == "lua", seen[written:]))
    words = [command["command"].split()[0] for command in script]
    databases = {command["command"].split()[0]: command["db"] for command in script}
    if same_server:
        assert words[:2] == ["SETEX", "PUBLISH"] and {"SREM", "HDEL", "ZREM"} <= set(words), words
        assert (databases["SETEX"], databases["HDEL"]) == (1, 0), databases
    else:
        assert words == ["SETEX", "PUBLISH"], words
    done = json.dumps({"status": "SUCCESS", "result": 7, "traceback": None, "children": [], "task_id": "done before"})
    server.set("celery-task-meta-done before", done)
    told = app.signature("site.note", queue="told")
    fails = convert_image.apply_async(args=[1, "missing.jpg", "png"], task_id="done before", link_error=told)
    harness.until(lambda: broker.llen("told"), "it has failed, and says so")
    assert fails.get(timeout=30) == 7


def check_packed_msgpack_and_yaml_bodies():
    for options in ({"compression": "gzip"}, {"compression": "bzip2"}) + (({"serializer": "msgpack"}, {"serializer": "yaml"}) if __version__ >= "5.7" else ()):
        assert noop(**options).get(timeout=30)["status"] == "success", options


def check_pickle_is_refused_and_what_nobody_can_read_hurts_nobody():
    dead = broker.llen("millrace:dead")
    result = noop(serializer="pickle")
    error = refused(result)
    assert "pickle" in str(error), error
    for raw in (b"", b"{", b"[]", b'{"properties": {"delivery_tag": "x"}}', b'{"delivery_tag": "y"'):
        broker.lpush("archive", raw)
    assert noop().get(timeout=30)["status"] == "success"
    harness.until(lambda: broker.llen("millrace:dead") == dead + 6, "they are in the dead list")


def check_unknown_tasks_are_parked():
    app.send_task("nobody.knows", queue="archive")
    harness.until(lambda: broker.llen("millrace:parked:archive") == 1, "it is parked")
    assert b"nobody.knows" in broker.lindex("millrace:parked:archive", 0)
    broker.delete("millrace:parked:archive")


def check_nothing_stays_in_work():
    harness.until(lambda: broker.hlen("unacked") == 0 and broker.zcard("unacked_index") == 0, "all is settled")


harness.run(globals())
