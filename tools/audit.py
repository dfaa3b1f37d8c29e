"""Check the oldest releases that pyproject.toml allows against the published advisories.

    pip install pip-audit
    python tools/audit.py            # the floors of what vaezoo needs to run
    python tools/audit.py --extras   # and of its extras

For an advisory against a floor, raise that floor to the release that fixes it. The floors are checked without their
own dependencies, because these releases may not be installable together. Only the names and versions are sent to the
advisory service of PyPI. Exits 0 without advisories, 1 with one or more, and 2 if the service did not answer for all.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def floors(project, extras=False):
    """The oldest allowed release of each dependency.

    Args:
        project: the `project` table of a pyproject.toml.
        extras: take those of the optional dependencies too.

    Returns:
        {name: version}, sorted, and the names of those that have no floor.
    """
    wanted = list(project["dependencies"])
    if extras:
        wanted += [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    found, without = {}, set()
    for requirement in wanted:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)[0]
        floor = re.search(r">=\s*([0-9][0-9A-Za-z.]*)", requirement)
        if floor:
            found[name] = floor[1]
        elif name != project["name"]:  # an extra that is made of other extras
            without.add(name)
    return dict(sorted(found.items())), sorted(without)


def verdict(report):
    """What pip-audit found.

    Args:
        report: its JSON, read.

    Returns:
        Lines to print, and the exit code.
    """
    lines, skipped = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            skipped.append(package["name"])
        for advisory in package.get("vulns", ()):
            names = ", ".join([advisory["id"], *advisory["aliases"]])
            fixed = ", ".join(advisory["fix_versions"]) or "no release"
            lines.append(f"{package['name']} {package['version']}: {names}; fixed in {fixed}")
    if skipped:  # an unknown package has no advisories, but that does not make it safe
        lines.append(f"unknown to the service, so not checked: {', '.join(skipped)}")
    if len(lines) > bool(skipped):
        return lines, 1
    return (lines, 2) if skipped else (["no advisory against any floor"], 0)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", action="store_true", help="the optional dependencies too")
    arguments = parser.parse_args(argv)
    found, without = floors(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], arguments.extras)
    pinned = [f"{name}=={version}" for name, version in found.items()]
    print("\n".join(pinned))
    if without:
        print(f"not checked, because they have no floor: {', '.join(without)}")
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "floors.txt"
        listing.write_text("\n".join(pinned), encoding="utf-8")
        options = ["--disable-pip", "--no-deps", "--format", "json", "--requirement", str(listing)]
        command = [sys.executable, "-m", "pip_audit", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "No module named pip_audit" in done.stderr:
        print("audit: pip-audit is not installed; `pip install pip-audit`", file=sys.stderr)
        return 2
    try:
        lines, code = verdict(json.loads(done.stdout))
    except ValueError:  # it failed, most likely because of the network
        lines, code = [f"audit: no answer: {(done.stderr.strip().splitlines() or ['no reason was given'])[-1]}"], 2
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
