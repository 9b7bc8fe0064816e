"""`alchemint compare` and `alchemint leaderboard`: what reports say beside each other."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alchemint_jax import media, results
from alchemint_jax.errors import ConfigError
from alchemint_jax.outputs import check_outputs

_REPORT = "report.json of `alchemint evaluate`, or its folder; NAME=REPORT gives it a name"


def add_parsers(commands: Any) -> None:
    """Adds both commands to `commands`, the subparsers of the command line."""
    about = "compare two reports board by board"
    c = commands.add_parser("compare", help=about, description=about[0].upper() + about[1:] + ".")
    c.set_defaults(command=compare, parser=c)
    c.add_argument("a", metavar="REPORT_A", help=f"what is compared to: {_REPORT}")
    c.add_argument("b", metavar="REPORT_B", help="what is compared")
    c.add_argument(
        "--out",
        metavar="DIR|FILE.json",
        help="write compare.json and compare.html into a folder, or the JSON alone",
    )
    c.add_argument("--json", action="store_true", help="print JSON instead of a table")

    about = "rank many reports on a page"
    c = commands.add_parser(
        "leaderboard", help=about, description=about[0].upper() + about[1:] + "."
    )
    c.set_defaults(command=leaderboard, parser=c)
    c.add_argument("reports", metavar="REPORT", nargs="+", help=_REPORT)
    c.add_argument("--out", required=True, metavar="PAGE.html", help="the page to write")


def compare(args: argparse.Namespace) -> int:
    """Compares two reports; prints a table, or JSON."""
    from alchemint_jax.evaluate import comparison
    from alchemint_jax.evaluate.reports import read_report

    folder = data = None
    if args.out is not None and args.out.lower().endswith(".json"):
        data = media.check_writable(args.out)
    elif args.out is not None:
        if Path(args.out).suffix.lower() in (".html", ".htm"):
            raise ConfigError(
                f"--out {args.out}: give a folder, which gets compare.html, or a FILE.json"
            )
        folder = media.check_folder(args.out)
        data = folder / "compare.json"
    a, b = (read_report(given) for given in (args.a, args.b))
    written = [("--out", data), ("--out", folder and folder / "compare.html")]
    check_outputs(written, [("REPORT_A", a.path), ("REPORT_B", b.path)])
    found = comparison.compare(a, b)
    if folder is not None:
        comparison.save_comparison(found, folder)
    elif data is not None:
        results.write_json(data, found)
    print(results.to_json(found).rstrip() if args.json else comparison.table(found))
    return 0


def leaderboard(args: argparse.Namespace) -> int:
    """Writes a page that ranks reports."""
    from alchemint_jax.evaluate.leaderboard import save_leaderboard
    from alchemint_jax.evaluate.reports import read_report

    out = media.check_writable(args.out, [".html"])
    reports = [read_report(given) for given in args.reports]
    check_outputs([("--out", out)], [("REPORT", report.path) for report in reports])
    save_leaderboard(reports, out)
    print(out)
    return 0
