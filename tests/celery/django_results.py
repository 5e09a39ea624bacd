"""A Django project with the webhook that README shows: what Millrace did stands in the tables of django-celery-results."""
import os
import pathlib
import re
import subprocess
import sys
import urllib.error
import urllib.request

import django_project
import harness

README = pathlib.Path(__file__).parents[2] / "README.md"
recipe = re.search(r"```python\n(# converter/millrace.py.*?)```", README.read_text(), re.DOTALL)[1]
folder = django_project.make(f"""
INSTALLED_APPS += ["django_celery_results"]
ALLOWED_HOSTS = ["*"]
MILLRACE_WEBHOOK_SECRET = {os.environ["SECRET"]!r}
""")
(folder / "converter" / "millrace.py").write_text(recipe)
(folder / "site_project" / "urls.py").write_text("""
from django.urls import path
from converter.millrace import told

urlpatterns = [path("hooks/millrace/", told)]
""")
import converter.tasks as tasks  # noqa: E402
import django.core.management  # noqa: E402
from django_celery_results.models import TaskResult  # noqa: E402

django.core.management.call_command("migrate", verbosity=0)
URL = f"http://127.0.0.1:{os.environ['SITE_PORT']}/hooks/millrace/"
site = subprocess.Popen([sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{os.environ['SITE_PORT']}"], cwd=folder)


def answers():
    """To somebody who does not know the secret."""
    try:
        return urllib.request.urlopen(URL, data=b"{}").status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


def row_of(result):
    return harness.until(lambda: TaskResult.objects.filter(task_id=result.id).first(), "it has a row")


def check_a_success_has_its_row():
    result = tasks.convert_image.delay(task_id=7, input_path="photo.jpg", output_format="png")
    value, row = result.get(timeout=60), row_of(result)
    assert (row.status, row.task_name) == ("SUCCESS", "converter.tasks.convert_image"), row
    assert row.as_dict()["result"] == result.backend.encode(value) and '"task_id": 7' in row.task_kwargs, row.as_dict()
    assert row.date_done is not None


def check_a_failure_has_its_row():
    result = tasks.convert_image.delay(task_id=8, input_path="broken.jpg", output_format="png")
    row = row_of(result)
    assert row.status == "FAILURE" and "CorruptInput" in row.result and "attempt 1" in row.traceback, row.as_dict()


def check_strangers_are_not_believed():
    assert answers() == 403 and TaskResult.objects.count() == 2


try:
    harness.until(answers, "the site answers")
    harness.run(globals())
finally:
    site.kill()
    site.wait()
