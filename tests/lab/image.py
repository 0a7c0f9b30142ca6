# SPDX-License-Identifier: GPL-2.0-only
"""The lab host's kernel and initramfs, kept under build/kernels/."""

import hashlib
import lzma
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../../scripts"))
from cpio import Cpio  # noqa: E402

# In loading order, as far as the kernel has them as modules.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_console",
    "netfs",
    "fscache",
    "9pnet",
    "9pnet_virtio",
    "9p",
)

APPLETS = "sh cat chroot cp echo insmod ip ln mkdir mkfifo mount printf sleep sync uname".split()


class Unavailable(Exception):
    """Something the lab needs is missing; the text says what to do."""


def payload(bzimage):
    """The ELF kernel inside a bzImage, as a boot loader would unpack it."""
    setup_sectors = bzimage[0x1F1] or 4
    offset, length = struct.unpack_from("<II", bzimage, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    data = bzimage[start:start + length]
    if data[:6] == b"\xfd7zXZ\0":
        return lzma.LZMADecompressor().decompress(data)
    if data[:4] == b"\x28\xb5\x2f\xfd":
        # The kernel's build appends the length, which is no frame of zstd's.
        done = subprocess.run(["zstd", "-dcq"], input=data[:-4], stdout=subprocess.PIPE)
        if done.returncode == 0:
            return done.stdout
        raise Unavailable("zstd could not unpack the lab kernel")
    raise Unavailable("the lab kernel is compressed with neither xz nor zstd: use --bzimage")


def write_atomically(path, data):
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def kernel(top, build):
    """Fetch and prepare the host kernel. Returns its files: folder, vmlinuz, vmlinux, base."""
    done = subprocess.run([os.path.join(top, "scripts/fetch-kernel"), "lab"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise Unavailable("the host kernel could not be fetched")
    folder = done.stdout.strip()
    files = {name: os.path.join(folder, name) for name in ("vmlinuz", "vmlinux")}
    files["folder"] = folder
    if not os.path.exists(files["vmlinux"]):
        write_atomically(files["vmlinux"], payload(read(files["vmlinuz"])))
    sources = b"".join(read(os.path.join(top, "tests/lab", name)) for name in ("init", "image.py"))
    files["base"] = os.path.join(folder, f"base-{hashlib.sha256(sources).hexdigest()[:16]}.cpio")
    if not os.path.exists(files["base"]):
        write_atomically(files["base"], base_archive(top, folder))
    return files


def modules(folder):
    """Those of MODULES that the kernel in folder does not have built in: name to path, in loading order."""
    found = {}
    for base, _, names in os.walk(os.path.join(folder, "modules/lib/modules")):
        found.update({name.removesuffix(".xz"): os.path.join(base, name) for name in names})
    return {module: found[f"{module}.ko"] for module in MODULES if f"{module}.ko" in found}


def base_archive(top, folder):
    """Everything in the initramfs that is the same for every run."""
    archive = Cpio()
    for name in ("bin", "dev", "lab", "lib", "new", "proc", "sys"):
        archive.directory(name)
    archive.character_device("dev/console", 5, 1)
    busybox = "/bin/busybox"
    if not os.path.exists(busybox):
        raise Unavailable("/bin/busybox is missing: run scripts/ensure-packages as root")
    archive.file("bin/busybox", read(busybox), 0o755)
    for applet in APPLETS:
        archive.symlink(f"bin/{applet}", "busybox")
    for module, path in modules(folder).items():
        data = read(path)
        archive.file(f"lib/{module}.ko", lzma.decompress(data) if path.endswith(".xz") else data)
    archive.file("init", read(os.path.join(top, "tests/lab/init")), 0o755)
    return archive.finish()


def write_initrd(path, files, run_files):
    """The initramfs of one run: the common part and run_files in /lab."""
    archive = Cpio()
    for name, text in run_files.items():
        archive.file(f"lab/{name}", text.encode(errors="surrogateescape"))
    with open(path, "wb") as out:
        out.write(read(files["base"]))
        out.write(archive.finish())
