"""A Django project with its settings as README describes them: one file of each family, from `delay()` to the file beside the upload,
and a task of django-celery-beat's tables."""
import os
import pathlib
import subprocess
import sys
import tempfile

import harness

INPUTS = pathlib.Path(os.environ["INPUTS"])
folder = pathlib.Path(tempfile.mkdtemp())
project = folder / "site_project"
subprocess.run([sys.executable, "-m", "django", "startproject", "site_project", str(folder)], check=True)
with open(project / "settings.py", "a") as settings:
    settings.write(
        f"""
MEDIA_ROOT = {str(INPUTS)!r}
INSTALLED_APPS += ["converter", "django_celery_beat"]
CELERY_BROKER_URL = {os.environ["BROKER"]!r}
CELERY_RESULT_BACKEND = {os.environ["BACKEND"]!r}
CELERY_TASK_ROUTES = {{
    "converter.tasks.convert_video": {{"queue": "video"}},
    "converter.tasks.convert_audio": {{"queue": "audio"}},
    "converter.tasks.convert_image": {{"queue": "image"}},
    "converter.tasks.convert_document": {{"queue": "document"}},
    "converter.tasks.convert_archive": {{"queue": "archive"}},
    "converter.tasks.cleanup_*": {{"queue": "cleanup"}},
}}
"""
    )
(project / "celery.py").write_text(
    """
import os
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_project.settings")
app = Celery("site_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
"""
)
(project / "__init__.py").write_text("from .celery import app as celery_app\n")
converter = folder / "converter"
converter.mkdir()
(converter / "__init__.py").write_text("")
(converter / "tasks.py").write_text(
    "from celery import shared_task\n"
    + "".join(
        f"""

@shared_task
def convert_{family}(task_id, input_path, output_format, quality=None):
    raise AssertionError("a Python worker ran a conversion")
"""
        for family in ("video", "audio", "image", "document", "archive")
    )
    + """

@shared_task
def cleanup_temp_files():
    raise AssertionError("a Python worker ran a cleanup")
"""
)
sys.path.insert(0, str(folder))
os.environ["DJANGO_SETTINGS_MODULE"] = "site_project.settings"
import django  # noqa: E402

django.setup()
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
