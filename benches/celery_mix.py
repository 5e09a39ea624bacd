"""The same tasks from the same client through a plain Celery worker and through Millrace: tasks that do nothing, then files.

MILLRACE is the program (with the no-op converter), MEASURE the one without a jail, FIXTURES the repository's files; BENCH_TASKS,
BENCH_FAR_TASKS, BENCH_FILES and BENCH_SLOTS change how many; BENCH_ONLY names parts (nothing, mixed, families); BENCH_RESULTS gets a line
for each ratio. Each side has a Redis of its own. Tasks that do nothing are all queued before the worker starts, and timed from the first
result to the last; files are sent to a worker that waits, and timed from the first `delay()` to the last result."""
import datetime
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import redis
from celery import Celery

TASKS, FAR_TASKS, FILES, SLOTS = (int(os.environ.get(f"BENCH_{name}", n)) for name, n in (("TASKS", "3000"), ("FAR_TASKS", "1000"), ("FILES", "300"), ("SLOTS", "2")))
ONLY = os.environ.get("BENCH_ONLY", "nothing mixed families").split()
FAR_MS = 2
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


def until(wanted, every=0.01):
    while not (value := wanted()):
        time.sleep(every)
    return value


def answers(server):
    try:
        return server.ping()
    except redis.exceptions.ConnectionError:
        return False


class Site:
    """A Redis and a folder of its own; `far`, its workers reach it late."""

    def __init__(self, far=False):
        self.far = far

    def __enter__(self):
        self.folder, port = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("BENCH_DATA"))).resolve(), free_port()
        self.started = [subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL)]
        self.url, self.server = f"redis://127.0.0.1:{port}/0", redis.Redis(port=port)
        until(lambda: answers(self.server))
        self.workers_url = self.url
        if self.far:
            far = free_port()
            self.started.append(subprocess.Popen([os.environ["MEASURE"], "far", "--to", f"127.0.0.1:{port}", "--listen", f"127.0.0.1:{far}", "--ms", str(FAR_MS)]))
            until(lambda: answers(redis.Redis(port=far)))
            self.workers_url = f"redis://127.0.0.1:{far}/0"
        self.client = Celery(broker=self.url, backend=self.url)
        return self

    def __exit__(self, *_):
        self.client.close()
        for process in self.started:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder)

    def send(self, tasks):
        """When each was sent, by its id."""
        sent = {}
        for n, (family, source, to) in enumerate(tasks):
            kwargs = {"task_id": n, "input_path": str(source), "output_format": to}
            if to != "noop":
                kwargs["output_path"] = str(self.folder / f"{n}.{to}")
            at = time.time()
            sent[self.client.send_task(f"converter.tasks.convert_{family}", kwargs=kwargs, queue="archive").id] = at
        return sent

    def ended(self):
        """When each task ended, by its id. A failure ends the measurement."""
        keys = self.server.keys("celery-task-meta-*")
        found = [json.loads(value) for value in (self.server.mget(keys) if keys else []) if value]
        failed = [one for one in found if one["status"] in ("FAILURE", "REVOKED")]
        assert not failed, failed[0]
        return {one["task_id"]: datetime.datetime.fromisoformat(one["date_done"]).timestamp() for one in found if one["status"] == "SUCCESS"}


class Worker:
    """A worker's processes, and what they use."""

    def __init__(self, command, **options):
        self.peak, self.over = 0, threading.Event()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        self.watch = threading.Thread(target=self.look, daemon=True)
        self.watch.start()

    def look(self):
        while not self.over.wait(0.25):
            self.peak = max(self.peak, sum(map(memory, below(self.process.pid))))

    def end(self):
        """Processor seconds of all of them, and the peak of their memory in MiB."""
        self.over.set()
        self.watch.join()
        self.process.send_signal(signal.SIGTERM)
        usage = os.wait4(self.process.pid, 0)[2]
        return usage.ru_utime + usage.ru_stime, self.peak / 1024


def below(root):
    """A process and all that descend from it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [root]
    while left:
        found.append(left.pop())
        left += children.get(found[-1], [])
    return found


def memory(pid):
    """KiB, shared pages counted by their share."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return 0


def celery_worker(site):
    (site.folder / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "-c", str(SLOTS), "-Q", "archive", "--without-gossip", "--without-mingle"]
    return Worker(command, cwd=site.folder, env={**os.environ, "BROKER": site.workers_url})


def millrace(site):
    queues, config = site.folder / "queues", site.folder / "millrace.toml"
    queues.mkdir()
    # One queue for all, so that both sides have as many slots.
    (queues / "archive.toml").write_text(f"concurrency = {SLOTS}\n")
    config.write_text("".join(f'[celery.tasks."converter.tasks.convert_{family}"]\nqueue = "archive"\n' for family in FAMILIES))
    settings = {"CELERY_BROKER_URL": site.workers_url, "CELERY_QUEUES": "archive", "QUEUES_DIR": queues, "INPUTS_ROOTS": FIXTURES, "OUTPUTS_ROOTS": site.folder}
    env = {**os.environ, **{f"MILLRACE_{name}": str(value) for name, value in settings.items()}}
    return Worker([os.environ["MILLRACE"], "serve", "--config", str(config), "--listen", "127.0.0.1:0", "--data-dir", str(site.folder / "data")], env=env)


def no_jail(store):
    """The edge and the engine as they are, with 50 slots in which nothing runs."""

    def start(site):
        place = str(site.folder / "store.db") if store == "sqlite" else site.url
        return Worker([os.environ["MEASURE"], "celery", "--broker", site.workers_url, "--store", place, "--inputs", str(FIXTURES), "--prefetch", "400", "--data-dir", str(site.folder)])

    return start


def drained(start, tasks, far=False):
    """Tasks a second, from the first that is ended to the last, and what the worker used."""
    with Site(far) as site:
        site.send(tasks)
        worker = start(site)
        try:
            until(lambda: worker.process.poll() is not None or site.server.llen("archive") + site.server.hlen("unacked") < len(tasks), 0.005)
            left = site.server.llen("archive") + site.server.hlen("unacked")
            begun = time.monotonic()
            until(lambda: worker.process.poll() is not None or site.server.llen("archive") + site.server.hlen("unacked") == 0, 0.005)
            assert worker.process.poll() is None, "the worker runs"
            took = time.monotonic() - begun
            # A Python worker ends a message before its task has run.
            until(lambda: len(site.ended()) == len(tasks))
        finally:
            usage = worker.end()
        return left / max(took, 1e-9), usage


def served(start, tasks):
    """Tasks a second from the first `delay()` to the last result, what the worker used, and from `delay()` to result in ms."""
    with Site() as site:
        worker = start(site)
        try:
            until(lambda: site.client.control.ping(timeout=0.5))
            sent = site.send(tasks)
            ended = until(lambda: (found := site.ended()) and len(found) == len(tasks) and found, 0.05)
        finally:
            usage = worker.end()
        took = sorted((ended[id] - at) * 1000 for id, at in sent.items())
        at = lambda share: took[round((len(took) - 1) * share)]
        return len(tasks) / (max(ended.values()) - min(sent.values())), usage, (at(0.5), at(0.99))


def told(rate, usage, took=None):
    words = f"{rate:.1f}/s, {usage[0]:.1f} s cpu, {usage[1]:.0f} MiB"
    return words + (f", p50 {took[0]:.0f} p99 {took[1]:.0f} ms" if took else "")


def compare(what, ours, theirs, aim):
    row = [f"celery: {what}", told(*ours), told(*theirs), f"{ours[0] / theirs[0]:.2f}x", aim]
    print("  ".join(row), flush=True)
    if os.environ.get("BENCH_RESULTS"):
        with open(os.environ["BENCH_RESULTS"], "a") as results:
            results.write("\t".join(row) + "\n")


def files(family, count):
    source, to = FIXTURES / FAMILIES[family][0], FAMILIES[family][1]
    source = sorted(source.iterdir())[0] if source.is_dir() else source
    return [(family, source, to)] * count


if "nothing" in ONLY:
    nothing = [("archive", FIXTURES / "document/txt/good/notes.txt", "noop")]
    theirs = drained(celery_worker, nothing * TASKS)
    compare("no-op, a jail for each", drained(millrace, nothing * TASKS), theirs, "-")
    compare("no-op, no jail, SQLite", drained(no_jail("sqlite"), nothing * TASKS), theirs, "10x")
    compare("no-op, no jail, Redis", drained(no_jail("redis"), nothing * TASKS), theirs, "10x")
    far = drained(celery_worker, nothing * FAR_TASKS, far=True)
    compare(f"no-op, no jail, SQLite, Redis {FAR_MS} ms away", drained(no_jail("sqlite"), nothing * FAR_TASKS, far=True), far, "50x")
each = FILES // len(FAMILIES)
if "mixed" in ONLY:
    mixed = [task for tasks in zip(*(files(family, each) for family in FAMILIES)) for task in tasks]
    compare(f"{len(mixed)} mixed files", served(millrace, mixed), served(celery_worker, mixed), "2x")
if "families" in ONLY:
    for family in FAMILIES:
        some = files(family, max(each // 3, 1))
        compare(family, served(millrace, some), served(celery_worker, some), "5x" if family == "document" else "1x")
