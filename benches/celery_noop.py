"""No-op tasks through Celery: its own pace for scripts/bench engine. REDIS is the server, its databases 1 and 2 are used."""
import json
import os
import statistics
import sys
import time

from celery import Celery

server = os.environ["REDIS"]
app = Celery("noop", broker=f"{server}/1", backend=f"{server}/2")
app.conf.update(worker_send_task_events=False, broker_connection_retry_on_startup=True)


@app.task(name="noop")
def noop(sent):
    return time.time() - sent


def done():
    return app.backend.client.dbsize()


def until(count):
    while done() < count:
        time.sleep(0.02)


if __name__ == "__main__":
    jobs, seconds = int(sys.argv[1]), float(sys.argv[2])
    begun = time.perf_counter()
    for _ in range(jobs):
        noop.delay(time.time())
    single = jobs / (time.perf_counter() - begun)
    print("queued", flush=True)  # The worker is started now.
    until(1)
    first, begun = done(), time.perf_counter()
    until(jobs)
    through = (jobs - first) / (time.perf_counter() - begun)
    app.backend.client.flushdb()
    pace = 0.1 * through
    begun, results = time.perf_counter(), []
    for n in range(int(pace * seconds)):
        time.sleep(max(0, begun + n / pace - time.perf_counter()))
        results.append(noop.delay(time.time()))
    took = sorted(result.get() * 1e3 for result in results)
    p50, p99 = statistics.median(took), took[int(0.99 * (len(took) - 1))]
    print(json.dumps({"single_per_s": single, "through_per_s": through, "latency_ms": {"p50": p50, "p99": p99}}))
