"""Runs a command as the shipped unit would: `python sandbox.py UNIT COMMAND…`.

Only what a process can lay upon itself: no new privileges, the limits, no writable and executable memory, the filter of
system calls. The rest (users, mounts) is the business of whoever starts this.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65
ACT_ALLOW, ACT_ERRNO = 0x7FFF0000, 0x00050000


def settings(unit: Path) -> list[tuple[str, str]]:
    """The assignments of the unit's [Service] section, in their order."""
    section = unit.read_text(encoding="utf-8").partition("[Service]")[2].partition("\n[")[0]
    lines = [line for line in section.splitlines() if "=" in line and not line.startswith("#")]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def allowed_calls(unit: Path, analyze: str) -> set[str]:
    """The system calls that the unit's filters let through."""
    calls: set[str] = set()
    for value in [value for name, value in settings(unit) if name == "SystemCallFilter"]:
        named = _expand(value.removeprefix("~").split(), analyze)
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def _expand(names: list[str], analyze: str) -> set[str]:
    calls = {name for name in names if not name.startswith("@")}
    for name in set(names) - calls:
        listed = subprocess.run([analyze, "syscall-filter", name], capture_output=True, text=True, check=True).stdout
        words = [line.strip() for line in listed.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
        calls |= _expand(words, analyze)
    return calls


def restrict(calls: set[str]) -> None:
    """Let this process and its children make no other system calls; raises OSError."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ACT_ERRNO | errno.EPERM))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        # Calls of other architectures have negative numbers.
        if number >= 0 and library.seccomp_rule_add(context, ACT_ALLOW, number, 0):
            raise OSError(f"no rule for {call}")
    if failed := library.seccomp_load(context):
        raise OSError(-failed, "the filter is not accepted")


def main(unit: Path, analyze: str, command: list[str]) -> None:
    """Become `command`."""
    calls = allowed_calls(unit, analyze)
    process = ctypes.CDLL(None, use_errno=True)
    process.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Since Linux 6.3; older kernels go without.
    process.prctl(PR_SET_MDWE, 1, 0, 0, 0)
    limit = int(dict(settings(unit))["LimitNOFILE"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    os.umask(0o077)
    restrict(calls)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
