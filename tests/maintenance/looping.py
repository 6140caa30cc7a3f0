"""A process that runs jobs of its own, for test_jobs: `python -m tests.maintenance.looping FOLDER [--once]`.

Its intervals are short. Each job writes one line into the file of its name when it starts.
"""

import os
import signal
import sys
import time
from pathlib import Path

import django


def main(folder: Path, *, once: bool) -> None:
    django.setup()
    from django.db import connection

    from events.maintenance.jobs.loop import Ended, JobLoop
    from events.maintenance.jobs.registry import Job, JobFailed
    from events.maintenance.jobs.schedules import Every

    connection.settings_dict.get("OPTIONS", {}).pop("pool", None)

    def start(name: str) -> int:
        """Return how many runs have started."""
        with (folder / name).open("a") as file:
            file.write(f"{os.getpid()}\n")
        return len((folder / name).read_text().splitlines())

    def succeed() -> str:
        start("succeed")
        return "Done."

    def fail() -> str:
        start("fail")
        raise JobFailed("It is broken. Repair it.")

    def crash() -> str:
        start("crash")
        raise ValueError("not\0stored\ud800" + "x" * 5_000)

    def die() -> str:
        start("die")
        os.kill(os.getpid(), signal.SIGKILL)
        return ""

    def hang() -> str:
        start("hang")
        time.sleep(600)
        return ""

    def wait_first() -> str:
        if start("wait") == 1:
            time.sleep(600)
        return "Run again."

    works = {"hang": hang, "succeed": succeed, "fail": fail, "crash": crash, "die": die, "wait": wait_first}
    names = os.environ["JOBS"].split()
    jobs = {name: Job(name, name, Every(60), works[name], limit_minutes=1) for name in names}
    if "hang" in jobs:
        jobs["hang"] = jobs["hang"]._replace(limit_minutes=2 / 60)  # type: ignore[arg-type]

    def report(ended: Ended) -> None:
        print(ended.job.name, ended.outcome.value, ended.is_recorded, flush=True)  # noqa: T201

    loop = JobLoop(lambda: jobs, report, poll_seconds=0.1, beat_seconds=0.2, stale_seconds=2, patience_seconds=0.5)
    if once:
        loop.run_once()
    else:
        loop.run(sys.stdin.fileno())


if __name__ == "__main__":
    main(Path(sys.argv[1]), once="--once" in sys.argv)
