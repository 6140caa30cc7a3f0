"""`events/maintenance/container.py`: whether DATA_DIR is lost with a container, from texts of the kernel."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from events.maintenance.container import LAYER, MEMORY, file_system, is_container, place_in_container
from tests.servers import PROJECT_DIR, inherited

OVERLAY = "681 553 0:57 / / ro,relatime master:3 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w\n"
ENGINE = """\
682 681 0:60 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
683 681 0:61 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
690 681 254:1 /var/lib/docker/containers/4f1c/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda1 rw
691 681 254:1 /var/lib/docker/containers/4f1c/hostname /etc/hostname rw,relatime - ext4 /dev/vda1 rw
692 681 254:1 /var/lib/docker/containers/4f1c/hosts /etc/hosts rw,relatime - ext4 /dev/vda1 rw
"""
DOCKER = OVERLAY + ENGINE
VOLUME = "693 681 254:1 /var/lib/docker/volumes/data/_data /data rw,relatime master:1 - ext4 /dev/vda1 rw\n"
# The storage drivers vfs and btrfs: layers and volumes are folders of one file system.
VFS = "400 300 254:0 /var/lib/containers/storage/vfs/dir/9a0f / rw,relatime - ext4 /dev/vda rw\n"
VFS_VOLUME = "410 400 254:0 /var/lib/containers/storage/volumes/data/_data /data rw,relatime - ext4 /dev/vda rw\n"
BTRFS = "500 499 0:44 /docker/btrfs/subvolumes/1c2d / rw,relatime - btrfs /dev/sda2 rw,subvolid=5\n"
ZFS = "501 499 0:45 / / rw,relatime - zfs tank/docker/1c2d rw,xattr\n"
GVISOR = "1 0 0:1 / / rw - 9p none rw,trans=fd\n"
MACHINE = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"


@pytest.mark.parametrize(
    ("mountinfo", "place"),
    [
        (DOCKER, LAYER),
        (DOCKER + VOLUME, None),
        # The volume is mounted elsewhere: at a name that begins alike, below, or beside.
        (DOCKER + VOLUME.replace(" /data ", " /data2 "), LAYER),
        (DOCKER + VOLUME.replace(" /data ", " /dat "), LAYER),
        (DOCKER + VOLUME.replace(" /data ", " /data/backups "), LAYER),
        # A folder of the layer, mounted at another point.
        (DOCKER + "700 681 0:57 /srv /data rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B\n", LAYER),
        # Another overlay, such as a volume of a plugin.
        (DOCKER + "700 681 0:99 / /data rw,relatime - overlay overlay rw,lowerdir=/l/C\n", None),
        (DOCKER + "700 681 0:80 / /data rw,relatime - tmpfs tmpfs rw,size=65536k\n", MEMORY),
        (DOCKER + "700 681 0:81 / /data rw,relatime - nfs4 storage:/telemetry rw,vers=4.2\n", None),
        # The later of two mounts at one point is the visible one.
        (DOCKER + VOLUME + "701 693 0:80 / /data rw,relatime - tmpfs tmpfs rw\n", MEMORY),
        (DOCKER + "700 681 0:80 / /data rw,relatime - tmpfs tmpfs rw\n" + VOLUME, None),
        (VFS, LAYER),
        (VFS + VFS_VOLUME, None),
        (BTRFS, LAYER),
        (ZFS, LAYER),
        (ZFS + VOLUME, None),
        (GVISOR, LAYER),
        (GVISOR + "5 1 0:9 / /data rw - 9p none rw,trans=fd\n", None),
        # A virtual machine that was made from an image of a container: it has the marker file.
        (MACHINE, None),
        (MACHINE + "30 27 0:24 / /data rw - tmpfs tmpfs rw\n", MEMORY),
        ("", None),
        ("681 553 0:57 / / rw\n", None),
        ("garbage - \n\n - overlay overlay rw\n" + VOLUME, None),
    ],
)
def test_the_place_of_the_data_is_read_from_the_mounts(mountinfo: str, place: str | None) -> None:
    assert place_in_container(Path("/data"), mountinfo) == place


def test_a_mount_point_may_have_spaces_and_backslashes() -> None:
    mountinfo = DOCKER + VOLUME.replace(" /data ", r" /my\040data\134a\012b ")
    assert place_in_container(Path("/my data\\a\nb/deeper"), mountinfo) is None
    assert place_in_container(Path("/my"), mountinfo) == LAYER


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "expected"),
    [
        (DOCKER, "0::/\n", True),
        (VFS, "0::/\n", False),
        (VFS, f"0::/machine.slice/libpod-{'a' * 64}.scope/container\n", True),
        (VFS, f"12:memory:/docker/{'a' * 64}\n", True),
        (VFS, f"0::/system.slice/docker-{'a' * 64}.scope\n", True),
        (VFS, f"0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-{'a' * 64}.scope\n", True),
        (MACHINE, "0::/system.slice/telemetry.service\n", False),
        (MACHINE, "0::/system.slice/docker.service\n", False),
        (MACHINE, "", False),
        ("", "", False),
    ],
)
def test_a_container_is_recognised_without_its_marker_file(mountinfo: str, cgroup: str, expected: bool) -> None:
    assert is_container(mountinfo, cgroup) is expected


@pytest.mark.needs_small_disk
@pytest.mark.parametrize("allowed", ["0", "1"])
def test_the_site_refuses_a_container_that_would_lose_its_database(tmp_path: Path, allowed: str) -> None:
    """In a mount namespace that looks like a container: a file of the engine, and DATA_DIR in memory."""
    script = 'mount --bind /etc/hostname /etc/hostname && mount -t tmpfs -o mode=0700 tmpfs "$DATA_DIR" && exec "$@"'
    unshare = shutil.which("unshare")
    assert unshare
    checked = subprocess.run(
        [unshare, "--mount", "sh", "-c", script, "sh", sys.executable, "manage.py", "check"],
        cwd=PROJECT_DIR,
        env={**inherited(), "DATA_DIR": str(tmp_path), "EPHEMERAL_DATA": allowed, "PYTEST_VERSION": "no .env is read"},
        capture_output=True,
        text=True,
        check=False,
    )
    if allowed == "1":
        assert (checked.returncode, checked.stderr) == (0, "")
        return
    assert checked.returncode == 1
    assert f"(telemetry_site.E003) The database would be lost: DATA_DIR={tmp_path} is in {MEMORY}." in checked.stderr
    assert "HINT: Mount a volume at DATA_DIR, such as: docker run --volume telemetry-data:" in checked.stderr
    assert "For a try whose data may be lost, set EPHEMERAL_DATA=1." in checked.stderr


@pytest.mark.needs_small_disk
def test_the_file_system_of_a_folder_is_that_of_its_mount(tmp_path: Path) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    try:
        assert file_system(folder) == "tmpfs"
    finally:
        subprocess.run(["umount", folder], check=True)
    assert file_system(folder) == file_system(tmp_path)
