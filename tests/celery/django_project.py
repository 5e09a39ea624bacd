"""A Django project with its settings as README describes them, made in a folder of its own."""
import os
import pathlib
import subprocess
import sys
import tempfile


def make(settings=""):
    """The project's folder; its settings are loaded."""
    folder = pathlib.Path(tempfile.mkdtemp())
    project = folder / "site_project"
    subprocess.run([sys.executable, "-m", "django", "startproject", "site_project", str(folder)], check=True)
    with open(project / "settings.py", "a") as file:
        file.write(
            f"""
MEDIA_ROOT = {os.environ["INPUTS"]!r}
INSTALLED_APPS += ["converter"]
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
{settings}
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
    import django

    django.setup()
    return folder
