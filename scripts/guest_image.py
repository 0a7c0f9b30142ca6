# SPDX-License-Identifier: GPL-2.0-only
"""The guest's initramfs: the part that is always the same, and what one run adds."""

import gzip
import os
import subprocess

from cpio import Cpio

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
BUILD = os.path.realpath(os.environ.get("O") or os.path.join(TOP, "build"))
GUEST = os.path.join(BUILD, "guest")
KERNEL = os.path.join(GUEST, "vmlinuz")
INITRAMFS = os.path.join(GUEST, "initramfs.cpio.gz")
BUSYBOX = "/bin/busybox"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def replace_file(path, data):
    """Write data to path unless it is there already."""
    if os.path.exists(path) and read(path) == data:
        return
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def base_archive():
    """busybox with all its applets, and scripts/guest-init as /init."""
    archive = Cpio()
    for name in ("bin", "dev", "etc", "proc", "run", "sys", "tmp"):
        archive.directory(name)
    archive.character_device("dev/console", 5, 1)
    archive.character_device("dev/null", 1, 3, 0o666)
    archive.file("bin/busybox", read(BUSYBOX), 0o755)
    applets = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            archive.symlink(f"bin/{applet}", "busybox")
    archive.symlink("sbin", "bin")
    archive.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
    archive.file("etc/group", b"root:x:0:\n")
    archive.file("init", read(os.path.join(TOP, "scripts/guest-init")), 0o755)
    return gzip.compress(archive.finish(), mtime=0)


def run_initrd(command, token, files=()):
    """An initramfs that runs command (bytes) and reports with token. files: (source, path in the guest)."""
    archive = Cpio()
    archive.file("run-command", command)
    archive.file("run-token", token.encode())
    folders = set()
    for source, path in files:
        path = path.lstrip("/")
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            if folder not in folders and folder not in ("bin", "etc", "tmp"):
                folders.add(folder)
                archive.directory(folder)
        archive.file(path, read(source), 0o755 if os.access(source, os.X_OK) else 0o644)
    base = read(INITRAMFS)
    return base + b"\0" * (-len(base) % 512) + archive.finish()
