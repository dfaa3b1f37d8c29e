"""Build the sdist and the wheel, look into them, and use the wheel as a new user does.

python tools/check_release.py                          # under this Python
python tools/check_release.py python3.11 python3.13    # under each of these
python tools/check_release.py --out dist               # keep what has passed

Each Python gets a new virtual environment with the wheel alone, in a folder outside the checkout. There it trains one
epoch, samples from the run, and samples from a preset.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGEST_PICTURE = 10**6  # bytes
PICTURES = (".gif", ".jpg", ".pdf", ".png")
COMMANDS = (
    "train mlp_vae_2d --data glyphs --epochs 1 --out run",
    "sample run -n 4 --out sampled",
    "sample conv_vae/glyphs -n 4 --out preset",
)
MADE = ("run/model.keras", "run/decoder.keras", "sampled/sample.png", "preset/sample.png")


def main():
    parser = argparse.ArgumentParser(description="Check a release of vaezoo.")
    parser.add_argument("python", nargs="*", default=[sys.executable], help="the interpreters to try the wheel under")
    parser.add_argument("--out", type=Path, help="the folder to keep the sdist and the wheel in, once they have passed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "dist")
        subprocess.run([sys.executable, "-m", "build", "--outdir", out, ROOT], check=True, stdout=subprocess.DEVNULL)
        (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
        check_files(sdist, wheel)
        for number, python in enumerate(arguments.python):
            use(wheel, python, Path(folder, str(number)))
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
            for path in (sdist, wheel):
                shutil.copy(path, arguments.out)


def check_files(sdist, wheel):
    """What git tracks is in both, the sdist has nothing else, and no picture is large."""
    with tarfile.open(sdist) as archive:
        in_sdist = {str(Path(*Path(file.name).parts[1:])): file.size for file in archive if file.isfile()}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {file.filename: file.file_size for file in archive.infolist()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True)
    tracked = listed.stdout.splitlines()
    missing = [name for name in tracked if name not in in_sdist and not name.startswith(".")]
    for name in tracked:
        place = name if name.startswith("vaezoo/") else f"vaezoo/{name}"
        if name.startswith(("vaezoo/", "zoo_configs/", "zoo_presets/")) and place not in in_wheel:
            missing.append(place)
    large = [name for name, size in in_sdist.items() if name.endswith(PICTURES) and size > LARGEST_PICTURE]
    foreign = sorted(set(in_sdist) - set(tracked) - {"PKG-INFO"})
    if missing or large or foreign:
        found = f"missing: {missing}; not tracked by git: {foreign[:20]}"
        sys.exit(f"{found}; pictures of more than {LARGEST_PICTURE:,} bytes: {large}")
    for path, files in ((sdist, in_sdist), (wheel, in_wheel)):
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, {len(files)} files")


def use(wheel, python, folder):
    """Install the wheel in a new environment, train, and sample."""
    subprocess.run([python, "-m", "venv", folder / "env"], check=True)
    programs = folder / "env" / ("Scripts" if sys.platform == "win32" else "bin")
    subprocess.run([programs / "python", "-m", "pip", "install", "--quiet", "--no-compile", wheel], check=True)
    for command in COMMANDS:
        done = subprocess.run([programs / "vaezoo", *command.split()], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"`vaezoo {command}` under {python} exits {done.returncode}:\n{done.stdout}{done.stderr}")
    missing = [name for name in MADE if not (folder / name).is_file()]
    if missing:
        sys.exit(f"under {python} these files are missing: {missing}")
    version = subprocess.run([programs / "python", "--version"], check=True, capture_output=True, text=True).stdout
    print(f"{version.strip()}: installed, trained, sampled")


if __name__ == "__main__":
    main()
