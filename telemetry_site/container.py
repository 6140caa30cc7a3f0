"""Where a container keeps DATA_DIR: on a volume, or in a place that is lost with the container."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LAYER = "the container's own layer, which is deleted with the container"
MEMORY = "memory (tmpfs), which is lost when the container stops"

# Docker and Podman create these files. Kubernetes creates neither.
_MARKERS = (Path("/.dockerenv"), Path("/run/.containerenv"))
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


def ephemeral_place(folder: Path) -> str | None:
    """Return where a folder is kept if that is lost with this container, None otherwise. Linux only."""
    with suppress(OSError):
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
        cgroup = Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="surrogateescape")
        has_marker = any(marker.exists() for marker in _MARKERS)
        if has_marker or is_container(mountinfo, cgroup):
            return place_in_container(folder.resolve(), mountinfo)
    return None


def is_container(mountinfo: str, cgroup: str) -> bool:
    """Return whether the kernel's tables show a container. Without a cgroup namespace, its cgroup has a known name."""
    points = {mount.point for mount in _mounts(mountinfo)}
    return bool(points & _MOUNTED_BY_ENGINES or _CGROUP_OF_CONTAINER.search(cgroup))


def place_in_container(folder: Path, mountinfo: str) -> str | None:
    """Return LAYER or MEMORY if the folder is kept there, None if it is on a volume.

    Device numbers alone cannot tell: with some storage drivers, layers and volumes are folders of one disk.
    """
    mounts = list(_mounts(mountinfo))
    around = [mount for mount in mounts if mount.contains(folder)]
    if not around:
        return None
    # A later mount covers an earlier one at the same point.
    mount = max(reversed(around), key=lambda candidate: len(Path(candidate.point).parts))
    if mount.kind in ("tmpfs", "ramfs"):
        return MEMORY
    if mount.point == "/":
        # A virtual machine made from an image has the marker file too. Its root is a whole device. A layer is an
        # overlay, or a folder of a device.
        return None if mount.is_on_device and mount.root == "/" else LAYER
    root_devices = {other.device for other in mounts if other.point == "/"}
    # A folder of the layer may be mounted elsewhere in the container.
    return LAYER if mount.device in root_devices and not mount.is_on_device else None


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
