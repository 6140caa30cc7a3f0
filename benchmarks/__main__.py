"""Run the benchmarks and print their tables: `make bench`, or some of them: `make bench ARGS="pages"`."""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import growth, rates, servers

SECTIONS = ("rates", "postgres", "growth", "pages")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help="which of them (default: all)")
    parser.add_argument("--rounds", type=int, default=rates.ROUNDS, help="how often each rate is measured")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events growth and pages stand on")
    parser.add_argument(
        "--python", metavar="PATH", action="append", default=[], help="another Python, beside this one, for `rates`"
    )
    parser.add_argument(
        "--beside", metavar="CHECKOUT", type=Path, action="append", default=[],
        help="another checkout of this project, in the same rounds: `rates` prints how many times its rates these are",
    )  # fmt: skip
    parser.add_argument("--postgres", metavar="URL", help="a server on which a database may be made, for `postgres`")
    parser.add_argument("--redis", metavar="URL", default="", help="the limiter's memory, for `postgres`")
    asked = parser.parse_args()
    sections = asked.sections or [name for name in SECTIONS if name != "postgres" or asked.postgres]
    if "postgres" in sections and not asked.postgres:
        parser.error("`postgres` wants --postgres")
    if {"rates", "postgres", "growth"} & set(sections) and shutil.which("wrk") is None:
        sys.exit("wrk is missing. On Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        folder = Path(name)
        print(f"Python {platform.python_version()}, {platform.machine()}", end=", ")
        print(f"durable commits of the disk: {rates.durable_commits_per_second(folder):,.0f}/s", flush=True)
        if "rates" in sections:
            subjects = [rates.Subject()]
            subjects += [
                rates.Subject(servers.with_requirements(python, folder / f"venv{at}"))
                for at, python in enumerate(asked.python)
            ]
            subjects += [rates.Subject(checkout=checkout.resolve()) for checkout in asked.beside]
            for subject, found in zip(subjects, rates.run(folder, rounds=asked.rounds, subjects=subjects), strict=True):
                version = subprocess.run(
                    [subject.python, "--version"], capture_output=True, text=True, check=True
                ).stdout.strip()
                where = "" if subject.checkout == servers.PROJECT_DIR else f", the checkout {subject.checkout.name}"
                print(f"\n## Requests a second, {version}{where}\n\n{found}", flush=True)
        if "postgres" in sections:
            for workers in ("1", "2"):
                with servers.postgres_database(asked.postgres) as url:
                    env = {"DATABASE_URL": url, "CACHE_URL": asked.redis, "WORKERS": workers}
                    (found,) = rates.run(folder / workers, works=rates.ON_POSTGRES, rounds=asked.rounds, **env)
                print(f"\n## PostgreSQL, WORKERS={workers}\n\n{found}", flush=True)
        if "growth" in sections:
            print("\n## As it grows\n", flush=True)
            for line in growth.through_http(folder, asked.events):
                print(f"- {line}", flush=True)
        if {"growth", "pages"} & set(sections):
            _make_up(folder / "pages", asked.events)
        if "growth" in sections:
            for line in growth.export(folder / "pages", asked.events):
                print(f"- {line}", flush=True)
        if "pages" in sections:
            print("\n## Pages of the admin\n", flush=True)
            _run(folder / "pages", "-m", "benchmarks.pages")


def _make_up(folder: Path, events: int) -> None:
    folder.mkdir()
    begun_at = time.monotonic()
    _run(folder, "manage.py", "migrate", "--verbosity=0")
    _run(folder, "manage.py", "demo_data", f"--events={events}", "--days=90", "--seed=7")
    print(f"- {events:,} events made up in {time.monotonic() - begun_at:.0f} s", flush=True)


def _run(folder: Path, *command: str) -> None:
    env = servers.environment(folder)
    subprocess.run([sys.executable, *command], cwd=servers.PROJECT_DIR, env=env, check=True, stderr=subprocess.DEVNULL)


main()
