# SPDX-License-Identifier: GPL-2.0-only
"""The Debian guest for end-to-end tests: its images, running it, what it says."""

import os
import re
import secrets
import shlex
import subprocess
import sys

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.path.realpath(os.environ.get("O") or os.path.join(TOP, "build"))
WORK = os.path.join(BUILD, "tests/e2e")
sys.path.insert(0, os.path.join(TOP, "scripts"))

import guest_image  # noqa: E402

BOCHS = os.environ.get("HW") == "bochs"
POPF = os.path.join(BUILD, "popf")
ARGUMENTS = "console=ttyS0 quiet panic=-1"


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def report(self, good, name, note=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}", flush=True)
        if note:
            print("\n".join("# " + line for line in note.splitlines()), flush=True)

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {why}", flush=True)

    def end(self):
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def initrd(name, script):
    """Write the initramfs that runs script (bytes), with the check programs in it. Returns its path."""
    os.makedirs(WORK, exist_ok=True)
    files = [(os.path.join(WORK, f"check{width}"), f"e2e/check{width}") for width in (64, 32)]
    token = "e2e-exit-" + secrets.token_hex(4) + ":"
    path = os.path.join(WORK, name + ".initrd")
    guest_image.replace_file(path, guest_image.run_initrd(script, token, files))
    return path


def popf_command(initrd_path, memory="512M", append=""):
    return [
        POPF, "run", "--kernel", guest_image.KERNEL, "--initrd", initrd_path,
        "--cmdline", f"{ARGUMENTS} {append}".strip(), "--memory", memory,
    ] + shlex.split(os.environ.get("POPF_ARGS", ""))


def tcg_command(initrd_path, memory="512M", append=""):
    return [
        "nice", "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,la57=off", "-machine", "q35", "-nodefaults",
        "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-m", memory,
        "-kernel", guest_image.KERNEL, "-initrd", initrd_path, "-append", f"{ARGUMENTS} {append}".strip(),
    ]


def bochs_command(script, files, seconds=10000):
    """On the second machine, which sees these files only. Its kernel, too, is where it was linked to be."""
    flags = [word for path in files for word in ("--file", path)]
    flags += ["--append", "nokaslr", *shlex.split(os.environ.get("LABFLAGS", ""))]
    return [os.path.join(TOP, "tests/lab/bochs"), "--module", "--timeout", str(seconds), *flags, "--", script]


def lab_command(script, flags=(), seconds=900):
    flags = [*flags, *shlex.split(os.environ.get("LABFLAGS", ""))]
    return [os.path.join(TOP, "tests/lab/run"), "--module", "--timeout", str(seconds), *flags, "--", script]


def run(command, log_name, seconds=1200):
    """Returns (output, exit status); the output grows in build/tests/e2e/LOG_NAME.log."""
    path = os.path.join(WORK, log_name + ".log")
    with open(path, "wb") as log:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=seconds)
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = 124
    with open(path, "rb") as log:
        return log.read().decode(errors="replace").replace("\r", ""), status


def report_checks(tap, output, prefix=""):
    """One test per line of checks.sh, and one that it came to its end."""
    for line in output.splitlines():
        match = re.match(r"e2e: (ok|not ok|skip) (\w+)(?:: (.*))?$", line.strip())
        if not match:
            continue
        if match[1] == "skip":
            tap.skip(prefix + match[2], match[3])
        else:
            tap.report(match[1] == "ok", prefix + match[2], match[3] or "")
    good = "e2e: end" in output
    tap.report(good, prefix + "the list of commands comes to its end", "" if good else output[-3000:])


def fact(output, name):
    """The value of a line "e2e: NAME VALUE"."""
    match = re.search(rf"^e2e: {name} (.*)$", output, re.MULTILINE)
    return match[1].strip() if match else ""
