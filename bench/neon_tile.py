"""The loop of the register tile on 64-bit Arm, compiled here, as llvm-mca sees it: python bench/neon_tile.py [CPU ...]

For each CPU, by LLVM's name, and each way to read A and to multiply: how many multiplications of vectors it does in a
cycle, the instructions of the loop, and how many of them copy a vector or go to the stack. --show prints the loop too.
FASTFF_ISA=simd128 shows the tile of 16 registers, and LLVM_MCA names another llvm-mca (Debian: llvm-mca-22).

No Arm CPU is needed, and none is measured: these are LLVM's models. Its Neoverse V2 takes up six steps a cycle, where a
pair of vectors that is loaded together counts as three, and its Apple CPUs all have the three pipes of the first one.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

from llvmlite import binding as llvm
from llvmlite import ir

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("FASTFF_ISA", "neon")
from kernels import cpu

# before the tile is imported, which is written for what stands here
cpu.ARCHITECTURE, cpu.FMA, cpu.BF16, cpu.FEATURES = "arm", "llvm.fma", "neon", {}

from kernels.bfloat16 import _MULTIPLY  # noqa: E402
from kernels.emit import I64, Emitter  # noqa: E402
from kernels.tile import MR, NR, VECTORS, accumulate, each  # noqa: E402

TRIPLE = "aarch64-unknown-linux-gnu"
CPUS = ("neoverse-v2", "neoverse-n1", "apple-m1")
WAYS = {"forward": (False, Emitter.fma), "backward, update": (True, Emitter.fma), "bfloat16": (True, _MULTIPLY)}


def module(jumps, multiply):
    """A function that sums one tile over k, as LLVM's text."""
    made = ir.Module()
    made.triple = TRIPLE
    function = ir.Function(made, ir.FunctionType(ir.VoidType(), [I64] * 5), "tile")
    e = Emitter(ir.IRBuilder(function.append_basic_block()))
    k_count, a, b, out, jump = function.args
    for _, _, o, v in each(accumulate(e, VECTORS, k_count, a, b, jump if jumps else None, multiply=multiply)):
        e.store(v, out, o)
    e.b.ret_void()
    return str(made)


def loop(text, name):
    """The instructions of the only loop in it, compiled for this CPU."""
    machine = llvm.Target.from_triple(TRIPLE).create_target_machine(cpu=name, opt=3, jit=True)
    code = llvm.parse_assembly(text)
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(code, passes)
    body = re.search(r"^(\.LBB\w+):[^\n]*\n((?:(?!^\.LBB).*\n)*?\s+b\.ne\s+\1)", machine.emit_assembly(code), re.M)
    return [line for line in (line.partition("//")[0].rstrip() for line in body[2].splitlines()) if line]


def cycles(lines, name):
    """The cycles that a turn of the loop takes."""
    options = [f"-mtriple={TRIPLE}", f"-mcpu={name}", "-mattr=+bf16", "-iterations=1000"]
    command = [os.environ.get("LLVM_MCA", "llvm-mca"), *options]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return int(re.search(r"Total Cycles:\s+(\d+)", done.stdout)[1]) / 1000


def main(arguments):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    print(f"tile of {MR} x {NR}, LLVM {'.'.join(map(str, llvm.llvm_version_info))}")
    for name in [a for a in arguments if a != "--show"] or CPUS:
        for way, (jumps, multiply) in WAYS.items():
            lines = loop(module(jumps, multiply), name)
            products = sum("fmla" in line or "bfdot" in line for line in lines)
            moves = sum(bool(re.search(r"\bmov\s+v|\[sp", line)) for line in lines)
            rate = products / cycles(lines, name)
            print(f"{name:12} {way:17} {rate:5.2f} a cycle {len(lines):4} instructions {moves:3} copies")
            if "--show" in arguments:
                print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
