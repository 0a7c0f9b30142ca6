# SPDX-License-Identifier: GPL-2.0-only
"""bench ops: what each operation of an operating system costs under popf.

tests/bench/ops.c runs on the lab host and in a guest of popf there, first under
icount, where time is the number of instructions the lab's machine executed for
everything (guest, module, host kernel), and then in time, where QEMU TCG in the
lab is measured as well.

Instruction counts say nothing of what address space switches and TLB misses
cost. Real hardware pays for exits, so the exits per operation are given too,
from the statistics of the module before and after each measurement.

Parts: the commands, the part that runs in the lab, the figures, the table.
"""

import json
import os
import subprocess
import sys

import guest_image
from stream import die_with_parent

TOP = guest_image.TOP
FOLDER = os.path.join(guest_image.BUILD, "bench")
PROGRAM = os.path.join(FOLDER, "ops")
LIMIT = 1800
CMDLINE = "console=ttyS0 quiet panic=-1 loglevel=4"
END = "bench-ops-end:"

# name in ops.c: (what it is, the goal over native or None)
TEXTS = {
    "null": ("null system call", 3),
    "signal": ("signal, caught", None),
    "hidden": ("fault, hidden: first touch of a populated page", None),
    "true": ("fault, true: first touch of an anonymous page", 3),
    "protection": ("fault, protection: SIGSEGV caught", None),
    "pte": ("PTE change: mprotect of a page, and a read", None),
    "fork": ("fork + exit + wait", 4),
    "exec": ("fork + exec + exit + wait", 3),
    "pipe": ("write and read of a pipe, one process", None),
    "hop": ("a token's hop through a pipe to another process", None),
    "context": ("context switch (hop without the pipe)", 4),
    "mmap": ("mmap, touch, munmap of 16 MiB", None),
    "create": ("file create + unlink", None),
    "timer": ("timer interrupt", None),
    "wakeup": ("wakeup and switch of a thread, no IPI", None),
    "cpuid": ("CPUID in user mode", None),
    "port": ("port output in user mode", None),
    "mmio": ("MMIO read in user mode", None),
    "hlt": ("HLT to wake: how late a sleeper is", None),
}

# Counters of the module that say why the guest was left, shortest name first.
EXITS = {
    "irq_exits": "irq", "callouts": "callout", "direct_exits": "direct", "indirect_exits": "indirect",
    "pf_fixed": "fault-hidden", "pf_guest": "fault-true", "pf_trace": "fault-trace", "pf_mmio": "fault-mmio",
    "syscalls": "syscall",
}


# --- commands ----------------------------------------------------------------


def popf(initrd, stats):
    return [
        os.path.join(guest_image.BUILD, "popf"), "run", "--kernel", guest_image.KERNEL, "--initrd", initrd,
        "--cmdline", CMDLINE, "--memory", "512M", "--stats", stats,
    ]


def qemu(initrd):
    return [
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,la57=off", "-machine", "q35", "-nodefaults",
        "-no-user-config", "-display", "none", "-no-reboot", "-m", "512M", "-serial", "stdio",
        "-kernel", guest_image.KERNEL, "-initrd", initrd, "-append", CMDLINE,
    ]


def lab(phase, initrd, icount):
    command = [os.path.join(TOP, "tests/lab/run"), "--module", "--timeout", str(LIMIT)]
    command += ["--icount", "0"] if icount else []
    for name in ("BENCH_TCG", "BENCH_SCALE", "OPS", "O"):
        if os.environ.get(name):
            command += ["--env", f"{name}={os.environ[name]}"]
    command += ["--", "/usr/bin/python3", os.path.join(TOP, "scripts/bench"), "ops-inside", phase, initrd]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(done.returncode)
    return json.loads(done.stdout)


def program_arguments():
    return ["-s", os.environ.get("BENCH_SCALE") or "1"] + os.environ.get("OPS", "").split()


# --- in the lab --------------------------------------------------------------


def parse(output):
    """The program's lines: name to nanoseconds for one operation."""
    result = {}
    for line in output.decode(errors="replace").splitlines():
        words = line.split()
        if len(words) == 4 and words[0] == "ops":
            result[words[1]] = {"rounds": int(words[2]), "ns": int(words[3]) / int(words[2])}
    return result


def run_guest(command):
    """Everything that a guest says on its console."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        preexec_fn=die_with_parent,
    )
    output = b""
    try:
        # The lab's own timeout is the limit: time in here may jump.
        while data := os.read(child.stdout.fileno(), 65536):
            output += data
    finally:
        child.kill()
        child.wait()
    if END.encode() not in output:
        sys.stderr.write("bench: the guest did not come to an end; its output ended:\n")
        sys.stderr.write(output.decode(errors="replace")[-2000:] + "\n")
    return output


def exits_per_operation(path, figures, names):
    """Adds to figures what the module counted for each operation."""
    with open(path, encoding="ascii") as file:
        stats = json.load(file)
    begun = {}
    for mark in stats.get("marks", []):
        number, ended = mark["number"] & 0x7F, mark["number"] & 0x80
        if not ended:
            begun[number] = mark
        elif number in begun and names[number] in figures:
            entry = figures[names[number]]
            entry["counts"] = {}
            for group in ("vm", "vcpu0"):
                old, new = begun[number][group], mark[group]
                old = old + [0] * (len(new) - len(old))
                for name, before, after in zip(stats[group], old, new):
                    # The mark itself takes one exit to user space.
                    if after != before:
                        entry["counts"][name] = round((after - before) / entry["rounds"], 4)


def inside(phase, initrd):
    os.chdir("/tmp")
    subprocess.run(["cp", PROGRAM, "/tmp/ops"], check=True)
    names = subprocess.run(["/tmp/ops", "-l"], stdout=subprocess.PIPE, check=True).stdout.decode().split()
    done = subprocess.run(["/tmp/ops"] + program_arguments(), stdout=subprocess.PIPE, check=True)
    result = {"native": parse(done.stdout)}
    result["popf"] = parse(run_guest(popf(initrd, "/tmp/stats.json")))
    exits_per_operation("/tmp/stats.json", result["popf"], names)
    if phase == "time" and os.environ.get("BENCH_TCG") != "0":
        result["tcg"] = parse(run_guest(qemu(initrd)))
    print(json.dumps(result))
    return 0


# --- figures -----------------------------------------------------------------


def with_context(figures):
    """Adds the context switch: what a hop costs beyond the pipe."""
    if "hop" in figures and "pipe" in figures:
        hop, pipe = figures["hop"], figures["pipe"]
        figures["context"] = {"rounds": hop["rounds"], "ns": hop["ns"] - pipe["ns"]}
        counts = {
            name: round(hop.get("counts", {}).get(name, 0) - pipe.get("counts", {}).get(name, 0), 4)
            for name in hop.get("counts", {})
        }
        if counts:
            figures["context"]["counts"] = counts
    return figures


def value(figures, name):
    got = figures.get(name)
    return round(got["ns"], 1) if got else None


def ratio(one, other):
    return round(one / other, 2) if one and other and other > 0 else None


def exits(counts):
    """How often the guest world was left for one operation."""
    return round(sum(counts.get(name, 0) for name in ("exits",)), 2)


def combine(icount, timed):
    native, popf_, hot = icount["native"], icount["popf"], timed or {}
    for figures in (native, popf_, *hot.values()):
        with_context(figures)
    rows = {}
    for name, (text, goal) in TEXTS.items():
        if name not in native and name not in popf_:
            continue
        counts = popf_.get(name, {}).get("counts", {})
        row = {
            "text": text,
            "goal": goal,
            "native_instructions": value(native, name),
            "popf_instructions": value(popf_, name),
            "exits": exits(counts) if counts else None,
            "counts": counts,
        }
        row["ratio"] = ratio(row["popf_instructions"], row["native_instructions"])
        # The loop that timer interrupts are told from has no meaning in time.
        if hot and name != "timer":
            for engine in ("native", "popf", "tcg"):
                row[engine + "_ns"] = value(hot.get(engine, {}), name)
            row["popf_time_ratio"] = ratio(row["popf_ns"], row["native_ns"])
            row["tcg_time_ratio"] = ratio(row["tcg_ns"], row["native_ns"])
        rows[name] = row
    return rows


# --- the table ---------------------------------------------------------------


def show(number):
    if number is None:
        return "-"
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.2f}".rstrip("0").rstrip(".")


def reasons(counts):
    found = [(counts.get(name, 0), text) for name, text in EXITS.items() if abs(counts.get(name, 0)) >= 0.01]
    return " ".join(f"{text} {show(count)}" for count, text in sorted(found, reverse=True))


def table(rows):
    lines = [
        "Instructions of the lab's machine per operation (icount), and times in ns in the lab without icount.",
        "",
        f"{'operation':50} {'native':>8} {'popf':>9} {'ratio':>7} {'goal':>5} {'exits':>7}"
        f" {'popf/native':>12} {'TCG/native':>11}  counted by the module",
        f"{'':50} {'insns':>8} {'insns':>9} {'':>7} {'':>5} {'':>7} {'in time':>12} {'in time':>11}",
    ]
    for row in rows.values():
        lines.append(
            f"{row['text']:50} {show(row['native_instructions']):>8} {show(row['popf_instructions']):>9}"
            f" {show(row['ratio']):>7} {show(row['goal']):>5} {show(row['exits']):>7}"
            f" {show(row.get('popf_time_ratio')):>12} {show(row.get('tcg_time_ratio')):>11}  {reasons(row['counts'])}"
        )
    return "\n".join(lines) + "\n"


def ops():
    os.makedirs(FOLDER, exist_ok=True)
    initrd = os.path.join(FOLDER, "ops-initrd")
    script = f"cd /tmp; cp /bench/ops .; ./ops {' '.join(program_arguments())}; echo {END}\n"
    guest_image.replace_file(
        initrd, guest_image.run_initrd(script.encode(), "bench-end:", [(PROGRAM, "bench/ops")])
    )
    icount = lab("icount", initrd, True)
    timed = lab("time", initrd, False) if os.environ.get("BENCH_TIME") != "0" else None
    rows = combine(icount, timed)
    guest_image.replace_file(os.path.join(FOLDER, "ops.json"), (json.dumps(rows, indent=2) + "\n").encode())
    text = table(rows)
    guest_image.replace_file(os.path.join(FOLDER, "ops.txt"), text.encode())
    print(text, end="")
    missing = [row["text"] for row in rows.values() if row["ratio"] is None]
    if missing:
        print("bench ops: not measured: " + "; ".join(missing), file=sys.stderr)
    return 1 if missing else 0
