"""A Django project: one file of each family, from `delay()` to the file beside the upload, and a task of django-celery-beat's tables."""
import os
import pathlib
import subprocess

import django_project
import harness

folder = django_project.make('INSTALLED_APPS += ["django_celery_beat"]')
from converter import tasks  # noqa: E402


def check_one_file_of_each_family():
    wanted = [
        (tasks.convert_video, "clip.mp4", "webm", "high"),
        (tasks.convert_audio, "tone.wav", "ogg", "medium"),
        (tasks.convert_image, "photo.jpg", "avif", "low"),
        (tasks.convert_document, "sheet.csv", "xlsx", None),
        (tasks.convert_archive, "mixed.zip", "7z", None),
    ]
    sent = [task.delay(task_id=n, input_path=name, output_format=to, quality=quality) for n, (task, name, to, quality) in enumerate(wanted)]
    for result, (_, name, to, _) in zip(sent, wanted):
        value = result.get(timeout=90)
        assert value["output_format"] == to and pathlib.Path(value["output_path"]).stat().st_size > 0, value


def check_a_schedule_of_the_admin_drives_millrace():
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask
    from site_project.celery import app

    call_command("migrate", verbosity=0)
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="clean", task="converter.tasks.cleanup_temp_files", interval=every)
    command = [os.environ["CELERY"], "-A", "site_project", "beat", "-l", "warning", "--scheduler", "django_celery_beat.schedulers:DatabaseScheduler"]
    beat = subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
    try:
        name = "converter.tasks.cleanup_temp_files"
        done = lambda: any(stats["total"].get(name, 0) >= 2 for stats in (app.control.inspect(timeout=2).stats() or {}).values())
        harness.until(done, "it was done twice")
    finally:
        beat.kill()
        beat.wait()


harness.run(globals())
