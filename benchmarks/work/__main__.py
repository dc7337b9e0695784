"""What the hot path costs, counted without sockets and without a store: `python -m benchmarks.work --help`."""

from __future__ import annotations

import argparse
import functools
import sys

from benchmarks.report import number, table
from benchmarks.work import budget, callgrind, cases

REPEATS = 2000


def main() -> int:
    names = cases.names()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.work", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"only these: {', '.join(names)}")
    parser.add_argument("--modules", action="store_true", help="show in which modules the instructions are")
    parser.add_argument("--record", action="store_true", help="make what is counted now the budget that the tests hold")
    parser.add_argument(
        "--callgrind", action="store_true", help="count machine instructions too (needs valgrind, half a minute for each case)"
    )
    parser.add_argument("--repeat", type=int, metavar="N", help="only repeat the case N times, for a profiler that watches this process")
    options = parser.parse_args()
    chosen = options.cases or names
    if unknown := set(chosen) - set(names):
        parser.error(f"there is no case {', '.join(unknown)}")
    if options.repeat:
        for name in chosen:
            print(f"{name}: {cases.with_bench(functools.partial(cases.spend, name=name, repeats=options.repeat)):.1f} µs")
        return 0
    counted = {name: cases.with_bench(functools.partial(cases.count, name=name)) for name in chosen}
    rows = [("", "instructions", "calls", "C calls", "writes", "µs", *(["machine instructions"] if options.callgrind else []))]
    for name, figures in counted.items():
        spent = cases.with_bench(functools.partial(cases.spend, name=name, repeats=max(4, REPEATS // figures.units)))
        machine = [number(callgrind.count(name, figures.units))] if options.callgrind else []
        counts = (number(value) for value in (figures.instructions, figures.calls, figures.builtins, figures.writes))
        rows.append((name, *counts, number(spent), *machine))
    print(table(rows))
    if options.modules:
        for name, figures in counted.items():
            shares = [("module", "instructions", "share")]
            shares += [(module, number(value), f"{value / figures.instructions:.1%}") for module, value in figures.modules.items()]
            print(f"{name}\n\n{table(shares)}")
    if options.record:
        _, recorded = budget.read() if budget.FILE.exists() else ("", {})
        budget.write(recorded | {name: figures.counts() for name, figures in counted.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
