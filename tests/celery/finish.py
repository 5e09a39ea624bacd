"""The script that ends a task, on a server of its own: all of it or nothing, also where results are in another database."""
import os
import pathlib

import redis

import harness

SCRIPTS = pathlib.Path(__file__).parents[2] / "src/celery"
broker, results = redis.Redis.from_url(os.environ["BROKER"]), redis.Redis.from_url(os.environ["BACKEND"])
script = broker.register_script("".join((SCRIPTS / name).read_text() for name in ("write.lua", "finish.lua")))
CHORD = [f"group{part}" for part in (".j", ".t", ".s", ".d", ".c")]
SUCCESS, FAILURE = '{"status":"SUCCESS","result":1}', '{"status":"FAILURE"}'


def take(tag):
    broker.hset("unacked", tag, "message")
    broker.zadd("unacked_index", {tag: 1})
    broker.sadd("tags", tag)


def end(tag, document=SUCCESS, made_of=0, part=None, documents=(), chords=(), pushes=()):
    keys = ["unacked", "unacked_index", "tags", f"meta-{tag}", *(CHORD if part else []), *(key for key, _ in documents)]
    keys += [key for group, _ in chords for key in (f"{group}.s", f"{group}.c")] + [queue for queue, _ in pushes]
    arguments = [tag, 0, 1, 100, document, len(documents), len(chords), made_of, *(part or ("", "", ""))]
    return script(keys=keys, args=arguments + [text for _, text in documents] + [size for _, size in chords] + [message for _, message in pushes])


def check_all_of_it():
    take("a")
    assert end("a", documents=[("later", FAILURE)], chords=[("new", 3)], pushes=[("one", "m1"), ("two", "m2")]) == [b"ended"]
    assert broker.lrange("one", 0, -1) == [b"m1"] and broker.llen("two") == 1 and not broker.exists("unacked", "unacked_index", "tags")
    assert results.get("meta-a") == SUCCESS.encode() and results.get("later") and results.get("new.s") == b"3" and 0 < results.ttl("meta-a") <= 100
    assert not broker.exists("meta-a", "later", "new.s")


def check_nothing_follows_from_what_is_not_ours():
    assert end("a", document=FAILURE, pushes=[("one", "again")]) == [b"lost"]
    assert broker.llen("one") == 1 and results.get("meta-a") == SUCCESS.encode()


def check_a_chord_and_its_body_are_one_step():
    results.set("group.s", 3)
    for tag, place in (("first", 0), ("third", 2)):
        take(tag)
        assert end(tag, part=(f"{tag}:{place}", place, tag)) == [b"ended"]
    take("second")
    last = ("second:1", 1, "second")
    # Asked for the body, in order, with nothing done.
    assert end("second", part=last) == [b"complete", b"first", b"second", b"third"]
    assert end("second", made_of=2, part=last, pushes=[("bodies", "of too few")])[0] == b"complete"
    assert results.zcard("group.j") == 2 and broker.hexists("unacked", "second") and not results.exists("meta-second")
    assert end("second", made_of=3, part=last, pushes=[("bodies", "body")]) == [b"ended"]
    assert broker.lrange("bodies", 0, -1) == [b"body"] and results.get("group.c") == b"done" and not results.exists(*CHORD[:4])
    # Told again, as after a lost answer.
    take("second")
    assert end("second", made_of=3, part=last, pushes=[("bodies", "body")]) == [b"changed"] and broker.hexists("unacked", "second")
    assert end("second", part=last) == [b"ended"] and broker.llen("bodies") == 1


def check_a_chord_that_a_python_worker_has_claimed_is_left_to_it():
    results.delete(*CHORD)
    results.set("group.s", 1)
    results.set("group.c", "somebody's token")
    take("only")
    assert end("only", part=("only:0", 0, "part")) == [b"busy"] and broker.hexists("unacked", "only")
    results.delete("group.c")
    # A part that was there before counts once.
    results.sadd("group.d", "only:0")
    results.zadd("group.j", {"part": 0})
    assert end("only", part=("only:0", 0, "the same part")) == [b"complete", b"part"]


harness.run(globals())
