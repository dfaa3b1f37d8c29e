"""The maintainer's audit, as far as it goes without the network: the floors, and what becomes of an answer."""

import importlib.util
import json
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
specification = importlib.util.spec_from_file_location("audit", ROOT / "tools" / "audit.py")
audit = importlib.util.module_from_spec(specification)
specification.loader.exec_module(audit)


def test_the_floors_of_this_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found, without = audit.floors(project)
    assert found["keras"] == "3.15"
    assert found["tensorflow-datasets"] == "4.9.10"
    assert len(found) + len(without) == len(project["dependencies"])
    assert audit.floors(project, extras=True)[0].items() >= found.items()


def test_every_way_to_write_a_requirement():
    project = {
        "name": "own",
        "dependencies": ["a>=1", "b_c[x]>=2.3,<4", "d >= 1.0rc1 ; python_version < '3.12'", "e", "f==3", "g<2,>=1.5"],
        "optional-dependencies": {"all": ["own[x]", "h>=7"]},
    }
    assert audit.floors(project) == ({"a": "1", "b_c": "2.3", "d": "1.0rc1", "g": "1.5"}, ["e", "f"])
    assert audit.floors(project, extras=True)[0]["h"] == "7"


SAFE = {"name": "a", "version": "1", "vulns": []}
HOLE = {"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["1.2"], "description": "..."}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "line"),
    [
        ([SAFE], 0, "no advisory"),
        ([SAFE, {"name": "b", "version": "1", "vulns": [HOLE]}], 1, "b 1: PYSEC-1, CVE-1; fixed in 1.2"),
        ([SAFE, UNKNOWN], 2, "so not checked: c"),
        ([UNKNOWN, {"name": "b", "version": "1", "vulns": [HOLE]}], 1, "b 1: PYSEC-1"),
    ],
)
def test_what_becomes_of_an_answer(dependencies, code, line):
    lines, found = audit.verdict({"dependencies": dependencies})
    assert found == code
    assert line in lines[0]


@pytest.mark.parametrize(
    ("said", "line"),
    [("No module named pip_audit", "pip-audit is not installed"), ("\nConnectionError: no route", "no answer: Conn")],
)
def test_without_the_tool_or_the_network(said, line, monkeypatch, capsys):
    done = audit.subprocess.CompletedProcess([], 1, stdout="", stderr=said)
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.main([]) == 2
    assert line in capsys.readouterr().err


def advisory(name="Keras", ecosystem="PyPI", versions=(), events=(), **more):
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}, {"type": "GIT", "events": [{"introduced": "0"}]}]
    affected = {"package": {"name": name, "ecosystem": ecosystem}, "versions": list(versions), "ranges": ranges}
    return {"id": "GHSA-1", "aliases": ["CVE-1"], "affected": [affected], **more}


@pytest.mark.parametrize(
    ("given", "hit"),
    [
        (advisory(versions=["3.14", "3.15.0"]), True),
        (advisory(versions=["3.14", "not a version"]), False),
        (advisory(events=[{"introduced": "0"}, {"fixed": "3.15.1"}]), True),
        (advisory(events=[{"fixed": "3.15"}, {"introduced": "0"}]), False),
        (advisory(events=[{"introduced": "3.0"}, {"last_affected": "3.15"}]), True),
        (advisory(events=[{"introduced": "3.0"}, {"last_affected": "3.14"}]), False),
        (advisory(events=[{"introduced": "0"}, {"fixed": "2"}, {"introduced": "3"}, {"fixed": "4"}]), True),
        (advisory(versions=["3.15"], ecosystem="npm"), False),
        (advisory(versions=["3.15"], name="keras-hub"), False),
        (advisory(versions=["3.15"], withdrawn="2026-01-01"), False),
    ],
)
@pytest.mark.parametrize("kind", ["json", "list", "zip"])
def test_saved_advisories(given, hit, kind, tmp_path):
    path = tmp_path / "saved"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("GHSA-1.json", json.dumps(given))
            archive.writestr("GHSA-2.json", json.dumps(advisory("other", versions=["1"])))
    else:
        path.write_text(json.dumps([given] if kind == "list" else given))
    lines, code = audit.verdict(audit.saved_report(path, {"keras": "3.15", "numpy": "2"}))
    assert code == hit
    assert ("keras 3.15: GHSA-1, CVE-1; fixed in" in lines[0]) is hit


def test_the_audit_without_the_network(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: pytest.fail("another program was started"))
    path = tmp_path / "saved.json"
    path.write_text(json.dumps([advisory("h5py", events=[{"introduced": "0"}])]))
    assert audit.main(["--advisories", str(path)]) == 1
    assert "GHSA-1, CVE-1; fixed in no release" in capsys.readouterr().err
    path.write_text("[]")
    assert audit.main(["--advisories", str(path)]) == 0
    path.write_text("{")
    assert audit.main(["--advisories", str(path)]) == 2
    assert audit.main(["--advisories", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.count("audit: cannot read") == 2
