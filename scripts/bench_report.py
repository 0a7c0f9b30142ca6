# SPDX-License-Identifier: GPL-2.0-only
"""bench report: all figures in build/bench on one page, build/bench/report.md.

Reads what the other benchmarks have left there (boot.json, ops.json, native.json,
tc.json and its plots). What is missing is said, with the command that makes it.

Parts: the sections, published figures, the page.
"""

import datetime
import json
import os
import re
import subprocess

import guest_image

TOP = guest_image.TOP
FOLDER = os.path.join(guest_image.BUILD, "bench")


def load(name):
    try:
        with open(os.path.join(FOLDER, name + ".json"), encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return None


def show(value):
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(show(cell) for cell in row) + " |" for row in rows]
    return lines


def when(name):
    stamp = os.path.getmtime(os.path.join(FOLDER, name + ".json"))
    return datetime.datetime.fromtimestamp(stamp, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def section(title, name, repeat, body):
    """A section from one JSON file; body(data) gives its lines."""
    lines = ["", f"## {title}", ""]
    data = load(name)
    if data is None:
        return lines + [f"**Missing**: `build/bench/{name}.json` is not there. `{repeat}` makes it."]
    return lines + [f"`{repeat}`, {when(name)}.", ""] + body(data)


# --- sections ----------------------------------------------------------------


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    version = subprocess.run(
        ["git", "-C", TOP, "describe", "--tags", "--always", "--dirty"], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.PIPE, text=True).stdout
    return [
        "## The machine", "",
        *table(["", ""], [
            ["popf", version],
            ["CPU", model.group(1) if model else None],
            ["CPUs", os.cpu_count()],
            ["kernel of this machine", os.uname().release],
            ["lab", "a stock Debian kernel in " + qemu.splitlines()[0] + ", TCG" if qemu else None],
        ]),
        "",
        "The lab stands in for a host that may load modules. Its times are those of an emulated CPU on a machine that may be busy; its instruction counts "
        "(icount) repeat exactly but know nothing of address-space switches and TLB misses. No figure here was taken on bare hardware.",
    ]


def boot(data):
    rows = [
        ["the lab's machine booting the guest's kernel directly", data.get("native_s"), 1],
        ["popf", data.get("popf_s"), data.get("popf_to_native")],
        ["QEMU TCG in the lab", data.get("tcg_s"), ratio(data.get("tcg_s"), data.get("native_s"))],
    ]
    known = ("native_s", "popf_s", "tcg_s", "popf_to_native")
    rest = [[name, value] for name, value in data.items() if name not in known]
    return table(["until the first command", "seconds", "ratio"], rows) + [""] + table(["other figures", ""], rest)


def ratio(one, other):
    return round(one / other, 2) if one and other else None


def ops(data):
    rows = []
    for row in data.values():
        goal = row["goal"]
        met = None if not goal or row["ratio"] is None else row["ratio"] <= goal
        rows.append([
            row["text"], row["native_instructions"], row["popf_instructions"], row["ratio"], goal, met, row["exits"],
            row.get("native_ns"), row.get("popf_ns"), row.get("tcg_ns"),
        ])
    head = ["operation", "native, instructions", "popf, instructions", "ratio", "goal", "met", "exits",
            "native, ns", "popf, ns", "QEMU TCG in the lab, ns"]
    return table(head, rows) + [
        "",
        "Instructions: all that the lab's machine executed for one operation (icount). Exits: how often the guest world was left for the host; on real "
        "hardware that is what costs. Times: in the lab without icount.",
    ]


def native(data):
    rows = [
        [p["name"], p["set"], p["native_ns"], p["translated_ns"], p["ratio"], p.get("ratio_low"), p.get("ratio_high")]
        for p in data["programs"]
    ]
    limits, reached = data.get("limits", {}), data.get("reached", {})
    lines = table(["program", "set", "native, ns", "translated, ns", "ratio", "low", "high"], rows)
    lines += ["", f"Geometric mean of the mix: **{show(data.get('mix_geomean'))}**.", ""]
    lines += table(["goal", "limit", "reached"], [[name, value, reached.get(name)] for name, value in limits.items()])
    if data.get("translate"):
        lines += [""] + table(["translation", ""], data["translate"].items())
    return lines


def tc(data):
    default = data.get("default") or {}
    head = ["stream", "policy", "KiB", "pass", "hit rate", "dispatch hit rate", "indirect lookups hit", "returns hit",
            "bytes out per instruction"]
    rows = [
        [r["stream"], r["policy"], r["size_kib"], r["pass"], r["hit_rate"], r["dispatch_hit_rate"], r["ibl_hit_rate"],
         r["return_hit_rate"], r["bytes_out_per_insn"]]
        for r in data["runs"] if r["size_kib"] in (256, 1024, default.get("size_kib"))
    ]
    lines = [f"The default is `{default.get('policy')}` with {default.get('size_kib')} KiB.", ""] + table(head, rows)
    if data.get("cost"):
        lines += [""] + table(["translation", ""], data["cost"].items())
    if data.get("guest"):
        lines += ["", "In a booted guest:", "", "```json", json.dumps(data["guest"], indent=1), "```"]
    else:
        lines += ["", "**Missing**: the rates in a booted guest."]
    plots = sorted(name for name in os.listdir(FOLDER) if name.startswith("tc-") and name.endswith(".svg"))
    lines += [""] + [f"![{name}]({name})\n" for name in plots]
    if not plots:
        lines += ["**Missing**: the plots (`build/bench/tc-*.svg`)."]
    elif data.get("draw"):
        lines += [f"Drawn by `{data['draw']}`."]
    return lines


# --- published figures -------------------------------------------------------

# Operation here: (text, VMware's software VMM over native, PVM over bare metal with
# KVM on EPT). None: not published, or only in a form that cannot be compared.
PUBLISHED = [
    ("null", "about 2,300 of 240 cycles = 9.6 (read off a figure)",
     "0.29 of 0.06 us = 4.8; 1.91 us without direct switch"),
    ("signal", None, "1.71 of 1.01 us = 1.7"),
    ("true", "3,927 of 1,093 cycles = 3.6", "2.65 of 0.66 us = 4.0"),
    ("protection", None, "0.88 of 0.15 us = 5.9"),
    ("pte", "391 of 1 cycle (the store alone)", None),
    ("fork", "36.9 of 6.0 s for 40,000 = 6.2; 18.4 of 2.62 s = 7.0 on a Core 2", "436.67 of 82.13 us = 5.3"),
    ("exec", None, "1,290 of 422 us = 3.1"),
    ("mmap", None, "115.2 of 85.9 ms = 1.3 (lmbench's size)"),
    ("create", None, "112.8 of 86.8 us = 1.3"),
    ("cpuid", None, "0.59 us, with a synthetic instruction"),
    ("port", "15 times fewer cycles than native's 3,209 (port 80h, in the monitor)", "4.54 us (to user space)"),
]


def published():
    data = load("ops") or {}
    rows = []
    for name, vmware, pvm in PUBLISHED:
        row = data.get(name, {})
        rows.append([row.get("text", name), row.get("ratio"), row.get("popf_time_ratio"), vmware, pvm])
    head = ["operation", "popf / native, instructions", "popf / native, in time in the lab", "VMware's software VMM, 2006",
            "PVM on bare metal, 2023"]
    return [
        "", "## Beside published figures", "",
        "The machines differ, and so do the definitions: these are not measurements of the same thing.", "",
        *table(head, rows), "",
        "- VMware: K. Adams and O. Agesen, *A Comparison of Software and Hardware Techniques for x86 Virtualization*, ASPLOS 2006. VMware Player 1.0.1 "
        "on a 3.8 GHz Pentium 4, 64-bit guests; cycles, beside the same machine natively. Its 64-bit monitor was measured without protection from the guest.",
        "- PVM: Huang et al., *PVM: Efficient Shadow Paging for Deploying Secure Containers in Cloud-native Environment*, SOSP 2023. Xeon 8269CY, Linux "
        "4.19, no KPTI, the guest kernel and the host kernel changed for it; beside a guest of KVM with VT-x and EPT, not beside native.",
    ]


# --- the page ----------------------------------------------------------------


def report():
    os.makedirs(FOLDER, exist_ok=True)
    lines = ["# popf: figures", "", "Made by `make bench BENCH=report`. Each section names the command that repeats it.", ""]
    lines += machine()
    lines += section("Operations of an operating system", "ops", "make bench BENCH=ops", ops)
    lines += published()
    lines += section("Booting Debian's kernel", "boot", "make bench BENCH=boot", boot)
    lines += section("Translated programs next to native ones", "native", "make bench BENCH=native", native)
    lines += section("Translation cache", "tc", "make bench BENCH=tc", tc)
    path = os.path.join(FOLDER, "report.md")
    guest_image.replace_file(path, ("\n".join(lines) + "\n").encode())
    missing = [line for line in lines if line.startswith("**Missing**")]
    print(f"bench report: {os.path.relpath(path, TOP)}")
    for line in missing:
        print("bench report: " + line.replace("**", "").replace("`", ""))
    return 0
