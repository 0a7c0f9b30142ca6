# SPDX-License-Identifier: GPL-2.0-only
"""Passing a machine's output on until an end token, and keeping processes in hand."""

import contextlib
import ctypes
import os
import re
import select
import signal
import termios
import threading


class Stopped(Exception):
    """The run ends early with this exit status."""

    def __init__(self, status):
        super().__init__()
        self.status = status


def stop_on_signals():
    """
    Turn the first of the signals that end a program into Stopped, so that clean-up runs.
    The others come while it does (a closing terminal alone sends two), and must not end
    it, nor what it starts.
    """
    signals = signal.SIGINT, signal.SIGTERM, signal.SIGHUP

    def stop(number, _frame):
        for other in signals:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(128 + number)

    for number in signals:
        signal.signal(number, stop)
    if os.isatty(0):
        threading.Thread(target=_watch_terminal, daemon=True).start()


def _watch_terminal():
    """A closing terminal sends SIGHUP to its session leader only, and make does not pass it on."""
    poll = select.poll()
    poll.register(0, 0)
    while not poll.poll():
        pass
    os.kill(os.getpid(), signal.SIGHUP)


def die_with_parent():
    """For a child, before it starts: do not outlive this process, whatever ends it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Stream:
    """Bytes of a machine passed on to one of our descriptors, up to token + "<status>;"."""

    def __init__(self, fd, token):
        self.fd = fd
        self.token = token.encode()
        self.held = b""
        self.status = None

    def write(self, data):
        while data:
            data = data[os.write(self.fd, data):]

    def feed(self, data):
        """Pass data on, holding back what may be the beginning of the token."""
        self.held += data
        found = self.held.find(self.token)
        if found >= 0:
            tail = re.match(rb"(\d+);", self.held[found + len(self.token):])
            self.write(self.held[:found])
            self.held = self.held[found:]
            if tail:
                self.status = int(tail.group(1))
            return
        keep = next((n for n in range(len(self.token) - 1, 0, -1) if self.held.endswith(self.token[:n])), 0)
        cut = len(self.held) - keep
        self.write(self.held[:cut])
        self.held = self.held[cut:]

    def finish(self):
        """The machine is gone: pass on what was held back."""
        if self.status is None:
            self.write(self.held)
            self.held = b""


@contextlib.contextmanager
def terminal_restored(fd=0):
    """Whatever a child does to the terminal is undone."""
    saved = termios.tcgetattr(fd) if os.isatty(fd) else None
    try:
        yield
    finally:
        if saved:
            with contextlib.suppress(termios.error):  # the terminal may be gone
                termios.tcsetattr(fd, termios.TCSADRAIN, saved)
