"""No-op jobs through one Redis server: ours, Celery's (prefork, two processes) and BullMQ's (50 at once), taking turns; medians.

Called by scripts/bench.d/engine: MEASURE and MILLRACE are the programs, TOOLS the folder with Celery and BullMQ. BENCH_ROUNDS,
BENCH_REDIS_JOBS and BENCH_SECONDS change how much; BENCH_AOF=yes has the server write its log, once a second.
"""
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

HERE, TOOLS = Path(__file__).parent, Path(os.environ["TOOLS"])
ROUNDS, JOBS = int(os.environ.get("BENCH_ROUNDS", "3")), os.environ.get("BENCH_REDIS_JOBS", "20000")
SECONDS = os.environ.get("BENCH_SECONDS", "5")
# They are slower by so much that as many jobs would take minutes.
CELERY_JOBS, JAILED_JOBS = "4000", "3000"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def said(command, **environment):
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended badly: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(redis, *more):
    return said([os.environ["MEASURE"], "engine", "--store", redis, "--seconds", SECONDS, "--data-dir", os.environ["BENCH_DATA"], *more])


def bullmq(redis):
    return said(["node", HERE / "bullmq_noop.mjs", JOBS, SECONDS], REDIS=redis, BULLMQ=str(TOOLS / "bullmq"))


def celery(redis):
    """All tasks are queued before the worker starts; it is ended by its process id."""
    programs, environment = TOOLS / "celery" / "bin", {**os.environ, "REDIS": redis}
    client = [programs / "python", HERE / "celery_noop.py", CELERY_JOBS, SECONDS]
    with subprocess.Popen(client, env=environment, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout.readline() == "queued\n"
        serve = [programs / "celery", "-A", "celery_noop", "worker", "-P", "prefork", "-c", "2", "-l", "error"]
        with subprocess.Popen(serve, cwd=HERE, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
            told = asking.stdout.read()
            worker.terminate()
    return json.loads(told)


def rounds(port):
    redis, found = f"redis://127.0.0.1:{port}", {}
    runs = {
        "ours": lambda: ours(redis, "--jobs", JOBS),
        "bullmq": lambda: bullmq(redis),
        "celery": lambda: celery(redis),
        "jailed": lambda: ours(redis, "--jobs", JAILED_JOBS, "--slots", "4", "--jail", os.environ["MILLRACE"]),
        "alone in 4 slots": lambda: ours(redis, "--jobs", JAILED_JOBS, "--slots", "4"),
    }
    for _ in range(ROUNDS):
        for name, run in runs.items():
            subprocess.run(["redis-cli", "-p", str(port), "flushall"], check=True, stdout=subprocess.DEVNULL)
            found.setdefault(name, []).append(run())
    return {name: {key: median([run[key] for run in runs]) for key in runs[0]} for name, runs in found.items()}


def median(values):
    if isinstance(values[0], dict):
        return {key: statistics.median(value[key] for value in values) for key in values[0]}
    return statistics.median(values)


def rows(found):
    us = found["ours"]

    def beside(what, key, name, aim=""):
        mine, theirs = us[key], found[name][key]
        return f"engine on Redis: {what}, beside {name}", f"{mine:.0f}/s", f"{theirs:.0f}/s", f"{mine / theirs:.1f}x", aim

    def latency(name):
        took = found[name]["latency_ms"]
        return f"p50 {took['p50']:.1f} ms, p99 {took['p99']:.1f} ms"

    yield beside("in, one by one", "single_per_s", "celery")
    yield beside("in, one by one", "single_per_s", "bullmq")
    yield beside("in, in bulk", "bulk_per_s", "bullmq")
    yield beside("through, no jail", "through_per_s", "celery", ">= 25x")
    yield beside("through, no jail", "through_per_s", "bullmq", ">= 1.5x")
    for name in ("celery", "bullmq"):
        yield f"engine on Redis: submit to start at a tenth of that, beside {name}", latency("ours"), latency(name), "", ""
    each = {name: 4e3 / found[name]["through_per_s"] for name in ("jailed", "alone in 4 slots")}
    adds = each["jailed"] - each["alone in 4 slots"]
    yield "engine on Redis: through 4 slots, jailed beside not", *(f"{found[n]['through_per_s']:.0f}/s" for n in each), f"jail adds {adds:.2f} ms", ""


def main():
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), os.environ.get("BENCH_AOF", "no")
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", log, "--dir", folder]
        with subprocess.Popen(["redis-server", *settings], stdout=subprocess.DEVNULL) as server:
            try:
                while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
                    time.sleep(0.05)
                table = list(rows(rounds(port)))
            finally:
                server.terminate()
    for row in table:
        print("  ".join(row).rstrip())
    if results := os.environ.get("BENCH_RESULTS"):
        with open(results, "a", encoding="utf-8") as file:
            # An empty column would be swallowed by `column`.
            file.writelines("\t".join(cell or "-" for cell in row) + "\n" for row in table)


main()
