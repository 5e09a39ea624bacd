"""What a site has: its Celery application, from the environment, and the names of its conversions."""
import os

from celery import Celery

app = Celery("site", broker=os.environ["BROKER"], backend=os.environ.get("BACKEND", os.environ["BROKER"]))
app.conf.update(
    task_routes={
        "converter.tasks.convert_video": {"queue": "video"},
        "converter.tasks.convert_audio": {"queue": "audio"},
        "converter.tasks.convert_image": {"queue": "image"},
        "converter.tasks.convert_document": {"queue": "document"},
        "converter.tasks.convert_archive": {"queue": "archive"},
        "converter.tasks.cleanup_*": {"queue": "cleanup"},
        "site.*": {"queue": "python"},
    },
    broker_transport_options={"visibility_timeout": int(os.environ.get("VISIBILITY_TIMEOUT", "3600"))},
    task_acks_late=True,
    worker_send_task_events=True,
)


def conversion(family):
    """The name alone: Millrace does the work."""

    @app.task(name=f"converter.tasks.convert_{family}")
    def convert(task_id, input_path, output_format, quality=None, preset=None, options=None, output_path=None):
        raise AssertionError("a Python worker ran a conversion")

    return convert


convert_video, convert_audio, convert_image, convert_document, convert_archive = map(
    conversion, ["video", "audio", "image", "document", "archive"]
)


@app.task(name="site.formats")
def formats(results, *more):
    return [result["output_format"] for result in (results if isinstance(results, list) else [results])]


@app.task(name="site.describe")
def describe(result):
    return {"input_path": result["output_path"], "says": "python"}


@app.task(name="site.path")
def path(*args):
    return args[-1]


@app.task(name="site.note")
def note(failed_id):
    return f"noted {failed_id}"
