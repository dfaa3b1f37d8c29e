"""Check the oldest releases that pyproject.toml allows against the published advisories.

    pip install pip-audit
    python tools/audit.py            # the floors of what vaezoo needs to run
    python tools/audit.py --extras   # and of its extras
    python tools/audit.py --advisories all.zip   # without the network and without pip-audit

The last form reads advisories in the OSV format that were saved before: a JSON file of one or of a list of them, or a
zip archive of such files, as https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip is.

For an advisory against a floor, raise that floor to the release that fixes it. The floors are checked without their
own dependencies, because these releases may not be installable together. Only the names and versions are sent to the
advisory service of PyPI. Exits 0 without advisories, 1 with one or more, and 2 if the service did not answer for all,
or the saved advisories cannot be read.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import VERSION_PATTERN, Version

VERSION = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE)

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


def saved_report(path, found):
    """What saved advisories say of some releases, in the form of pip-audit's report.

    Args:
        path: of the file.
        found: {name: version}.
    """
    packages = {canonicalize_name(name): {"name": name, "version": found[name], "vulns": []} for name in found}
    for advisory in read_advisories(path):
        for affected in () if advisory.get("withdrawn") else advisory.get("affected", ()):
            where = affected.get("package", {})
            package = packages.get(canonicalize_name(where.get("name", "")))
            if package and where.get("ecosystem") == "PyPI" and is_affected(Version(package["version"]), affected):
                fixed = [event["fixed"] for events in ranges(affected) for event in events if "fixed" in event]
                named = {"id": advisory["id"], "aliases": advisory.get("aliases", []), "fix_versions": fixed}
                package["vulns"].append(named)
    return {"dependencies": list(packages.values())}


def read_advisories(path):
    """The advisories in a JSON file, or in those of a zip archive."""
    if not zipfile.is_zipfile(path):
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        yield from content if isinstance(content, list) else [content]
        return
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def ranges(affected):
    """The events of each range of versions, sorted."""
    for each in affected.get("ranges", ()):
        if each["type"] == "ECOSYSTEM":
            yield sorted(each["events"], key=lambda event: Version(next(iter(event.values()))))


def is_affected(version, affected):
    """Whether the advisory lists the version, or has it in a range."""
    if any(version == Version(text) for text in affected.get("versions", ()) if VERSION.fullmatch(text)):
        return True
    for events in ranges(affected):
        inside = False
        for event in events:
            (kind, text), *_ = event.items()
            if (version > Version(text)) if kind == "last_affected" else (version >= Version(text)):
                inside = kind == "introduced"
        if inside:
            return True
    return False


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", action="store_true", help="the optional dependencies too")
    parser.add_argument("--advisories", metavar="FILE", help="read saved advisories and use no network")
    arguments = parser.parse_args(argv)
    found, without = floors(tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"], arguments.extras)
    pinned = [f"{name}=={version}" for name, version in found.items()]
    print("\n".join(pinned))
    if without:
        print(f"not checked, because they have no floor: {', '.join(without)}")
    if arguments.advisories:
        try:
            lines, code = verdict(saved_report(arguments.advisories, found))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            lines, code = [f"audit: cannot read '{arguments.advisories}': {error}"], 2
        print("\n".join(lines), file=sys.stderr if code else sys.stdout)
        return code
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
