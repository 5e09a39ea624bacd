"""Runs the checks of a script, each a function whose name begins with `check_`, and waits for things with a deadline."""
import sys
import time
import traceback

DEADLINE_S = 60


def until(wanted, what, within=DEADLINE_S):
    """What `wanted` returns once that is true."""
    deadline = time.monotonic() + within
    while True:
        value = wanted()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} comes true in time"
        time.sleep(0.05)


def run(names):
    """Ends the process with 1 when a check failed."""
    failed = 0
    for name, check in list(names.items()):
        if not name.startswith("check_") or (len(sys.argv) > 1 and name not in sys.argv[1:]):
            continue
        begun = time.monotonic()
        try:
            check()
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except BaseException:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
    sys.exit(1 if failed else 0)
