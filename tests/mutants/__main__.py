"""Run a random sample of mutants, each against the tests that run its line; list the survivors.

It changes only copies of the project in a temporary folder.
"""

import argparse
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import coverage

from tests.mutants.mutations import Mutant, mutants_of

PROJECT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("events", "legacy", "telemetry_site")
SUITE = ["--ignore=tests/browser", "-m", "not needs_npm"]
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".env", "var", "__pycache__", ".*_cache", ".hypothesis", ".coverage*", "node_modules"
)
MIN_KILLED = 0.9
# The time limit of a run, because a mutant may wait forever. It is generous, because other load slows a run.
PATIENCE_SECONDS, PATIENCE_FACTOR = 300, 4


class Suite(NamedTuple):
    """The coverage of the unchanged project.

    `contexts`: the tests or test files that run each line of a module. `seconds`: the duration of each test file.
    """

    contexts: dict[str, dict[int, list[str]]]
    tests: list[str]
    seconds: dict[str, float]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run the statement of a mutant; all tests if the statement runs at import."""
        if not mutant.is_in_function:
            return self.tests
        by_line = self.contexts.get(mutant.path, {})
        contexts = {context for line in mutant.lines for context in by_line.get(line, [])}
        return [test for test in self.tests if test in contexts or file_of(test) in contexts]

    def files_of(self, mutant: Mutant, tests: Iterable[str]) -> list[str]:
        """Return the files of the tests. The files that are likely to fail, and the fast ones, come first."""
        noun = Path(mutant.path).stem
        chosen = Counter(map(file_of, tests))
        whole = Counter(map(file_of, self.tests))
        return sorted(
            chosen, key=lambda file: (noun not in file, -chosen[file] / whole[file], self.seconds.get(file, 0))
        )

    def patience(self, tests: Iterable[str]) -> float:
        files = {file_of(test) for test in tests}
        return PATIENCE_SECONDS + PATIENCE_FACTOR * sum(self.seconds.get(file, 0) for file in files)


class MutantResult(NamedTuple):
    mutant: Mutant
    is_killed: bool
    tests: int
    seconds: float


def file_of(test: str) -> str:
    return test.partition("::")[0]


def copy_project(folder: Path) -> Path:
    return Path(shutil.copytree(PROJECT, folder, ignore=LEFT_OUT))


def environment(number: int) -> dict[str, str]:
    """Return the environment of one of several parallel runs. Each has its own Redis database."""
    known = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CACHE_URL")}
    return known | {"PYTEST_XDIST_WORKER": f"gw{number}"}


def measure(project: Path, tests: list[str]) -> Suite:
    """Run the tests, or all of them, on the unchanged project; raises SystemExit if one fails."""
    report = project.parent / "report.xml"
    command = ["-m", "coverage", "run", "-m", "pytest", "-q", "-n", "auto"]
    command += ["-p", "tests.mutants.contexts", f"--junitxml={report}", *SUITE, *tests]
    known = {name: value for name, value in environment(0).items() if name != "PYTEST_XDIST_WORKER"}
    if subprocess.run([sys.executable, *command], cwd=project, env=known, check=False).returncode:
        raise SystemExit("mutants: a test fails without any mutant")
    subprocess.run([sys.executable, "-m", "coverage", "combine", "--quiet"], cwd=project, check=True)
    data = coverage.CoverageData(str(project / ".coverage"))
    data.read()
    contexts = {str(Path(file).relative_to(project)): data.contexts_by_lineno(file) for file in data.measured_files()}
    seconds: dict[str, float] = defaultdict(float)
    for case in ET.parse(report).iter("testcase"):
        seconds[case.attrib["classname"].replace(".", "/") + ".py"] += float(case.attrib["time"])
    tests = sorted(context for context in data.measured_contexts() if "::" in context)
    return Suite(contexts, tests, seconds)


def sources(project: Path, only: list[str]) -> dict[str, bytes]:
    files = [
        file for package in PACKAGES for file in (project / package).rglob("*.py") if "migrations" not in file.parts
    ]
    named = {str(file.relative_to(project)): file for file in sorted(files)}
    return {path: file.read_bytes() for path, file in named.items() if not only or path.startswith(tuple(only))}


def run(mutant: Mutant, source: bytes, suite: Suite, project: Path, number: int) -> MutantResult:
    """Run the tests of one mutant in a copy of the project, and restore the copy."""
    started = time.monotonic()
    tests = suite.tests_of(mutant)
    if not tests:
        return MutantResult(mutant, False, 0, 0)
    chosen = project.parent / f"tests-{number}.txt"
    chosen.write_text("\n".join(tests), encoding="utf-8")
    command = ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "tests.mutants.selection"]
    file = project / mutant.path
    original = file.stat()
    file.write_bytes(mutant.apply(source))
    try:
        status = _status(
            [sys.executable, *command, *suite.files_of(mutant, tests)],
            project,
            environment(number) | {"MUTANT_TESTS": str(chosen)},
            suite.patience(tests),
        )
    finally:
        file.write_bytes(source)
        os.utime(file, ns=(original.st_atime_ns, original.st_mtime_ns))
    if status == 5:
        raise AssertionError(f"no test was found for {mutant}")
    return MutantResult(mutant, status != 0, len(tests), time.monotonic() - started)


def _status(command: list[str], project: Path, env: dict[str, str], patience: float) -> int:
    with subprocess.Popen(
        command, cwd=project, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            return process.wait(patience)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--seed", type=int, help="the seed of an earlier sample, to repeat it")
    parser.add_argument("--count", type=int, default=60, help="the number of mutants")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="the number of parallel runs")
    parser.add_argument("--tests", action="append", default=[], help="a test file (default: all)")
    parser.add_argument("paths", nargs="*", help="only mutants of modules whose path begins with this")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="telemetry-mutants-") as folder:
        copies = [copy_project(Path(folder) / f"copy-{number}") for number in range(options.jobs)]
        originals = sources(copies[0], options.paths)
        all_mutants = [mutant for path, source in originals.items() for mutant in mutants_of(path, source)]
        sample = random.Random(seed).sample(all_mutants, min(options.count, len(all_mutants)))
        print(f"mutants: {len(sample)} of {len(all_mutants)}, SEED={seed}", flush=True)
        suite = measure(copies[0], options.tests)
        free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(options.jobs):
            free.put(number)

        def try_one(mutant: Mutant) -> MutantResult:
            number = free.get()
            try:
                return run(mutant, originals[mutant.path], suite, copies[number], number)
            finally:
                free.put(number)

        with ThreadPoolExecutor(options.jobs) as pool:
            results = []
            for result in pool.map(try_one, sample):
                results.append(result)
                verdict = "killed" if result.is_killed else "SURVIVED"
                place = f"{result.mutant.path}:{result.mutant.line}"
                print(f"{verdict:<8}  {place}  ({result.tests} tests, {result.seconds:.0f} s)", flush=True)
    return report(results, originals, seed)


def report(results: list[MutantResult], originals: dict[str, bytes], seed: int) -> int:
    survivors = [result.mutant for result in results if not result.is_killed]
    killed = len(results) - len(survivors)
    if survivors:
        print("\nNo test noticed:")
    for mutant in survivors:
        print(mutant.describe(originals[mutant.path]))
    print(f"\nmutants: {killed} of {len(results)} killed ({killed / len(results):.0%}), SEED={seed}")
    return 0 if killed >= MIN_KILLED * len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
