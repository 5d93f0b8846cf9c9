"""Compares what wheels hold with the sources they were built from: `python wheel_listing.py SOURCES WHEEL...`."""

import sys
import zipfile
from pathlib import Path

# Folder of the sources: where its files stand in a wheel.
_ROOMS = {
    "distill_or_annotate": "distill_or_annotate",
    "tasks": "distill_or_annotate/tasks",
    "gin": "distill_or_annotate/gin",
    "runtime/t5x": "t5x",
}


def main(sources: Path, wheels: list[Path]) -> int:
    """Prints what is missing or too much.

    Args:
      sources: a clean copy of the repository.
      wheels: the wheels of both distributions.

    Returns:
      0 when the wheels hold exactly the rooms' files, 1 otherwise.
    """
    held: set[str] = set()
    for wheel in wheels:
        names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
        print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")
        held |= set(names)
    expected = {
        f"{place}/{path.relative_to(sources / room).as_posix()}"
        for room, place in _ROOMS.items()
        for path in (sources / room).rglob("*")
        if path.is_file()
    }
    python_in_gin = {name for name in held if name.startswith("distill_or_annotate/gin/") and name.endswith(".py")}
    for problem, names in (
        ("not in a wheel", expected - held),
        ("in a wheel, but not of the rooms", held - expected),
        ("Python in gin/", python_in_gin),
    ):
        for name in sorted(names):
            print(f"wheel-check: {problem}: {name}", file=sys.stderr)
    return int(held != expected or bool(python_in_gin))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]]))
