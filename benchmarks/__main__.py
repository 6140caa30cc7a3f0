"""Run the benchmarks and print their tables: `make bench`, or some of them: `make bench ARGS="pages"`."""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import rates, servers

SECTIONS = ("rates", "pages")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], help="which of them (default: all)")
    parser.add_argument("--rounds", type=int, default=rates.ROUNDS, help="how often each rate is measured")
    parser.add_argument("--events", type=int, default=1_000_000, help="how many made-up events the pages stand on")
    asked = parser.parse_args()
    sections = asked.sections or SECTIONS
    if "rates" in sections and shutil.which("wrk") is None:
        sys.exit("wrk is missing. On Debian: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="telemetry-bench-") as name:
        folder = Path(name)
        print(f"Python {platform.python_version()}, {platform.machine()}", end=", ")
        print(f"durable commits of the disk: {rates.durable_commits_per_second(folder):,.0f}/s", flush=True)
        if "rates" in sections:
            print(f"\n## Requests a second\n\n{rates.run(folder, rounds=asked.rounds)}", flush=True)
        if "pages" in sections:
            print("\n## Pages of the admin\n", flush=True)
            _measure_pages(folder / "pages", asked.events)


def _measure_pages(folder: Path, events: int) -> None:
    folder.mkdir()
    begun_at = time.monotonic()
    _run(folder, "manage.py", "migrate", "--verbosity=0")
    _run(folder, "manage.py", "demo_data", f"--events={events}", "--days=90", "--seed=7")
    print(f"made in {time.monotonic() - begun_at:.0f} s\n", flush=True)
    _run(folder, "-m", "benchmarks.pages")


def _run(folder: Path, *command: str) -> None:
    env = servers.environment(folder)
    subprocess.run([sys.executable, *command], cwd=servers.PROJECT_DIR, env=env, check=True, stderr=subprocess.DEVNULL)


main()
