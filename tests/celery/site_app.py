"""What a site has: its Celery application, from the environment, and the names of its conversions."""
import os

import redis
from celery import Celery
from celery.exceptions import Reject

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


@app.task(name="site.stubborn", bind=True, max_retries=2)
def stubborn(self, value):
    """Comes to something at its second try."""
    if self.request.retries == 0:
        raise self.retry(exc=ValueError("not yet"), countdown=0.1)
    return value


@app.task(name="site.refuses", acks_late=True)
def refuses(*_):
    raise Reject("not this one", requeue=False)


@app.task(name="site.ran", bind=True)
def ran(self, *args, **kwargs):
    """Writes down that it ran."""
    redis.Redis.from_url(os.environ["BROKER"]).rpush("ran", self.request.id)
    return {"args": list(args), "kwargs": kwargs, "root_id": self.request.root_id, "parent_id": self.request.parent_id}
