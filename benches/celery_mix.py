"""The same tasks from the same client through a plain Celery worker and through Millrace: tasks that do nothing, then a mixed set of files.

MILLRACE is the program (with the no-op converter), FIXTURES the repository's files; BENCH_TASKS, BENCH_FILES and BENCH_SLOTS change how
many; BENCH_RESULTS gets a line for each ratio. Each side has a Redis of its own, begins with everything queued and is timed until the
last result is there."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TASKS, FILES, SLOTS = (int(os.environ.get(f"BENCH_{name}", n)) for name, n in (("TASKS", "2000"), ("FILES", "100"), ("SLOTS", "2")))
FIXTURES = pathlib.Path(os.environ.get("FIXTURES", "fixtures")).resolve()
FAMILIES = {
    "video": ("video/mp4/good/clip.mp4", "webm"),
    "audio": ("audio/wav/good/tone.wav", "mp3"),
    "image": ("image/jpeg/good/photo.jpg", "webp"),
    "document": ("document/docx/good", "pdf"),
    "archive": ("archive/zip/good/mixed.zip", "tar"),
}
WORKER = '''
import os, subprocess, tarfile, tempfile, zipfile
from celery import Celery
app = Celery("bench", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.task_default_queue = "archive"

@app.task(name="converter.tasks.convert_archive")
def archive(task_id, input_path, output_format, output_path=None):
    if output_format == "noop":
        return {"status": "success"}
    with zipfile.ZipFile(input_path) as source, tarfile.open(output_path, "w") as target:
        with tempfile.TemporaryDirectory() as folder:
            source.extractall(folder)
            target.add(folder, arcname=".")

@app.task(name="converter.tasks.convert_video")
def video(task_id, input_path, output_format, output_path):
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", input_path, output_path], check=True)

app.task(name="converter.tasks.convert_audio")(video.run)

@app.task(name="converter.tasks.convert_image")
def image(task_id, input_path, output_format, output_path):
    from PIL import Image
    Image.open(input_path).save(output_path)

@app.task(name="converter.tasks.convert_document")
def document(task_id, input_path, output_format, output_path):
    with tempfile.TemporaryDirectory() as profile:
        command = ["soffice", f"-env:UserInstallation=file://{profile}", "--headless", "--convert-to", output_format, "--outdir", os.path.dirname(output_path), input_path]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
'''


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Site:
    """A Redis and a folder of its own."""

    def __enter__(self):
        import redis

        self.folder, port = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_DATA"))).resolve(), free_port()
        self.process = subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)
        self.url, self.server = f"redis://127.0.0.1:{port}/0", redis.Redis(port=port)
        while True:
            try:
                self.server.ping()
                return self
            except redis.exceptions.ConnectionError:
                time.sleep(0.01)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)

    def queue(self, tasks):
        from celery import Celery

        app = Celery(broker=self.url, backend=self.url)
        for n, (family, source, to) in enumerate(tasks):
            kwargs = {"task_id": n, "input_path": str(source), "output_format": to}
            if to != "noop":
                kwargs["output_path"] = str(self.folder / f"{n}.{to}")
            app.send_task(f"converter.tasks.convert_{family}", kwargs=kwargs, queue="archive")
        app.close()

    def drained(self, command, count, **options):
        """Seconds from the first result to the last one, and processor seconds of the worker and all it started."""
        worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        begun = None
        try:
            while True:
                left = self.server.llen("archive") + self.server.hlen("unacked")
                if begun is None and left < count:
                    begun = time.monotonic()
                if begun is not None and left == 0 and self.results() == count:
                    break
                assert worker.poll() is None, "the worker runs"
                time.sleep(0.002)
            took = time.monotonic() - begun
        finally:
            worker.send_signal(signal.SIGTERM)
            usage = os.wait4(worker.pid, 0)[2]
        return took, usage.ru_utime + usage.ru_stime

    def results(self):
        """Results of tasks that have ended."""
        keys = self.server.keys("celery-task-meta-*")
        return sum(b'"date_done": null' not in (v or b"") and b'"date_done":null' not in (v or b"") for v in (self.server.mget(keys) if keys else []))


def celery_worker(tasks):
    with Site() as site:
        site.queue(tasks)
        (site.folder / "worker.py").write_text(WORKER)
        command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "-c", str(SLOTS), "-Q", "archive", "--without-gossip", "--without-mingle"]
        return site.drained(command, len(tasks), cwd=site.folder, env={**os.environ, "BROKER": site.url})


def millrace(tasks):
    with Site() as site:
        site.queue(tasks)
        queues, config = site.folder / "queues", site.folder / "millrace.toml"
        queues.mkdir()
        # One queue for all, so that both sides have as many slots.
        (queues / "archive.toml").write_text(f"concurrency = {SLOTS}\n")
        config.write_text("".join(f'[celery.tasks."converter.tasks.convert_{family}"]\nqueue = "archive"\n' for family in FAMILIES))
        settings = {"CELERY_BROKER_URL": site.url, "CELERY_QUEUES": "archive", "QUEUES_DIR": queues, "INPUTS_ROOTS": FIXTURES, "OUTPUTS_ROOTS": site.folder}
        env = {**os.environ, **{f"MILLRACE_{name}": str(value) for name, value in settings.items()}}
        return site.drained([os.environ["MILLRACE"], "serve", "--config", str(config), "--listen", "127.0.0.1:0", "--data-dir", str(site.folder / "data")], len(tasks), env=env)


def compare(what, tasks, aim):
    (ours, our_cpu), (theirs, their_cpu) = millrace(tasks), celery_worker(tasks)
    rate = lambda seconds: f"{len(tasks) / seconds:.1f}/s"
    row = [f"celery: {what}", f"{rate(ours)}, {our_cpu:.1f} s cpu", f"{rate(theirs)}, {their_cpu:.1f} s cpu", f"{theirs / ours:.2f}x", aim]
    print("  ".join(row), flush=True)
    if os.environ.get("BENCH_RESULTS"):
        with open(os.environ["BENCH_RESULTS"], "a") as results:
            results.write("\t".join(row) + "\n")


def files(family, count):
    source, to = FIXTURES / FAMILIES[family][0], FAMILIES[family][1]
    source = sorted(source.iterdir())[0] if source.is_dir() else source
    return [(family, source, to)] * count


nothing = [("archive", FIXTURES / "document/txt/good/notes.txt", "noop")] * TASKS
compare("tasks that do nothing", nothing, "10x")
each = FILES // len(FAMILIES)
mixed = [task for tasks in zip(*(files(family, each) for family in FAMILIES)) for task in tasks]
compare("mixed files", mixed, "2x")
for family in FAMILIES:
    compare(family, files(family, each), "5x" if family == "document" else "1x")
