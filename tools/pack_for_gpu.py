"""Packs what gpu.sh needs on a machine without a network: clips and wheels, at most 60 MiB.

    python tools/pack_for_gpu.py [--python 3.12] [--present numpy numba llvmlite]

writes gpu_pack/, which git ignores: wheels/ for Linux on x86-64, of all that the project and its
tests need but what torch and torchaudio bring and what is --present there; corpora/ in the Common
Voice layout, the digits whole and, in the room that is left, French clips of every split. The
corpora are those in $ASR_CTC_CORPORA, by default ../shared/corpora.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MARK = ".gpu_pack"  # in a folder that this program made, and may empty
LIMIT_MIB = 60  # of the 64 that travel the sources take some
SPLITS = ("train", "dev", "test")
FRENCH_SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}  # of the room
# Images with torch often hold these, and they would take more room than there is.
PRESENT = ["numpy", "numba", "llvmlite"]
OF_DEVELOPMENT = ("pytest>", "hypothesis>", "sentencepiece>")
GLIBC = ("2_28", "2_27", "2_17")
MIB = 2**20


def size_mib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MIB


def canonical(name: str) -> str:
    """A package's name as it is compared: PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def brought_by(packages: list[str]) -> set[str]:
    """The packages and all that they need, as they are installed here."""
    found, waiting = set(), list(packages)
    while waiting:
        name = canonical(waiting.pop())
        if name not in found:
            found.add(name)
            try:
                needed = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            waiting += [re.match(r"[\w.-]+", line)[0] for line in needed if "extra ==" not in line]
    return found


def requirements() -> list[str]:
    """The project's without torch and torchaudio, and what gpu.sh needs besides."""
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    others = (REPOSITORY / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if not re.match("torch(audio)?[=>]", line)]
    lines += [line for line in others if line.startswith(OF_DEVELOPMENT)]
    return [line.partition("#")[0].strip() for line in lines]


def download_wheels(folder: Path, python: str, present: list[str]) -> None:
    """The wheels of all that such a machine lacks; subprocess's error when pip fails."""
    platforms = [f"--platform=manylinux_{version}_x86_64" for version in GLIBC]
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
        *(*platforms, "--platform=manylinux2014_x86_64", "--dest", str(folder)),
    ]
    subprocess.run([*command, *requirements()], check=True)
    there = brought_by(["torch", "torchaudio"]) | {canonical(name) for name in present}
    for wheel in folder.glob("*.whl"):
        if canonical(wheel.name.partition("-")[0]) in there:
            wheel.unlink()


def copy_split(source: Path, target: Path, split: str, room_bytes: float) -> int:
    """Copies the first rows of a split whose clips fit into the room; returns how many."""
    header, *rows = (source / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
    column = header.split("\t").index("path")
    (target / "clips").mkdir(parents=True, exist_ok=True)
    kept = [header]
    for row in rows:
        clip = source / "clips" / row.split("\t")[column]
        if not clip.is_file():
            continue
        room_bytes -= clip.stat().st_size
        if room_bytes < 0:
            break
        shutil.copy(clip, target / "clips")
        kept.append(row)
    (target / f"{split}.tsv").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return len(kept) - 1


def find_language(corpora: Path, lang: str) -> Path:
    """The folder VERSION/LANG; FileNotFoundError without one."""
    for file in sorted(corpora.glob(f"*/{lang}/train.tsv")):
        return file.parent
    raise FileNotFoundError(f"{corpora}: no corpus VERSION/{lang} with a train.tsv")


def pack_corpora(corpora: Path, target: Path, room_mib: float) -> dict[str, list[int]]:
    """{language: clips of each split}; ValueError where there is no room for any French."""
    counts = {}
    digits = find_language(corpora, "en")
    there = target / digits.relative_to(corpora)
    counts["en"] = [copy_split(digits, there, split, room_mib * MIB) for split in SPLITS]
    left_mib = room_mib - size_mib(target) - 1  # of tables
    french = find_language(corpora, "fr")
    there = target / french.relative_to(corpora)
    counts["fr"] = [
        copy_split(french, there, split, left_mib * MIB * FRENCH_SHARES[split]) for split in SPLITS
    ]
    if not all(map(all, counts.values())):
        raise ValueError(
            f"{room_mib:.0f} MiB are left for clips, too few: name what the machine has already "
            "with --present"
        )
    return counts


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "gpu_pack")
    parser.add_argument("--python", default="3.12", help="version on the GPU machine")
    parser.add_argument(
        "--present", nargs="*", default=PRESENT, metavar="PACKAGE", help="what is there already"
    )
    arguments = parser.parse_args(words)
    corpora = Path(os.environ.get("ASR_CTC_CORPORA", REPOSITORY.parent / "shared" / "corpora"))
    wheels, clips = arguments.out / "wheels", arguments.out / "corpora"
    mark = arguments.out / MARK
    if arguments.out.exists() and any(arguments.out.iterdir()) and not mark.exists():
        print(f"error: {arguments.out} holds something else: name a new --out", file=sys.stderr)
        return 2
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        mark.touch()
        for folder in (wheels, clips):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        download_wheels(wheels, arguments.python, arguments.present)
        counts = pack_corpora(corpora, clips, LIMIT_MIB - size_mib(wheels))
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError:
        print("error: pip could not download the wheels, see above", file=sys.stderr)
        return 2
    for wheel in sorted(wheels.iterdir(), key=lambda file: -file.stat().st_size):
        print(f"{wheel.stat().st_size / MIB:6.2f} MiB  {wheel.name}")
    print(f"{size_mib(wheels):6.2f} MiB  {wheels}")
    for lang, numbers in counts.items():
        print(f"             {lang}: {' / '.join(map(str, numbers))} clips of train / dev / test")
    print(f"{size_mib(clips):6.2f} MiB  {clips}")
    print(f"{size_mib(arguments.out):6.2f} MiB  in all, of {LIMIT_MIB} at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
