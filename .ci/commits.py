"""Check commit messages: `area: imperative subject` of at most 72 characters, an empty line, a body that says why.

`commits.py RANGE` checks the commits of a range, such as origin/main..HEAD, without merges and reverts.
`commits.py --file FILE` checks one message, as a commit-msg hook does.
"""

import re
import subprocess
import sys
from pathlib import Path

MAX_SUBJECT = 72
SUBJECT = re.compile(r"[a-z][a-z0-9_./-]*(, [a-z][a-z0-9_./-]*)*: (?P<verb>\S+) .*[^.\s]")
# "added", "adding", "adds"; not "need", "speed", "bring", "pass" or "focus".
NOT_IMPERATIVE = re.compile(r"(?!(?:\w*eed|bring|string|shed|embed)$)\w+(?:ed|ing|[^aisu]s)")
GENERATED = re.compile(r'Merge |Revert "|fixup! |squash! |amend! ')


def faults_of(message: str) -> list[str]:
    """Return what is wrong with a message, one sentence each."""
    subject, _, rest = message.partition("\n")
    if GENERATED.match(subject):
        return []
    faults = []
    if len(subject) > MAX_SUBJECT:
        faults.append(f"The subject has {len(subject)} characters; at most {MAX_SUBJECT} are allowed.")
    match = SUBJECT.fullmatch(subject)
    if match is None:
        faults.append("The subject must read `area: imperative subject`, without a full stop.")
    elif NOT_IMPERATIVE.fullmatch(match["verb"]):
        faults.append(f"The subject must be imperative (`add`, not `adds`, `added` or `adding`): `{match['verb']}`.")
    if rest.strip() and not rest.startswith("\n"):
        faults.append("An empty line must follow the subject.")
    if not rest.strip():
        faults.append("The body is missing: say why.")
    return faults


def without_comments(text: str) -> str:
    """Return what Git keeps of the file that an editor saved."""
    text = text.partition("\n# ------------------------ >8 ------------------------\n")[0]
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def messages_in(commits: str) -> dict[str, str]:
    command = ["git", "log", "--no-merges", "--format=%h%n%B%x00", commits, "--"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 (no shell)
    entries = [entry.lstrip("\n") for entry in output.split("\0")]
    return dict(entry.split("\n", 1) for entry in entries if entry)


def main() -> int:
    match sys.argv[1:]:
        case ["--file", path]:
            messages = {path: without_comments(Path(path).read_text(encoding="utf-8"))}
        case [commits]:
            messages = messages_in(commits)
        case _:
            print(__doc__)
            return 2
    faults = {name: found for name, message in messages.items() if (found := faults_of(message))}
    for name, found in faults.items():
        print(f"{name} {messages[name].partition(chr(10))[0]}", *found, sep="\n    ")
    print(f"commits: {len(messages)} checked, {len(faults)} to rewrite.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
