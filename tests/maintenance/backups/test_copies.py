"""Copies of backups in a bucket, over HTTP to a service that checks signatures."""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings

from events import clock
from events.maintenance.backups import drill, making, records
from events.maintenance.backups.copies import reading, remote, sending
from events.maintenance.backups.copies.store import Store, StoreFailed
from events.maintenance.backups.files import encryption, folder, manifests
from events.maintenance.backups.files.folder import BackupFailed
from events.maintenance.backups.files.manifests import Manifest
from events.maintenance.jobs import registry
from events.maintenance.jobs.registry import JobFailed
from events.models import Backup
from tests.conftest import make_event
from tests.other_process import shared_site
from tests.s3 import BUCKET, Service, answering, answering_securely, watched
from tests.servers import PROJECT_DIR, wait_until

pytestmark = pytest.mark.django_db(transaction=True)
PASSPHRASE = "correct horse battery"
NOW = datetime(2026, 11, 28, 3, 15, tzinfo=UTC)


@pytest.fixture
def prefix() -> str:
    return f"sites/{uuid.uuid4().hex}"


@pytest.fixture(autouse=True)
def backups(settings: LazySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: Service, prefix: str) -> Path:
    settings.BACKUP_DIR = tmp_path / "backups"
    settings.DATA_DIR = tmp_path
    settings.BACKUP_PASSPHRASE = PASSPHRASE
    settings.BACKUP_URL = s3.target(prefix)
    settings.BACKUP_S3_KEY_ID, settings.BACKUP_S3_SECRET = s3.key_id, s3.secret
    monkeypatch.setattr(encryption, "LOG_N", 10)
    folder.make()
    return tmp_path / "backups"


def keep(days_ago: float = 0, content: bytes = b"a backup", *, is_encrypted: bool = True) -> Manifest:
    """Put a file with a manifest into BACKUP_DIR, as a backup of that day."""
    made_at = NOW - timedelta(days=days_ago)
    file = folder.path() / folder.new_name(made_at, ".tar.age" if is_encrypted else ".sqlite3")
    file.write_bytes(content)
    manifest = Manifest(
        name=file.name,
        made_at_ms=int(made_at.timestamp() * 1000),
        file_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        is_encrypted=is_encrypted,
        events=7,
    )
    manifests.write(file, manifest)
    records.mirror()
    return manifest


def keys_of(*backups: Manifest) -> set[str]:
    return {f"{folder.identity()}/{backup.name}{end}" for backup in backups for end in ("", ".json")}


def test_a_backup_is_copied_once_checked_and_fetched_by_an_empty_machine(
    backups: Path, s3: Service, prefix: str, tmp_path: Path, settings: LazySettings
) -> None:
    make_event()
    made = making.make(clock.now())
    assert Backup.objects.get().copied_ms is None
    words = sending.copy_backups(clock.now())
    place = f"s3://{BUCKET}/{prefix} at http://127.0.0.1:{s3.port}"
    assert words == f"{place} has 1 copy. Copied: {made.file.name}."
    assert s3.objects(prefix).keys() == keys_of(made.manifest)
    assert s3.get(f"{prefix}/{folder.identity()}/{made.file.name}") == made.file.read_bytes()
    copied_ms = Backup.objects.get().copied_ms
    assert copied_ms is not None
    assert sending.copy_backups(clock.now()) == f"{place} has 1 copy."
    assert Backup.objects.get().copied_ms == copied_ms
    drill.prove(clock.now())
    sending.copy_backups(clock.now())
    assert json.loads(s3.get(f"{prefix}/{folder.identity()}/{made.file.name}.json"))["proven_at_ms"] is not None
    assert reading.check_newest() == (
        f"{made.file.name} was read back from {place}, and its SHA-256 is the one of the backup."
    )
    settings.BACKUP_DIR = tmp_path / "empty"
    chosen = reading.choose(reading.copies_of(Store(), None), None)
    assert reading.fetch(Store(), chosen)
    fetched = settings.BACKUP_DIR / made.file.name
    assert fetched.read_bytes() == made.file.read_bytes()
    assert manifests.read(fetched) == manifests.read(made.file)
    assert not reading.fetch(Store(), chosen)
    assert "is proven" in drill.prove(clock.now())  # of the fetched file


def test_a_backup_of_several_parts_arrives_whole(s3: Service, prefix: str) -> None:
    content = os.urandom(20 << 20)
    backup = keep(content=content)
    sending.copy_backups(NOW)
    assert hashlib.sha256(s3.get(f"{prefix}/{folder.identity()}/{backup.name}")).hexdigest() == backup.sha256
    reading.check_newest()


def test_only_encrypted_backups_leave_the_machine(s3: Service, prefix: str, settings: LazySettings) -> None:
    plain, encrypted = keep(1, is_encrypted=False), keep(0)
    assert sending.copy_backups(NOW).endswith("Not copied, because they are not encrypted: 1.")
    assert s3.objects(prefix).keys() == keys_of(encrypted)
    settings.BACKUP_URL = s3.target(prefix, unencrypted="1")
    sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() == keys_of(encrypted, plain)


KILLED = """
import django
django.setup()
from events import clock
from events.maintenance.backups.copies import sending
sending.copy_backups(clock.now())
"""


@pytest.mark.parametrize(
    ("word", "left"),
    [(b"partNumber=2&", []), (b".json HTTP/1.1", ["file"])],
    ids=["in the file", "before the manifest"],
)
def test_a_killed_upload_leaves_nothing_that_counts(
    word: bytes, left: list[str], s3: Service, prefix: str, tmp_path: Path, backups: Path
) -> None:
    backup = keep(content=os.urandom(20 << 20))
    process: list[subprocess.Popen[bytes]] = []
    with watched(s3.port, word, lambda: process[0].kill()) as port:
        environment = shared_site(tmp_path / "other") | {
            "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
            "BACKUP_DIR": str(backups),
            "BACKUP_PASSPHRASE": PASSPHRASE,
            "BACKUP_URL": s3.url(prefix, port=port),
            "BACKUP_S3_KEY_ID": s3.key_id,
            "BACKUP_S3_SECRET": s3.secret,
        }
        with subprocess.Popen([sys.executable, "-c", KILLED], cwd=PROJECT_DIR, env=environment) as killed:
            process.append(killed)
            assert killed.wait(60) == -9
    assert s3.objects(prefix).keys() == {f"{folder.identity()}/{backup.name}" for _ in left}
    assert reading.copies_of(Store(), None) == []
    assert "Copied: " in sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() == keys_of(backup)
    assert Backup.objects.get().copied_ms is not None


def test_the_rest_of_a_killed_deletion_is_deleted(s3: Service, prefix: str) -> None:
    backup = keep()
    lone = f"{prefix}/{folder.identity()}/telemetry-20250101T031500Z.tar.age"
    s3.put(lone, b"x")
    sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() == keys_of(backup)


def test_a_damaged_backup_is_not_copied_and_the_others_are(s3: Service, prefix: str, backups: Path) -> None:
    damaged, sound = keep(0), keep(1)
    (backups / damaged.name).write_bytes(b"A backup")
    with pytest.raises(BackupFailed, match=rf"^{damaged.name} is damaged: its SHA-256"):
        sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() == keys_of(sound)
    assert Backup.objects.get(name=damaged.name).problem.startswith(f"{damaged.name} is damaged")
    sending.copy_backups(NOW)  # a known problem does not fail every later run
    assert Backup.objects.get(name=sound.name).copied_ms is not None


def test_a_backup_that_is_damaged_later_keeps_its_sound_copy(s3: Service, prefix: str, backups: Path) -> None:
    backup = keep()
    sending.copy_backups(NOW)
    (backups / backup.name).write_bytes(b"A backup")
    with pytest.raises(BackupFailed, match="is damaged"):
        drill.prove(NOW)
    sending.copy_backups(NOW)
    [copy] = reading.copies_of(Store(), None)
    assert copy.manifest.problem == ""
    assert s3.get(f"{prefix}/{folder.identity()}/{backup.name}") == b"a backup"


def damage(s3: Service, key: str) -> None:
    s3.put(key, b"A backup")


def cut(s3: Service, key: str) -> None:
    s3.put(key, b"a back")


def without_file(s3: Service, key: str) -> None:
    s3.delete(key)


def wrong_manifest(s3: Service, key: str) -> None:
    s3.put(f"{key}.json", b'{"format": 1, "sha256": ["')


def foreign_manifest(s3: Service, key: str) -> None:
    manifest = json.loads(s3.get(f"{key}.json"))
    s3.put(f"{key}.json", json.dumps(manifest | {"host": 1, "copied_at_ms": "x"}).encode())


def control_sequence(s3: Service, key: str) -> None:
    manifest = json.loads(s3.get(f"{key}.json"))
    s3.put(f"{key}.json", json.dumps(manifest | {"host": "\x1b[2J"}).encode())


@pytest.mark.parametrize("spoil", [cut, without_file, wrong_manifest, foreign_manifest, control_sequence])
def test_a_copy_that_cannot_count_is_sent_again(spoil: Callable[..., None], s3: Service, prefix: str) -> None:
    backup = keep()
    sending.copy_backups(NOW)
    key = f"{prefix}/{folder.identity()}/{backup.name}"
    spoil(s3, key)
    assert reading.copies_of(Store(), None) == []
    assert "Copied: " in sending.copy_backups(NOW)
    assert s3.get(key) == b"a backup"
    assert len(reading.copies_of(Store(), None)) == 1


def test_a_damaged_byte_in_the_bucket_is_found_and_the_backup_is_sent_again(
    s3: Service, prefix: str, tmp_path: Path, settings: LazySettings
) -> None:
    backup = keep()
    sending.copy_backups(NOW)
    key = f"{prefix}/{folder.identity()}/{backup.name}"
    damage(s3, key)
    usual = settings.BACKUP_DIR
    settings.BACKUP_DIR = tmp_path / "empty"
    [copy] = reading.copies_of(Store(), None)
    with pytest.raises(BackupFailed, match=rf"^The copy of {backup.name} is damaged"):
        reading.fetch(Store(), copy)
    assert not [file for file in settings.BACKUP_DIR.iterdir() if not file.name.startswith(".backup")]
    settings.BACKUP_DIR = usual
    with pytest.raises(BackupFailed, match=r"is damaged: .* The next run of the copies sends the backup again"):
        reading.check_newest()
    assert Backup.objects.get().copied_ms is None
    with pytest.raises(BackupFailed, match=r"^There is no copy\.$"):
        reading.choose(reading.copies_of(Store(), None), None)
    assert reading.check_newest().startswith("There is no copy in ")
    assert "Copied: " in sending.copy_backups(NOW)
    assert s3.get(key) == b"a backup"
    assert "is the one of the backup" in reading.check_newest()


def test_rotation_deletes_old_copies_and_nothing_else(s3: Service, prefix: str, settings: LazySettings) -> None:
    settings.BACKUP_KEEP = {"d": 2}
    old = [keep(days) for days in (9, 8, 7)]
    sending.copy_backups(NOW)
    assert len(s3.objects(prefix)) == 6  # what BACKUP_DIR has stays in the bucket
    identity = folder.identity()
    foreign = {
        "other.txt", f"{identity}/notes.txt", f"{identity}/telemetry-20250101T031500Z.tar.age.old",
        f"{identity}/deeper/telemetry-20250101T031500Z.tar.age", "0123456789abcdef/telemetry-20250101T031500Z.tar.age",
    }  # fmt: skip
    for key in foreign:
        s3.put(f"{prefix}/{key}", b"x")
    s3.put(f"{prefix}-of-another/{identity}/telemetry-20250101T031500Z.tar.age", b"x")
    new = [keep(days) for days in (2, 1)]
    deleted = records.delete_old(settings.BACKUP_KEEP)
    assert sorted(deleted) == sorted(backup.name for backup in old)
    words = sending.copy_backups(NOW)
    assert "Deleted by BACKUP_KEEP: " in words
    assert s3.objects(prefix).keys() == keys_of(*new) | foreign
    assert s3.objects(f"{prefix}-of-another").keys() == {f"{identity}/telemetry-20250101T031500Z.tar.age"}


def test_an_emptied_disk_deletes_no_copy(s3: Service, prefix: str, settings: LazySettings, backups: Path) -> None:
    settings.BACKUP_KEEP = {"d": 3}
    kept = [keep(days) for days in (4, 3, 2)]
    sending.copy_backups(NOW)
    before = s3.objects(prefix)
    for file in backups.glob("telemetry-*"):
        file.unlink()
    assert sending.copy_backups(NOW) == f"There is no backup in {backups} to copy."
    assert s3.objects(prefix) == before
    new = keep(0)
    sending.copy_backups(NOW)
    # A new backup takes the place of one old copy, as it does in BACKUP_DIR.
    assert s3.objects(prefix).keys() == keys_of(new, *kept[1:])


def test_a_restored_machine_deletes_no_copy(
    s3: Service, prefix: str, settings: LazySettings, tmp_path: Path, backups: Path
) -> None:
    settings.BACKUP_KEEP = {"d": 1}
    lost = [keep(9), keep(0)]
    sending.copy_backups(NOW)
    lost_keys = keys_of(*lost)
    # An older state of the disk has the same folder id.
    (backups / lost[1].name).unlink()
    records.delete_lone_manifests()
    assert sending.copy_backups(NOW).endswith("has 2 copies.")
    (backups / lost[0].name).unlink()
    records.delete_lone_manifests()
    keep(5)
    sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() >= lost_keys
    # A new disk has another one.
    settings.BACKUP_DIR = tmp_path / "new"
    folder.make()
    new = keep(-1)
    sending.copy_backups(NOW)
    assert s3.objects(prefix).keys() >= lost_keys | keys_of(new)
    with pytest.raises(
        BackupFailed, match=r"^Several machines have copies here: .* Choose one: --folder [0-9a-f]{16}$"
    ):
        reading.choose(reading.copies_of(Store(), None), None)
    assert reading.choose(reading.copies_of(Store(), folder.identity()), None).manifest.name == new.name


def test_two_machines_with_one_folder_id_do_not_overwrite_each_other(s3: Service, prefix: str, backups: Path) -> None:
    backup = keep(content=b"of this machine")
    sending.copy_backups(NOW)
    (backups / backup.name).unlink()
    records.delete_lone_manifests()
    keep(content=b"of a clone")
    with pytest.raises(BackupFailed, match=r"two machines have the same .*/\.folder-id"):
        sending.copy_backups(NOW)
    assert s3.get(f"{prefix}/{folder.identity()}/{backup.name}") == b"of this machine"


def wrong_secret(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_S3_SECRET = "wrong"


def wrong_key(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_S3_KEY_ID = "AKIAXXXXXXXXXXXXXXXX"


def no_key(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_S3_KEY_ID = ""


def no_bucket(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_URL = s3.target(prefix, bucket="missing")


def nobody_listens(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_URL = s3.target(prefix, port=1, timeout="1")


def no_s3(settings: LazySettings, s3: Service, prefix: str) -> None:
    settings.BACKUP_URL = s3.target(prefix, path_style="0", timeout="1")._replace(endpoint="http://missing.invalid")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (wrong_secret, "BACKUP_S3_SECRET does not belong to the key in BACKUP_S3_KEY_ID"),
        (wrong_key, "the service does not know the key in BACKUP_S3_KEY_ID"),
        (no_key, "BACKUP_S3_KEY_ID or BACKUP_S3_SECRET is not set"),
        (no_bucket, "the bucket does not exist"),
        (nobody_listens, "the service cannot be reached, or it ended the connection"),
        (no_s3, "the service cannot be reached, or it ended the connection"),
    ],
)
def test_a_failure_is_explained_without_secrets(
    spoil: Callable[..., None], reason: str, settings: LazySettings, s3: Service, prefix: str
) -> None:
    keep()
    secret, key_id = settings.BACKUP_S3_SECRET, settings.BACKUP_S3_KEY_ID
    spoil(settings, s3, prefix)
    for act in (lambda: sending.copy_backups(NOW), reading.check_newest, lambda: reading.copies_of(Store(), None)):
        with pytest.raises(StoreFailed) as failure:
            act()
        assert str(failure.value).endswith(f"{reason}.")
        assert secret not in str(failure.value)
        assert key_id not in str(failure.value)
    for name in ("backup-copies", "backup-copies-check"):
        with pytest.raises(JobFailed, match=reason):
            registry.registered()[name].work()
    assert Backup.objects.get().copied_ms is None


def test_a_service_that_hangs_is_given_up(settings: LazySettings, s3: Service, prefix: str) -> None:
    keep()
    settings.BACKUP_URL = s3.target(prefix, timeout="1")
    with s3.hanging(), pytest.raises(StoreFailed, match=r"the service did not answer within 1 s\.$"):
        sending.copy_backups(NOW)
    wait_until(lambda: "Copied: " in sending.copy_backups(NOW), "the service answers again")


def test_an_unknown_issuer_of_a_certificate_is_named(settings: LazySettings, s3: Service, tmp_path: Path) -> None:
    keep()
    with answering_securely(tmp_path) as port:
        settings.BACKUP_URL = s3.target("x")._replace(endpoint=f"https://localhost:{port}", timeout_seconds=1)
        with pytest.raises(
            StoreFailed, match="the certificate of the service is not valid for its host, or its issuer"
        ):
            sending.copy_backups(NOW)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 54\r\nConnection: close\r\n\r\n"
            b"<Error><Code>XMinioStorageFull</Code><Key>k</K></Error>",
            "the service answered 507 XMinioStorageFull",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<html>...", "the service cannot be reached"),
        (b"not HTTP\r\n\r\n", "the service cannot be reached"),
        (b"", "the service cannot be reached"),
    ],
    ids=["a full disk", "a web page", "no HTTP", "no answer"],
)
def test_another_answer_than_that_of_s3_is_a_failure(
    answer: bytes, reason: str, settings: LazySettings, s3: Service, prefix: str
) -> None:
    keep()
    with answering(answer) as port:
        settings.BACKUP_URL = s3.target(prefix, port=port, timeout="1")
        with pytest.raises(StoreFailed, match=reason):
            sending.copy_backups(NOW)


@pytest.mark.parametrize(
    ("options", "request_line"),
    [
        ({}, f"GET http://s3.example.org/{BUCKET}?"),
        ({"path_style": "0"}, f"GET http://{BUCKET}.s3.example.org/?"),
    ],
)
def test_the_bucket_is_in_the_path_or_in_the_host(
    options: dict[str, str],
    request_line: str,
    settings: LazySettings,
    s3: Service,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy of the network sees the address of each request."""
    seen = []
    with watched(s3.port, request_line.encode(), lambda: seen.append(request_line)) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        settings.BACKUP_URL = s3.target(prefix, timeout="1", **options)._replace(endpoint="http://s3.example.org")
        with pytest.raises(StoreFailed, match="the service cannot be reached"):
            Store().objects("x")
    assert seen[:1] == [request_line]


def test_an_existing_file_is_never_replaced_by_a_fetched_one(backups: Path, s3: Service) -> None:
    backup = keep()
    sending.copy_backups(NOW)
    (backups / backup.name).write_bytes(b"another")
    [copy] = reading.copies_of(Store(), None)
    with pytest.raises(BackupFailed, match="exists already, and it is another file"):
        reading.fetch(Store(), copy)
    assert (backups / backup.name).read_bytes() == b"another"


def test_a_name_in_the_bucket_cannot_leave_the_folder(s3: Service, prefix: str) -> None:
    backup = keep()
    sending.copy_backups(NOW)
    manifest = json.loads(s3.get(f"{prefix}/{folder.identity()}/{backup.name}.json"))
    for name in ("..%2F..%2Ftelemetry-20250101T031500Z.tar.age", "telemetry-20250101T031500Z.tar.age%2F..%2Fx"):
        s3.put(f"{prefix}/{folder.identity()}/{name}", b"a backup")
        s3.put(f"{prefix}/{folder.identity()}/{name}.json", json.dumps(manifest | {"name": name}).encode())
    content = json.dumps(manifest | {"name": "../../x"}).encode()
    s3.put(f"{prefix}/{folder.identity()}/{backup.name}.json", content)
    [copy] = remote.read(Store(), folder.identity()).copies
    assert copy.manifest.name == backup.name


def test_aws_variables_of_the_environment_have_no_effect(monkeypatch: pytest.MonkeyPatch, s3: Service) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_SESSION_TOKEN": "x", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "x",
        "AWS_BUCKET": "x", "AWS_SKIP_SIGNATURE": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    keep()
    assert "Copied: " in sending.copy_backups(NOW)


def test_the_server_does_not_import_the_library(s3: Service, tmp_path: Path, prefix: str) -> None:
    code = (
        "import sys, telemetry_site.server.rsgi, django.urls; from django.test import Client\n"
        "from events.maintenance.jobs import registry; registry.registered()\n"
        "django.urls.get_resolver().url_patterns; Client().get('/admin/login/', HTTP_HOST='localhost')\n"
        "print([name for name in sys.modules if 'obstore' in name or name.endswith('backups.copies.store')])"
    )
    environment = shared_site(tmp_path / "other") | {
        "DJANGO_SETTINGS_MODULE": "telemetry_site.settings",
        "BACKUP_URL": s3.url(prefix),
        "BACKUP_S3_KEY_ID": s3.key_id,
        "BACKUP_S3_SECRET": s3.secret,
        "BACKUP_PASSPHRASE": PASSPHRASE,
    }
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_DIR, env=environment, capture_output=True, text=True
    )
    assert (found.returncode, found.stdout) == (0, "[]\n"), found.stderr
