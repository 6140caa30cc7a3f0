"""The age format: `age` and `rage` read our files, and no changed file is read."""

import io
from base64 import b64decode

import pyrage
import pytest

from events.maintenance.backups.files import encryption
from events.maintenance.backups.files.encryption import NotDecrypted

PASSPHRASE = "correct horse battery"
CHUNK = 65_536
# `age --passphrase` 1.1.1 wrote this file: "written by the age command".
BY_AGE = b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCAzMzd0K3czMCtna3pXWFkyNGp0TU9BIDE4CnIvUlRSSSt2ZVhkMmdKVitn"
    "QkhzREhORm5LQjFaWnZhcXlXVzRvclA4Qm8KLS0tIGlMN3FidkJycmZsdWhsSmRiT1hlR1ZpOHdVTFFDRldZNXRFOTNXSEZRbUEK"
    "lpkZav25tCJD8Is/yvE9BFgz0Kphy+8hdN0g23K4qLfwbkRqF3faebleRwXE3LletCs7kaSEaSuWxQ=="
)


@pytest.fixture(autouse=True)
def _quick_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption, "LOG_N", 10)  # a key for tests alone


def encrypted(plain: bytes, piece: int = 10_000) -> bytes:
    file = io.BytesIO()
    writer = encryption.Writer(file, PASSPHRASE)
    for start in range(0, len(plain), piece):
        writer.write(plain[start : start + piece])
    writer.close()
    return file.getvalue()


def decrypted(content: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return encryption.Reader(io.BytesIO(content), passphrase).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_another_program_reads_our_files(size: int) -> None:
    plain = bytes(range(256)) * (size // 256) + bytes(size % 256)
    content = encrypted(plain)
    assert pyrage.passphrase.decrypt(content, PASSPHRASE) == plain
    assert decrypted(content) == plain


def test_a_file_of_the_age_command_is_read() -> None:
    assert decrypted(BY_AGE) == b"written by the age command"


def test_no_passphrase_is_used_twice_alike() -> None:
    assert encrypted(b"x") != encrypted(b"x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda _: b"", "not a file that `age` encrypted", id="nothing"),
        pytest.param(lambda _: b"SQLite format 3\0", "not a file that `age` encrypted", id="another file"),
        pytest.param(lambda file: file[:60], "not a file that `age` encrypted", id="a cut header"),
        pytest.param(lambda file: flipped(file, 40), "the passphrase is not the one", id="the salt"),
        pytest.param(lambda file: flipped(file, 90), "the passphrase is not the one", id="the key"),
        pytest.param(lambda file: file.replace(b" 10\n", b" 11\n"), "the passphrase is not the one", id="the work"),
        pytest.param(lambda file: file.replace(b" 10\n", b" 30\n"), "more than this site uses", id="too much work"),
        pytest.param(lambda file: flipped(file, 200), "from 0 on", id="the first chunk"),
        pytest.param(lambda file: flipped(file, -1), "from 131,104 on", id="the last byte"),
        pytest.param(lambda file: file[:-1], "from 131,104 on", id="a missing byte"),
        pytest.param(lambda file: file + b"x", "from 131,104 on", id="an additional byte"),
        pytest.param(lambda file: file[: len(file) - 116], "from 65,552 on", id="a missing chunk"),
    ],
)
def test_a_changed_file_is_refused(change, words: str) -> None:
    with pytest.raises(NotDecrypted, match=words):
        decrypted(change(encrypted(bytes(2 * CHUNK + 100))))


def test_a_wrong_passphrase_is_refused() -> None:
    with pytest.raises(NotDecrypted, match="the passphrase is not the one of this file"):
        decrypted(encrypted(b"x"), "another passphrase")


def flipped(file: bytes, at: int) -> bytes:
    """Change one byte, to another one that base64 has."""
    at %= len(file)
    return file[:at] + (b"B" if file[at : at + 1] == b"A" else b"A") + file[at + 1 :]
