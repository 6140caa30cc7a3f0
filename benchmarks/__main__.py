"""Run the benchmarks and print their tables. `make bench` runs all, `make bench ARGS="pages"` only one."""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import exports, growth, rates, servers, unattended

SECTIONS = ("rates", "postgres", "growth", "exports", "pages", "unattended")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help="the benchmarks to run (default: all)")
    parser.add_argument("--rounds", type=int, default=rates.ROUNDS, help="the number of measurements of each rate")
    parser.add_argument("--events", type=int, default=1_000_000, help="the number of events, except for `rates`")
    parser.add_argument(
        "--python", metavar="PATH", action="append", default=[], help="another Python that `rates` measures too"
    )
    parser.add_argument(
        "--beside", metavar="CHECKOUT", type=Path, action="append", default=[],
        help="another checkout that `rates` measures too; prints the ratio of this checkout's rates to its rates",
    )  # fmt: skip
    parser.add_argument("--postgres", metavar="URL", help="a server on which `postgres` creates a database")
    parser.add_argument(
        "--redis", metavar="URL", default="", help="the Redis server of the rate limits, for `postgres`"
    )
    options = parser.parse_args()
    sections = options.sections or [name for name in SECTIONS if name != "postgres" or options.postgres]
    if "postgres" in sections and not options.postgres:
        parser.error("`postgres` requires --postgres")
    if {"rates", "postgres", "growth", "exports", "unattended"} & set(sections) and shutil.which("wrk") is None:
        sys.exit("wrk is missing. On Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        folder = Path(name)
        print(f"Python {platform.python_version()}, {platform.machine()}", end=", ")
        print(f"durable commits of the disk: {rates.durable_commits_per_second(folder):,.0f}/s", flush=True)
        if "rates" in sections:
            subjects = [rates.Subject()]
            subjects += [
                rates.Subject(servers.with_requirements(python, folder / f"venv{at}"))
                for at, python in enumerate(options.python)
            ]
            subjects += [rates.Subject(checkout=checkout.resolve()) for checkout in options.beside]
            for subject, tables in zip(
                subjects, rates.run(folder, rounds=options.rounds, subjects=subjects), strict=True
            ):
                version = subprocess.run(
                    [subject.python, "--version"], capture_output=True, text=True, check=True
                ).stdout.strip()
                where = "" if subject.checkout == servers.PROJECT_DIR else f", the checkout {subject.checkout.name}"
                print(f"\n## Requests a second, {version}{where}\n\n{tables}", flush=True)
        if "postgres" in sections:
            for workers in ("1", "2"):
                with servers.postgres_database(options.postgres) as url:
                    env = {"DATABASE_URL": url, "CACHE_URL": options.redis, "WORKERS": workers}
                    (tables,) = rates.run(folder / workers, works=rates.ON_POSTGRES, rounds=options.rounds, **env)
                print(f"\n## PostgreSQL, WORKERS={workers}\n\n{tables}", flush=True)
        if "growth" in sections:
            print("\n## Growth\n", flush=True)
            for line in growth.through_http(folder, options.events):
                print(f"- {line}", flush=True)
        if {"exports", "pages"} & set(sections):
            _create_demo_events(folder / "pages", options.events)
        if "exports" in sections:
            print("\n## Exports\n", flush=True)
            for line in exports.run(folder / "pages", options.events):
                print(line, flush=True)
        if "pages" in sections:
            print("\n## Pages of the admin\n", flush=True)
            _run(folder / "pages", "-m", "benchmarks.pages")
        if "unattended" in sections:
            unattended.prepare(folder / "unattended", options.events)
            for job in unattended.JOBS:
                print(f"\n## Ingest beside the job {job}\n", flush=True)
                for line in unattended.beside_ingest(folder / "unattended", job, options.rounds):
                    print(line, flush=True)


def _create_demo_events(folder: Path, events: int) -> None:
    folder.mkdir()
    begun_at = time.monotonic()
    _run(folder, "manage.py", "migrate", "--verbosity=0")
    _run(folder, "manage.py", "demo_data", f"--events={events}", "--days=90", "--seed=7")
    print(f"- {events:,} demo events created in {time.monotonic() - begun_at:.0f} s", flush=True)


def _run(folder: Path, *command: str) -> None:
    env = servers.environment(folder)
    subprocess.run([sys.executable, *command], cwd=servers.PROJECT_DIR, env=env, check=True, stderr=subprocess.DEVNULL)


main()
