"""The container and the mounts around the site: whether there is a container, and where it keeps DATA_DIR."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

LAYER = "the container's own layer, which is deleted with the container"
MEMORY = "memory (tmpfs), which is lost when the container stops"

# The files that engines create. Kubernetes creates none.
_MARKERS = {"Docker": Path("/.dockerenv"), "Podman": Path("/run/.containerenv")}
_CGROUP_OF_CONTAINER = re.compile(r"docker[-/][0-9a-f]{12}|libpod-|kubepods|crio-|cri-containerd")
# Every container engine mounts its own versions of these files.
_MOUNTED_BY_ENGINES = {"/etc/hosts", "/etc/hostname"}


class _Mount(NamedTuple):
    """A line of /proc/self/mountinfo; `root` is the mounted folder inside of its file system."""

    device: str
    root: str
    point: str
    kind: str
    source: str

    @property
    def is_on_device(self) -> bool:
        return self.source.startswith("/dev/")

    def contains(self, folder: Path) -> bool:
        return folder.is_relative_to(self.point)


def engine() -> str | None:
    """Return the engine of the container that the site runs in: Docker, Podman or "unknown". None outside of one."""
    for name, marker in _MARKERS.items():
        if marker.exists():
            return name
    return "unknown" if is_container(_kernel_table("mountinfo"), _kernel_table("cgroup")) else None


def ephemeral_place(folder: Path) -> str | None:
    """Return where a folder is kept if that is lost with this container, None otherwise. Linux only."""
    return place_in_container(folder.resolve(), _kernel_table("mountinfo")) if engine() else None


def file_system(folder: Path) -> str:
    """Return the type of the file system of a folder, such as "ext4"; "" where the kernel does not say it."""
    mount = _mount_of(folder.resolve(), list(_mounts(_kernel_table("mountinfo"))))
    return mount.kind if mount else ""


def is_container(mountinfo: str, cgroup: str) -> bool:
    """Return whether the kernel's tables show a container. Without a cgroup namespace, its cgroup has a known name."""
    points = {mount.point for mount in _mounts(mountinfo)}
    return bool(points & _MOUNTED_BY_ENGINES or _CGROUP_OF_CONTAINER.search(cgroup))


def place_in_container(folder: Path, mountinfo: str) -> str | None:
    """Return LAYER or MEMORY if the folder is kept there, None if it is on a volume.

    Device numbers alone cannot tell: with some storage drivers, layers and volumes are folders of one disk.
    """
    mounts = list(_mounts(mountinfo))
    mount = _mount_of(folder, mounts)
    if mount is None:
        return None
    if mount.kind in ("tmpfs", "ramfs"):
        return MEMORY
    if mount.point == "/":
        # A virtual machine made from an image has the marker file too. Its root is a whole device. A layer is an
        # overlay, or a folder of a device.
        return None if mount.is_on_device and mount.root == "/" else LAYER
    root_devices = {other.device for other in mounts if other.point == "/"}
    # A folder of the layer may be mounted elsewhere in the container.
    return LAYER if mount.device in root_devices and not mount.is_on_device else None


def _kernel_table(name: str) -> str:
    """Return /proc/self/`name`, "" where there is none."""
    try:
        return Path("/proc/self", name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def _mount_of(folder: Path, mounts: Sequence[_Mount]) -> _Mount | None:
    """Return the mount that contains a folder. A later mount covers an earlier one at the same point."""
    around = [mount for mount in reversed(mounts) if mount.contains(folder)]
    return max(around, key=lambda mount: len(Path(mount.point).parts), default=None)


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        fields, separator, rest = line.partition(" - ")
        if separator and len(fields.split()) >= 5 and len(rest.split()) >= 2:
            device, root, point = fields.split()[2:5]
            kind, source = rest.split()[:2]
            yield _Mount(device, _unescaped(root), _unescaped(point), kind, _unescaped(source))


def _unescaped(field: str) -> str:
    """Return a field of mountinfo, where white space and backslashes are octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
