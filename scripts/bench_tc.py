# SPDX-License-Identifier: GPL-2.0-only
"""bench tc: the translation cache alone, and how often a guest finds what it needs there.

Recorded streams (tests/stream/, and a longer one that is recorded in the lab
into build/bench/tc-long.popfs) are replayed by tests/bench/tc_*.c through caches
of many sizes with every eviction policy, first empty ("cold"), then the same
stream once more ("warm"). What translating costs is counted by callgrind. Then a
guest runs in the lab, at rest and under a fork/exec load, and the module says how
often the monitor found the code it was asked for.

Writes build/bench/tc.json, tc.txt (the table), tc-hit-rate.svg, tc-misses.svg,
tc-expansion.svg, and tc.gnuplot with its data, which draws them:

    gnuplot build/bench/tc.gnuplot

From the environment: TC_STREAMS, other streams than those; TC_LIMIT, entries of each stream at most (all);
TC_RECORD=0, no recording; TC_GUEST=0, nothing in the lab at all.

Fields of tc.json:
  streams[]     name, entries, tus, flushes: what was replayed
  runs[]        one replay: stream ("all": the sum; when warm, without the streams in
                which the guest flushes everything), policy, size_kib, pass, and
    entries           TUs entered
    hit_rate          of these, those whose code was in the cache
    chained           entered by a linked branch
    ibl_hits          entered through the indirect table
    monitor           entered through the monitor (exits of all kinds)
    dispatch_hit_rate of these, those whose code was found
    misses            {cold, evicted, invalidated, mode}: translated, and why
    unchained         direct exits to the monitor (branch not linked)
    ibl_hit_rate      indirect branches that found their pad in the table
    return_hit_rate   the same of returns alone, return_first_rate: at first try
    bytes_in, bytes_out, insns  of what was translated
    bytes_out_per_insn, bytes_in_per_insn
    evictions, evicted_tus, spared, unchains, links
  expansion     bytes_out_per_byte, classes[] {class, insns, guest_bytes, host_bytes}
  cost          instructions_per_insn: executed per guest instruction translated
                (null without valgrind); zydis_share of that; insns, tus
  guest         {rest, fork_exec}, null if not run: what the module counted of lookups
                by the monitor (lookups, hits, dispatch_hit_rate, translated: TUs), and,
                from a recording of the phase followed a second time: entries, hit_rate
                of all of them, chained, ibl_hits, monitor; entry_hit_rate is what the
                module's misses leave of these entries, unchained_hit_rate of those that
                are not by a linked branch (the indirect table and the monitor)
  default       {policy, size_kib}
  draw          the command that draws the plots

Parts: streams, replay, cost, guest, plots, table.
"""

import json
import os
import re
import subprocess
import sys

import guest_image
from bench_ops import run_guest

TOP = guest_image.TOP
FOLDER = os.path.join(guest_image.BUILD, "bench")
PROGRAM = os.path.join(FOLDER, "tc")
MARK = os.path.join(FOLDER, "mark")
SCRIPT = "build/bench/tc.gnuplot"
MAGIC = b"\x89popfstr"
PHASE = os.path.join(FOLDER, "tc-{}.popfs")
LONG = os.path.join(FOLDER, "tc-long.popfs")
DEFAULT = {"policy": "fifo", "size_kib": 8192}
POLICIES = ("fifo", "flush", "clock", "generational")
HITS = ("chained", "ibl_hits", "dispatch_hits", "unchained_hits", "ibl_found")
MISSES = ("direct_misses", "ibl_misses", "dispatch_misses")
CMDLINE = "console=ttyS0 quiet panic=-1 loglevel=4"
END = "bench-ops-end:"
WINDOW = "24m"  # entries recorded completely


def packages():
    lines = guest_image.read(os.path.join(TOP, "scripts/packages-bench.txt")).decode().splitlines()
    names = [line.split("#")[0].strip() for line in lines]
    subprocess.run([os.path.join(TOP, "scripts/ensure-packages")] + [name for name in names if name], check=True)


# --- streams ------------------------------------------------------------------


def is_stream(path):
    return os.path.isfile(path) and guest_image.read(path)[:8] == MAGIC


def find_streams():
    if os.environ.get("TC_STREAMS"):
        return os.environ["TC_STREAMS"].split()
    folder = os.path.join(TOP, "tests/stream")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [os.path.join(folder, name) for name in names if is_stream(os.path.join(folder, name))]
    if os.environ.get("TC_RECORD") != "0" and not is_stream(LONG):
        print("bench tc: recording a guest in the lab, once", file=sys.stderr)
        lab("record", LONG_COMMAND, LONG)
    if is_stream(LONG):
        found.append(LONG)
    return found


# --- replay -------------------------------------------------------------------


def replay(streams):
    limit = os.environ.get("TC_LIMIT") or "0"
    command = [PROGRAM, "--limit", limit] + streams
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def ratio(part, whole, digits=6):
    return round(part / whole, digits) if whole else None


def figures(raw):
    """What a run's counters say. Sums of runs make sense too."""
    hits = sum(raw[name] for name in HITS)
    misses = sum(raw[name] for name in MISSES)
    monitor = hits + misses - raw["chained"] - raw["ibl_hits"]
    indirect = raw["returns"] + raw["jumps"]
    return {
        "entries": hits + misses,
        "hit_rate": ratio(hits, hits + misses),
        "chained": raw["chained"],
        "ibl_hits": raw["ibl_hits"],
        "monitor": monitor,
        "dispatch_hit_rate": ratio(monitor - misses, monitor),
        "misses": {cause: raw["miss_" + cause] for cause in ("cold", "evicted", "invalidated", "mode")},
        "unchained": raw["unchained_hits"] + raw["direct_misses"],
        "ibl_hit_rate": ratio(raw["return_hits"] + raw["jump_hits"], indirect),
        "return_hit_rate": ratio(raw["return_hits"], raw["returns"]),
        "return_first_rate": ratio(raw["return_first"], raw["returns"]),
        "bytes_in": raw["guest_bytes"],
        "bytes_out": raw["host_bytes"],
        "insns": raw["guest_insns"],
        "bytes_in_per_insn": ratio(raw["guest_bytes"], raw["guest_insns"], 3),
        "bytes_out_per_insn": ratio(raw["host_bytes"], raw["guest_insns"], 3),
        "evictions": raw["evictions"],
        "evicted_tus": raw["evicted_tus"],
        "spared": raw["spared"],
        "links": raw["chains"],
        "unchains": raw["unchains"],
        "unfollowed": raw["odd"] + raw["unknown"],
    }


KEY = ("policy", "size_kib", "pass")


def runs_of(raw, flushing):
    runs, sums = [], {}
    for run in raw:
        head = {"stream": os.path.basename(run["stream"])}
        head.update({name: run[name] for name in KEY})
        runs.append(dict(head, **figures(run)))
        if run["pass"] == "warm" and run["stream"] in flushing:
            continue
        total = sums.setdefault(tuple(run[name] for name in KEY), {})
        for name, value in run.items():
            if isinstance(value, int) and name not in KEY:
                total[name] = total.get(name, 0) + value
    for key, total in sums.items():
        runs.append(dict({"stream": "all"}, **dict(zip(KEY, key)), **figures(total)))
    return runs


def expansion(classes):
    seen = [entry for entry in classes if entry["host_bytes"] or entry["insns"]]
    return {
        "bytes_out_per_byte": ratio(
            sum(entry["host_bytes"] for entry in seen), sum(entry["guest_bytes"] for entry in seen), 3),
        "classes": seen,
    }


# --- cost ---------------------------------------------------------------------


def inclusive(text, function):
    """Instructions in a function and what it calls, from callgrind_annotate's list."""
    pattern = r"^\s*([\d,]+) \([ \d.]+%\)\s+\S*?:" + re.escape(function) + r"(?:'\d+)?(?: \[|$)"
    found = [int(number.replace(",", "")) for number in re.findall(pattern, text, re.MULTILINE)]
    return max(found, default=0)


def cost(streams):
    out = os.path.join(FOLDER, "tc.callgrind")
    command = ["valgrind", "-q", "--tool=callgrind", "--callgrind-out-file=" + out, PROGRAM, "--translate"]
    done = subprocess.run(command + streams[:1], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        sys.stderr.write(done.stderr.decode(errors="replace")[-1000:])
        return None
    counted = json.loads(done.stdout)
    text = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    # What the replayer does to get the guest's bytes is not the translator's.
    whole = inclusive(text, "bt_enter") - inclusive(text, "fetch")
    zydis = sum(inclusive(text, name) for name in (
        "ZydisDecoderDecodeInstruction", "ZydisDecoderDecodeOperands", "ZydisRegisterGetLargestEnclosing"))
    return {
        "instructions_per_insn": ratio(whole, counted["guest_insns"], 1),
        "zydis_share": ratio(zydis, whole, 4),
        "insns": counted["guest_insns"],
        "tus": counted["tus"],
    }


# --- guest --------------------------------------------------------------------

# /mark makes a mark in the statistics (popf(1), --stats).
GUEST_COMMAND = r"""
load() { i=0; while [ $i -lt $1 ]; do /bin/busybox true; i=$((i+1)); done; }
load 100; sleep 10
echo phase-rest; /mark 1; sleep 20; /mark 2; echo end-rest
load 50
echo phase-fork_exec; /mark 3; load 150; /mark 4; echo end-fork_exec
"""
PHASES = {"rest": (1, 2), "fork_exec": (3, 4)}

# Much of a kernel: booting, processes, files, pipes, /proc and /sys.
LONG_COMMAND = r"""
i=0; while [ $i -lt 30 ]; do /bin/busybox true; i=$((i+1)); done
mkdir /tmp/a; mount -t tmpfs x /tmp/a; dd if=/dev/urandom of=/tmp/a/f bs=64k count=16 2>/dev/null
i=0; while [ $i -lt 8 ]; do cp /tmp/a/f /tmp/a/$i; rm /tmp/a/$((i/2)) 2>/dev/null; i=$((i+1)); done
dd if=/tmp/a/f bs=4k 2>/dev/null | wc -c
find /proc /sys -type f 2>/dev/null | head -n 300 | xargs -n 50 cat >/dev/null 2>&1
ip addr; ps; mount; df; umount -l /tmp/a; dmesg | tail -n 1
"""


def popf(verb, initrd, options):
    return [os.path.join(guest_image.BUILD, "popf"), verb] + options + [
        "--kernel", guest_image.KERNEL, "--initrd", initrd, "--cmdline", CMDLINE, "--memory", "512M"]


def record(initrd, out):
    """In the lab: record a guest from its first instruction to its last."""
    run_guest(popf("record", initrd, ["--out", "/tmp/long", "--window", WINDOW, "--"]))
    subprocess.run(["cp", "/tmp/long", out], check=True)
    return 0


def inside(what, initrd, *rest):
    return record(initrd, *rest) if what == "record" else measure(initrd)


def measure(initrd):
    """In the lab: run the guest and print what the module counted in each phase."""
    stats = "/tmp/tc-stats.json"
    run_guest(popf("run", initrd, ["--stats", stats]))
    for phase in PHASES:
        bounds = ["--from", "phase-" + phase, "--until", "end-" + phase]
        run_guest(popf("record", initrd, ["--out", "/tmp/phase"] + bounds + ["--window", WINDOW, "--"]))
        subprocess.run(["cp", "/tmp/phase", PHASE.format(phase)], check=True)
    with open(stats, encoding="ascii") as file:
        got = json.load(file)
    marks = {mark["number"]: mark["vcpu0"] for mark in got.get("marks", [])}
    result = {}
    for phase, (first, last) in PHASES.items():
        old, new = (values + [0] * (len(got["vcpu0"]) - len(values)) for values in (marks[first], marks[last]))
        change = {name: after - before for name, before, after in zip(got["vcpu0"], old, new)}
        result[phase] = {
            "lookups": change["bt_lookups"],
            "hits": change["bt_lookup_hits"],
            "dispatch_hit_rate": ratio(change["bt_lookup_hits"], change["bt_lookups"]),
            "translated": change["bt_tus_translated"],
            "invalidated": change["bt_invalidated_tus"],
            "evicted": change["bt_evicted_tus"],
        }
    print(json.dumps(result))
    return 0


def lab(what, commands, *rest):
    """Runs inside() in the lab with a guest that does this; what it printed, or None."""
    initrd = os.path.join(FOLDER, f"tc-{what}-initrd")
    guest_image.replace_file(initrd, guest_image.run_initrd(commands.encode(), END, [(MARK, "/mark")]))
    command = [os.path.join(TOP, "tests/lab/run"), "--module", "--timeout", "1700"]
    if os.environ.get("O"):
        command += ["--env", "O=" + os.environ["O"]]
    command += ["--", "/usr/bin/python3", os.path.join(TOP, "scripts/bench"), "tc-inside", what, initrd, *rest]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    return done.stdout if not done.returncode else None


def guest():
    """What the module counted, and what following the recorded phases says of all entries."""
    got = lab("guest", GUEST_COMMAND)
    if not got:
        return None
    result = json.loads(got)
    paths = [PHASE.format(phase) for phase in PHASES]
    options = ["--sizes", str(DEFAULT["size_kib"]), "--policies", DEFAULT["policy"]]
    runs = json.loads(subprocess.run([PROGRAM] + options + paths, stdout=subprocess.PIPE, check=True).stdout)["runs"]
    for phase, run in zip(PHASES, runs[1::2]):
        seen = figures(run)
        result[phase].update({name: seen[name] for name in ("entries", "hit_rate", "chained", "ibl_hits", "monitor")})
        misses = result[phase]["lookups"] - result[phase]["hits"]
        unchained = seen["entries"] - seen["chained"]
        result[phase]["entry_hit_rate"] = ratio(seen["entries"] - misses, seen["entries"])
        result[phase]["unchained_hit_rate"] = ratio(unchained - misses, unchained)
    return result


# --- plots --------------------------------------------------------------------

PLOT = """# Draws the plots of `make bench BENCH=tc`: gnuplot build/bench/tc.gnuplot
folder = "{folder}/"
set terminal svg size 900,420 font "sans,11" background rgb "white"
set key bottom right
set grid
set logscale x 2
set xrange [200:82000]
set xlabel "translation cache"
set xtics ("256K" 256, "512K" 512, "1M" 1024, "2M" 2048, "4M" 4096, "8M" 8192, "16M" 16384, "32M" 32768, "64M" 65536)

set output folder . "tc-hit-rate.svg"
set multiplot layout 1,2
set ylabel "entries that find their code, %"
set format y "%.3f"
do for [pass in "cold warm"] {{
	set title "hit rate, " . pass
	plot for [policy in "{policies}"] folder . "tc-" . pass . ".dat" \\
		using "size":(100 * column(policy)) with linespoints title policy
}}
unset multiplot

set output folder . "tc-misses.svg"
set multiplot layout 1,2
set key top right
set ylabel "misses per million entries"
set logscale y
set format y "%.0f"
do for [pass in "cold warm"] {{
	set title "misses, " . pass
	plot for [policy in "{policies}"] folder . "tc-" . pass . ".dat" \\
		using "size":(1e6 * (1 - column(policy)) + 0.1) with linespoints title policy
}}
unset multiplot

set output folder . "tc-expansion.svg"
unset logscale
set xrange [*:*]
set title "bytes of code per instruction"
unset xlabel
set ylabel "bytes"
set format y "%g"
set key top left
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8
set xtics auto rotate by -30
set bmargin 6
plot folder . "tc-expansion.dat" using 2:xtic(1) title "guest", "" using 3 title "translated"
"""


def write_text(name, text):
    guest_image.replace_file(os.path.join(FOLDER, name), text.encode())


def plot(report):
    for which in ("cold", "warm"):
        lines = ["size " + " ".join(POLICIES)]
        rates = {
            (run["size_kib"], run["policy"]): run["hit_rate"]
            for run in report["runs"] if run["stream"] == "all" and run["pass"] == which
        }
        for size in sorted({key[0] for key in rates}):
            lines.append(" ".join([str(size)] + [str(rates[size, policy]) for policy in POLICIES]))
        write_text(f"tc-{which}.dat", "\n".join(lines) + "\n")
    lines = []
    for entry in report["expansion"]["classes"]:
        if entry["insns"]:
            label = entry["class"].replace(", rdtsc ...", "")
            guest_bytes, host_bytes = (entry[name] / entry["insns"] for name in ("guest_bytes", "host_bytes"))
            lines.append(f'"{label}" {guest_bytes:.3f} {host_bytes:.3f}')
    write_text("tc-expansion.dat", "\n".join(lines) + "\n")
    folder = os.path.relpath(FOLDER, TOP)
    write_text("tc.gnuplot", PLOT.format(folder=folder, policies=" ".join(POLICIES)))
    subprocess.run(["gnuplot", os.path.join(FOLDER, "tc.gnuplot")], cwd=TOP, check=True)


# --- table --------------------------------------------------------------------


def percent(value, digits=4):
    return "-" if value is None else f"{100 * value:.{digits}f}"


def table_of_runs(runs):
    """The sums, without the sizes at which nothing changes any more."""
    head = (f"{'policy':13}{'size':>7} {'pass':5}{'hit %':>10}{'dispatch %':>12}{'cold':>8}{'evicted':>9}{'inval.':>8}"
            f"{'mode':>6}{'chained %':>11}{'unchained':>10}{'ibl %':>9}{'return %':>10}{'first %':>9}")
    lines, seen = [head], {}
    for run in runs:
        key, figures_only = (run["policy"], run["pass"]), {k: v for k, v in run.items() if k != "size_kib"}
        if run["stream"] != "all" or seen.get(key) == figures_only:
            continue
        seen[key] = figures_only
        misses = run["misses"]
        lines.append(
            f"{run['policy']:13}{run['size_kib']:>6}K {run['pass']:5}{percent(run['hit_rate']):>10}"
            f"{percent(run['dispatch_hit_rate'], 3):>12}{misses['cold']:>8}{misses['evicted']:>9}"
            f"{misses['invalidated']:>8}{misses['mode']:>6}{percent(ratio(run['chained'], run['entries']), 2):>11}"
            f"{run['unchained']:>10}{percent(run['ibl_hit_rate'], 3):>9}{percent(run['return_hit_rate'], 3):>10}"
            f"{percent(run['return_first_rate'], 2):>9}")
    return lines + ["larger caches: as the largest listed of their policy"]


def table(report):
    lines = ["streams:"]
    lines += [f"  {s['name']}: {s['entries']} entries, {s['tus']} TUs" for s in report["streams"]]
    lines += [""] + table_of_runs(report["runs"])
    lines += ["", f"{'class':26}{'insns':>9}{'bytes in':>10}{'bytes out':>11}{'factor':>8}"]
    for entry in report["expansion"]["classes"]:
        lines.append(f"{entry['class']:26}{entry['insns']:>9}{entry['guest_bytes']:>10}{entry['host_bytes']:>11}"
                     f"{ratio(entry['host_bytes'], entry['guest_bytes'], 2) or '-':>8}")
    lines.append(f"all: {report['expansion']['bytes_out_per_byte']} bytes out per byte in")
    if report["cost"]:
        done = report["cost"]
        lines += ["", f"translating: {done['instructions_per_insn']} instructions per guest instruction "
                      f"({done['insns']} of them), of which Zydis {percent(done['zydis_share'], 1)} %"]
    for phase, seen in (report["guest"] or {}).items():
        lines.append(f"guest, {phase}: {percent(seen['dispatch_hit_rate'])} % of {seen['lookups']} lookups found, "
                     f"{seen['translated']} TUs translated; {percent(seen['entry_hit_rate'])} % of {seen['entries']} entries, "
                     f"{percent(seen['unchained_hit_rate'])} % of those that are not chained, "
                     f"{percent(ratio(seen['chained'], seen['entries']), 1)} % of them chained")
    return "\n".join(lines) + "\n"


def tc():
    os.makedirs(FOLDER, exist_ok=True)
    packages()
    streams = find_streams()
    if not streams:
        print("bench tc: no streams: tests/stream/ has none", file=sys.stderr)
        return 1
    got = replay(streams)
    flushing = [stream["name"] for stream in got["streams"] if stream["flushes"]]
    for stream in got["streams"]:
        stream["name"] = os.path.basename(stream["name"])
    report = {
        "streams": got["streams"],
        "runs": runs_of(got["runs"], flushing),
        "expansion": expansion(got["classes"]),
        "cost": cost(streams),
        "guest": guest() if os.environ.get("TC_GUEST") != "0" else None,
        "default": DEFAULT,
        "draw": "gnuplot " + SCRIPT,
    }
    write_text("tc.json", json.dumps(report, indent=1) + "\n")
    text = table(report)
    write_text("tc.txt", text)
    plot(report)
    print(text + "plots: build/bench/tc-*.svg, drawn by " + report["draw"])
    return 0
