"""Submit one task to Bulkhead from Python and wait for its result."""

import argparse
import pathlib
import sys
import time
import uuid

import msgpack
import redis

HERE = pathlib.Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "host/queue/src/redis/scripts"
# The files that make the submit script, in order.
LIBRARY = [f"library/{part}" for part in ("records", "limits", "ends", "store")]
PARTS = ["prelude", *LIBRARY, "submit"]


class Producer:
    """Submits to one queue of one namespace."""

    def __init__(self, client, scripts, queue="default", namespace="bulkhead"):
        self.client = client
        self.prefix = f"{{{namespace}:{queue}}}"
        parts = [(scripts / f"{part}.lua").read_text() for part in PARTS]
        # EVALSHA, and the whole script where the server does not know it yet.
        self.script = client.register_script("\n".join(parts))
        client.sadd(f"{namespace}:queues", queue)

    def submit(self, task_type, data, content_type="text/plain", tenant="default", priority=50):
        """Store a task and return its id."""
        task_id = str(uuid.uuid4())
        now_ms = int(time.time() * 1000)
        head = [1, task_type, tenant, priority]
        envelope = [now_ms, content_type, data, [], None, None, None]
        record = msgpack.packb(head) + msgpack.packb(envelope, use_bin_type=True)
        [answer] = self.script(
            keys=[self.prefix], args=[task_id, record, task_type, tenant, priority, 0]
        )
        # 0: known. The id is fresh, so an earlier try of this call has stored it.
        if answer not in (0, 1):
            raise RuntimeError(f"not accepted: {answer}")
        return task_id

    def wait(self, task_id, timeout_s):
        """The task's last entry once it has ended, or None."""
        deadline = time.monotonic() + timeout_s
        with self.client.pubsub() as pubsub:
            # Listen first, then ask to be told, then look: no end is missed.
            pubsub.subscribe(f"{self.prefix}:done")
            self.client.sadd(f"{self.prefix}:waiters", task_id)
            try:
                while True:
                    entry = self.last_entry(task_id)
                    if has_ended(entry):
                        return entry
                    left = deadline - time.monotonic()
                    if left <= 0:
                        return None
                    pubsub.get_message(timeout=min(left, 5))
            finally:
                self.client.srem(f"{self.prefix}:waiters", task_id)

    def last_entry(self, task_id):
        """What happened to the task last: a map with one key, or None."""
        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=256 << 20)
        unpacker.feed(self.client.get(f"{self.prefix}:task:{task_id}") or b"")
        values = list(unpacker)
        return values[-1] if len(values) > 2 else None


def has_ended(entry):
    """E: an attempt ended; C: cancelled; X: expired; D: a parent failed."""
    if entry is None:
        return False
    if "E" in entry:
        return entry["E"][0] != "r"
    return any(kind in entry for kind in "CXD")


def output_of(entry):
    """The handler's output, or an error that says why there is none."""
    if "E" not in entry:
        raise RuntimeError(f"the task ended without an attempt: {entry}")
    outcome = entry["E"][1][7]
    if "Done" not in outcome:
        raise RuntimeError(f"the task failed: {outcome['Failed'][1]}")
    return outcome["Done"][1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text")
    parser.add_argument("--type", required=True)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    parser.add_argument("--queue", default="default")
    parser.add_argument("--scripts", type=pathlib.Path, default=SCRIPTS)
    parser.add_argument("--timeout", type=float, default=30, help="seconds")
    args = parser.parse_args()

    # A call whose answer is lost is repeated with the same id, so there is one task.
    client = redis.Redis.from_url(args.redis)
    producer = Producer(client, args.scripts, args.queue)
    task_id = producer.submit(args.type, args.text.encode())
    print(f"submitted {task_id}", file=sys.stderr)
    entry = producer.wait(task_id, args.timeout)
    if entry is None:
        sys.exit(f"{task_id} has not ended within {args.timeout} s")
    print(output_of(entry).decode())


if __name__ == "__main__":
    main()
