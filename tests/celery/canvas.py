"""Chains, groups, chords and callbacks between Millrace and a Python worker, in either direction."""
import os
import pathlib
import subprocess

from celery import __version__, chain, chord, group
from celery.result import AsyncResult

import harness
from site_app import app, convert_archive, convert_image, describe, formats, note, path, refuses, stubborn

INPUTS = pathlib.Path(os.environ["INPUTS"])
worker = subprocess.Popen([os.environ["CELERY"], "-A", "site_app", "worker", "-P", "solo", "-Q", "python", "-n", "python@test", "-l", "warning"])


def image(to="png", **options):
    return convert_image.si(1, "photo.jpg", to, output_path=str(INPUTS / "out" / f"canvas.{to}"), **options)


def check_a_chain_from_millrace_to_python_and_back():
    result = chain(image(), describe.s())()
    assert result.get(timeout=60) == {"input_path": str(INPUTS / "out" / "canvas.png"), "says": "python"}
    assert result.parent.successful() and result.parent.children[0].id == result.id
    over = chain(path.si(7), convert_image.s("photo.jpg", "webp"))()
    assert over.get(timeout=60)["task_id"] == 7


def check_a_longer_chain_keeps_its_order():
    result = chain(image("png"), convert_image.si(2, "out/canvas.png", "webp"), convert_image.si(3, "out/canvas.webp", "bmp"), formats.s())()
    assert result.get(timeout=60) == ["bmp"] and (INPUTS / "out" / "canvas.bmp").exists()


def check_a_chain_ends_with_its_first_failure():
    result = chain(convert_image.si(1, "missing.jpg", "png"), describe.s(), formats.s())()
    for element in (result, result.parent):
        harness.until(element.failed, "it fails")


def check_a_group():
    result = group(image(to) for to in ("png", "webp", "gif"))()
    assert sorted(value["output_format"] for value in result.get(timeout=60)) == ["gif", "png", "webp"]


def check_chords_of_both():
    members = [image("png"), formats.s([{"output_format": "x"}]), image("webp"), path.si({"output_format": "y"})]
    result = chord(members)(path.s())
    value = result.get(timeout=60)
    assert [value[0]["output_format"], value[1], value[2]["output_format"], value[3]["output_format"]] == ["png", ["x"], "webp", "y"], value


def check_a_chord_whose_body_is_ours():
    body = convert_archive.si(5, "mixed.zip", "tar")
    result = chord([image("png"), image("gif")])(body)
    assert result.get(timeout=60)["task_id"] == 5


def check_a_chord_of_many():
    results = [chord([convert_archive.si(n, "notes.txt", "noop", output_path=str(INPUTS / "out" / f"{m}-{n}")) for n in range(12)])(formats.s()) for m in range(3)]
    for result in results:
        assert result.get(timeout=60) == ["noop"] * 12


def check_a_chain_into_a_chord():
    result = chain(image("png"), group(image("webp"), image("gif")), formats.s())()
    assert result.get(timeout=60) == ["webp", "gif"]


def check_a_failed_chord_fails_its_body():
    result = chord([image("png"), convert_image.si(1, "missing.jpg", "png")])(formats.s())
    harness.until(result.failed, "the body fails")
    assert type(result.result).__name__ == "ChordError", repr(result.result)


def check_python_tasks_that_are_retried_or_rejected():
    again = chord([image("png"), stubborn.si({"output_format": "x"})])(formats.s())
    assert again.get(timeout=60) == ["png", "x"]
    chained = chain(image("webp"), stubborn.s(), formats.s())()
    assert chained.get(timeout=60) == ["webp"] and chained.parent.children[0].id == chained.id
    # Celery fails what would follow a rejected task since 5.7, and said nothing before.
    rejected = chain(image("gif"), refuses.s(), formats.s())()
    assert rejected.parent.parent.get(timeout=60)["output_format"] == "gif"
    if __version__ >= "5.7":
        harness.until(rejected.failed, "it fails")
        assert type(rejected.parent.result).__name__ == type(rejected.result).__name__ == "Reject"
    else:
        path.s(1).apply_async().get(timeout=60)
        assert (rejected.parent.state, rejected.state) == ("PENDING", "PENDING")


def check_callbacks_and_errbacks():
    called, told = describe.s().set(task_id="called"), note.s().set(task_id="told")
    image().apply_async(link=called)
    assert AsyncResult("called", app=app).get(timeout=60)["says"] == "python"
    failed = convert_image.apply_async(args=[1, "missing.jpg", "png"], link_error=told)
    assert AsyncResult("told", app=app).get(timeout=60) == f"noted {failed.id}"


try:
    harness.until(lambda: app.control.ping(destination=["python@test"], timeout=1), "the worker is there")
    harness.run(globals())
finally:
    worker.kill()
    worker.wait()
