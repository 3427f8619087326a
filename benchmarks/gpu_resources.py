"""Registers, shared memory and spills of every CUDA kernel, as the compiler counts them: no GPU is needed.

    python benchmarks/gpu_resources.py --keep benchmarks/results/gpu-resources.json

One row a kernel and architecture. Spilled registers and stack frames live in memory: a hot kernel has none. The build
treats a spill as an error where HUD_WERROR is on.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hud_fast._files import atomic_write
from hud_fast.bench.run import commit

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURES = (80, 90, 100)
FLAGS = ("-std=c++17", "-O3", "-Wno-deprecated-gpu-targets", "-Xptxas", "-v")
_ENTRY = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


def parse(text: str) -> list[dict[str, Any]]:
    """Rows from what ``ptxas -v`` prints.

    Examples
    --------
    >>> parse('''ptxas info    : Compiling entry function '_Z1fv' for 'sm_90'
    ... ptxas info    : Function properties for _Z1fv
    ...     0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
    ... ptxas info    : Used 32 registers, used 1 barriers, 400 bytes smem
    ... ''')
    [{'symbol': '_Z1fv', 'sm': '90', 'stack': 0, 'spill stores': 4, 'spill loads': 8, 'registers': 32, 'shared': 400}]
    """
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        if found := _ENTRY.search(line):
            rows.append({"symbol": found[1], "sm": found[2]})
        elif rows and "stack" not in rows[-1] and (found := _STACK.search(line)):
            stack, stores, loads = map(int, found.groups())
            rows[-1] |= {"stack": stack, "spill stores": stores, "spill loads": loads}
        elif rows and "registers" not in rows[-1] and (found := _USED.search(line)):
            shared = _SHARED.search(line)
            rows[-1] |= {"registers": int(found[1]), "shared": int(shared[1]) if shared else 0}
    return rows


def compiled(source: Path, nvcc: str) -> list[dict[str, Any]]:
    """Rows of one source file."""
    targets = [
        flag
        for number in ARCHITECTURES
        for flag in ("-gencode", f"arch=compute_{number},code=sm_{number}")
    ]
    with tempfile.TemporaryDirectory() as folder:
        command = [nvcc, *FLAGS, *targets, f"-I{ROOT / 'csrc'}", "-c", str(source)]
        done = subprocess.run(
            [*command, "-o", str(Path(folder, "object.o"))], capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(f"gpu_resources: {source.name} does not compile:\n{done.stderr}")
    return [{"file": source.name, **row} for row in parse(done.stderr + done.stdout)]


def readable(rows: list[dict[str, Any]]) -> None:
    """Give each row the kernel's name, with its template arguments and without its parameters."""
    tool = shutil.which("cu++filt") or shutil.which("c++filt")
    symbols = [row["symbol"] for row in rows]
    if tool is not None:
        done = subprocess.run([tool], input="\n".join(symbols), capture_output=True, text=True)
        symbols = done.stdout.splitlines()
    for row, name in zip(rows, symbols, strict=True):
        text = re.sub(r"\(anonymous namespace\)::|<unnamed>::|hud::(cuda|device)::", "", name)
        text = re.sub(r"^void ", "", text)
        row["kernel"] = text[: text.rfind("(")] if text.endswith(")") else text
        del row["symbol"]


def versions(nvcc: str) -> str:
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the rows here, as JSON")
    parser.add_argument("--nvcc", default="nvcc")
    arguments = parser.parse_args()
    nvcc = shutil.which(arguments.nvcc)
    if nvcc is None:
        sys.exit(f"gpu_resources: no {arguments.nvcc} on PATH")
    rows = [row for path in sorted((ROOT / "csrc").rglob("*.cu")) for row in compiled(path, nvcc)]
    readable(rows)
    for row in rows:
        print(
            f"sm_{row['sm']:4} {row['registers']:3} registers {row['shared']:6} B shared "
            f"{row['stack']:4} B stack {row['spill stores'] + row['spill loads']:4} B spilled  "
            f"{row['file']} {row['kernel']}"
        )
    spilled = sum(row["spill stores"] + row["spill loads"] > 0 for row in rows)
    print(f"{len(rows)} kernels, {spilled} with spills")
    if arguments.keep is not None:
        head = {
            "command": "python benchmarks/gpu_resources.py",
            "compiler": versions(nvcc),
            "flags": " ".join(FLAGS),
            "commit": commit(),
        }
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        with atomic_write(arguments.keep, "w") as file:
            file.write(json.dumps(head, indent=1)[:-2] + f',\n "kernels": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
