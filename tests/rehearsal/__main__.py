"""Executes docs/legacy-migration.md in a browser: `make rehearsal`, in CI with `--short`.

It compares the executed commands with those of the page. It fails if a command is missing on either side, or if the
order differs.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.postgres import own_postgres
from tests.fixtures.phases import AFTER_NEWEST, AFTER_OLDEST, DUAL_WRITING, NEWEST, OLDEST
from tests.rehearsal.world import (
    MOVES_FROM_NEWEST,
    MOVES_FROM_OLDEST,
    STAYS_NEWEST,
    Rehearsal,
    prepared,
)
from tests.servers import PROJECT_DIR

PAGE = PROJECT_DIR / "docs/legacy-migration.md"
PARITY_DAYS = 7


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rehearsal", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rows and visits, as CI runs it")
    is_short = parser.parse_args().short
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the PostgreSQL server runs as another user
        rows, times = (300, 1) if is_short else (3_000, 6)
        with prepared(folder, rows=rows) as world, own_postgres(folder) as postgres:
            with world.poller.polling():
                play(world, postgres.url, rows=rows, times=times)
            faults = report(world, postgres.url)
    faults += undocumented(world.commands)
    for fault in faults:
        say(f"FAULT: {fault}")
    words = "Failed." if faults else "Passed: lost 0, duplicated 0, count drops 0."
    say(f"{world.kills} kills, {time.monotonic() - began:.0f} s. {words}")
    return bool(faults)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def play(world: Rehearsal, postgres_url: str, *, rows: int, times: int) -> None:
    say("... phase 0: this site is installed; clients still use the old Workers")
    world.set_clock(PARITY_DAYS + 1)
    world.start()
    assert world.server.get("/health/ready")[0] == 200
    world.visit(MOVES_FROM_OLDEST, OLDEST, "0 and 1", times=times)
    world.visit(MOVES_FROM_NEWEST, NEWEST, "0 and 1", times=times)
    world.visit("stays on 19afc18", DUAL_WRITING, "0 and 1", times=times)
    world.ledger.end_phase("0: the old Workers")

    say("... phase 1: export and import; the new build uses the old Workers")
    expected = world.command("import_d1", "--dry-run", str(world.export()))
    imported = world.command("import_d1", str(world.export()))
    assert figures_of(expected) == figures_of(imported), f"{expected}\n{imported}"
    world.everybody_visits("0 and 1", times=times)
    world.ledger.end_phase("1: import, new build")

    say("... phase 2: the last export, the counter's number, and the old addresses lead to this site")
    world.fill(rows)
    for after_seconds in (0.7, 0.9, 1.1, 1.4):
        world.kill_command(after_seconds, "import_d1", str(world.export()))
    world.command("import_d1", str(world.export()))
    number = str(world.counter_worker.count)
    world.command("set_baseline", number, "--note", "the counter Worker's last number")
    world.lead_old_addresses_here()
    world.command("import_d1", str(world.export()))
    for days_ago in range(PARITY_DAYS, 0, -1):
        world.restart(days_ago)
        world.everybody_visits("2", times=times, is_killed=days_ago % 3 == 0)
        world.command("check_parity")
    world.restart()
    world.command("check_parity")
    world.ledger.end_phase("2: dual write, 7 days")

    say("... phase 2, rollbacks: the flag off; the two old modules restored")
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "2, flag off", times=times, is_killed=True)
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "2, flag off", times=times)
    world.visit(MOVES_FROM_NEWEST, NEWEST, "2", times=times)
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "2", times=times)
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "2", times=times)
    world.command("check_parity", "--days", "3", codes=(0, 1))  # 1: with the flag off, `/event` gets no failure
    world.command("check_parity", "--days", "3", "--repair", codes=(0, 1))
    world.ledger.end_phase("2: rollbacks")

    say("... phase 3: alias, back to separate, and alias again")
    world.kill_command(1.0, "legacy_mode", "alias")
    world.switch("alias", "parity is proven")
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "3, build of 2", times=times, is_killed=True)
    world.everybody_visits("3", times=times, is_killed=True)
    world.ledger.end_phase("3: alias")
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "3, build of 2", times=times)
    world.switch("separate", "trying the way back")
    world.everybody_visits("2", times=times, is_killed=True)
    world.ledger.end_phase("3: back in separate")
    world.kill_command(1.2, "legacy_mode", "alias")
    world.switch("alias", "forward again")
    world.everybody_visits("3", times=times)
    world.ledger.end_phase("3: forward in alias")

    say("... phase 4: gone, back to alias, gone again, and the old tables are dropped")
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "3, build of 4", times=times)
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "4", times=times)
    world.switch("gone", "everybody has the new build")
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "4", times=times, is_killed=True)
    world.visit(STAYS_NEWEST, NEWEST, "4", times=times)
    world.ledger.end_phase("4: gone")
    world.switch("alias", "somebody still needs the old routes")
    world.everybody_visits("3", new="4", times=times)
    world.ledger.end_phase("4: back in alias")
    world.switch("gone", "nobody needs the old routes")
    world.kill_command(1.0, "drop_legacy")
    world.command("drop_legacy", codes=(0, 1))  # 1: the killed command had dropped them
    assert "client_logs" not in world.tables()
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "4", times=times, is_killed=True)
    world.ledger.end_phase("4: old tables dropped")

    say("... migration to PostgreSQL")
    world.server.stop()
    world.server.env["DATABASE_URL"] = postgres_url
    world.command("migrate")
    world.kill_command(1.0, "copy_sqlite")
    world.command("copy_sqlite", codes=(0, 1))  # 1: the killed command had copied everything, which the report proves
    world.start()
    world.visit(MOVES_FROM_NEWEST, AFTER_NEWEST, "4", times=times, is_killed=True)
    world.visit(MOVES_FROM_OLDEST, AFTER_OLDEST, "4", times=times)
    world.settle()
    world.ledger.end_phase("PostgreSQL")


def figures_of(report: str) -> list[str]:
    """Return the lines of an import's report that count rows of the export."""
    return [line for line in report.splitlines() if line.startswith("  ")]


def report(world: Rehearsal, postgres_url: str) -> list[str]:
    """Print the tables; return the faults."""
    faults = []
    stored = world.stored(postgres_url)
    results = world.ledger.results(stored, world.counter_worker.server_port)
    say(f"\n{'phase':28} {'requests':>9} {'acknowledged':>13} {'lost':>5} {'duplicated':>11}")
    for name, result in results:
        figures = result.requests, result.acknowledged, len(result.lost), len(result.duplicated)
        say(f"{name:28} {figures[0]:9,} {figures[1]:13,} {figures[2]:5} {figures[3]:11}")
        faults += [f"{name}: lost {text}" for text in result.lost[:5]]
        faults += [f"{name}: duplicated {text}" for text in result.duplicated[:5]]
    say(f"\n{'count':40} {'reads':>7} {'newest':>7} {'drops':>6}")
    for name, series in [*world.poller.by_endpoint.items(), *world.poller.by_badge.items()]:
        say(f"{name:40} {series.reads:7,} {series.newest or 0:7,} {series.drops:6}")
        if series.drops or not series.reads:
            faults.append(f"{name}: {series.drops} drops in {series.reads} reads")
    lost = [
        name
        for name, is_in_old_counter in world.reported
        if not stored.messages[name] or not (is_in_old_counter or stored.sessions[name])
    ]
    say(f"\nThe new builds reported {2 * len(world.reported):,} events, acknowledged or not; lost {len(lost)}.")
    faults += [f"reported by a new build and lost: {name}" for name in lost[:5]]
    total = json.loads(world.server.get("/metrics/flash-count")[1])["total"]
    counted = world.counter_worker.count
    expected = counted + len(stored.sessions)
    say(f"The public count is {total:,}: {counted:,} of the old counter, and {len(stored.sessions):,} stored.\n")
    if total != expected or max(stored.sessions.values()) > 1 or max(stored.messages.values()) > 1:
        faults.append(f"the count is {total} instead of {expected}, or something is stored twice")
    return faults


def undocumented(executed: list[str]) -> list[str]:
    """Return the differences between the executed commands and the commands of the page."""
    text = PAGE.read_text(encoding="utf-8")
    phases = text[text.index("## Phase 0") : text.index("## What an import keeps")]
    documented = [
        _shape(line) for line in re.findall(r"^ *(?:\$ )?\.venv/bin/python manage\.py ([^|\n]+)", phases, re.MULTILINE)
    ]
    shapes = [_shape(command) for command in executed]
    missing = iter(shapes)
    faults = [f"documented, but not executed in this order: {shape}" for shape in documented if shape not in missing]
    return faults + [
        f"executed, but not documented: {shape}" for shape in dict.fromkeys(shapes) if shape not in documented
    ]


def _shape(command: str) -> str:
    """Return a command with placeholders for reasons and numbers."""
    return re.sub(r"(?<=set_baseline )\d+", "N", re.sub(r'"[^"]*"', '"…"', command)).strip()


if __name__ == "__main__":
    sys.exit(main())
