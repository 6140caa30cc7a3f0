"""`.ci/commits.py`: the form of a commit message."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PROJECT_DIR

CHECK = PROJECT_DIR / ".ci/commits.py"
FORM = "The subject must read `area: imperative subject`, without a full stop."


def check(*arguments: str, folder: Path = PROJECT_DIR) -> tuple[int, list[str]]:
    run = subprocess.run([sys.executable, CHECK, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    return run.returncode, [line.strip() for line in run.stdout.splitlines()]


@pytest.mark.parametrize(
    ("message", "faults"),
    [
        ("admin: keep the cursor when a filter changes\n\nThe list began again at its first page.\n", []),
        ("docs, tests: embed the picture\n\nWhy.\n\nCo-authored-by: Someone <someone@example.org>\n", []),
        ("ci: bring back the cache\n\nWhy.\n# Please enter the commit message\n", []),
        ("Merge branch 'admin'\n", []),
        ('Revert "admin: keep the cursor"\n', []),
        (f"admin: keep {'x' * 60}\n\nWhy.\n", []),
        (f"admin: keep {'x' * 61}\n\nWhy.\n", ["The subject has 73 characters; at most 72 are allowed."]),
        ("Keep the cursor\n\nWhy.\n", [FORM]),
        ("admin: keep the cursor.\n\nWhy.\n", [FORM]),
        ("admin: keep the cursor\n", ["The body is missing: say why."]),
        ("admin: keep the cursor\n\n# Please enter the commit message\n", ["The body is missing: say why."]),
        ("admin: keep the cursor\nWhy.\n", ["An empty line must follow the subject."]),
        *(
            (
                f"admin: {verb} the cursor\n\nWhy.\n",
                [f"The subject must be imperative (`add`, not `adds`, `added` or `adding`): `{verb}`."],
            )
            for verb in ("keeps", "moved", "keeping", "fixes")
        ),
        *((f"admin: {verb} the cursor\n\nWhy.\n", []) for verb in ("need", "pass", "focus", "speed")),
    ],
)
def test_a_message_has_its_form(tmp_path: Path, message: str, faults: list[str]) -> None:
    file = tmp_path / "COMMIT_EDITMSG"
    file.write_text(message, encoding="utf-8")
    status, lines = check("--file", str(file))
    assert (status, lines[1:-1]) == (1 if faults else 0, faults)
    assert lines[-1] == f"commits: 1 checked, {1 if faults else 0} to rewrite."


@pytest.mark.needs_git
@pytest.mark.needs_git
def test_only_the_commits_of_the_range_are_checked(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=someone", "-c", "user.email=someone@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    git("commit", "--allow-empty", "-m", "Old commits stay as they are")
    git("switch", "-c", "branch")
    git("commit", "--allow-empty", "-m", "admin: keep the cursor", "-m", "The list began again.")
    assert check("main..branch", folder=tmp_path) == (0, ["commits: 1 checked, 0 to rewrite."])
    git("commit", "--allow-empty", "-m", "admin: keep the filter")
    status, lines = check("main..branch", folder=tmp_path)
    assert (status, lines[1:]) == (1, ["The body is missing: say why.", "commits: 2 checked, 1 to rewrite."])
