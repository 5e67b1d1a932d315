"""The ranker's kernel under the compiler's sanitizers: no read or write beside a buffer, no undefined operation, no race."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[3] / "services" / "ranking" / "kernel"
PROGRAM = Path(__file__).with_name("kernel_memory.c")
FLAGS = ("-O1", "-g", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi", "-pthread")


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def program(request, tmp_path_factory) -> Path:
    """The kernel and PROGRAM, compiled to notice what the parameter names."""
    sanitizers, folder = request.param, tmp_path_factory.mktemp("kernel")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    program = folder / "kernel_memory"
    told = (f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", f"-I{KERNEL}", "-o", str(program), "-lm")
    sources = (str(PROGRAM), *sorted(str(path) for path in KERNEL.glob("*.c")))
    built = subprocess.run([compiler, *FLAGS, *sources, *told], capture_output=True, text=True)
    if "cannot find" in built.stderr or "unrecognized" in built.stderr:
        pytest.skip(f"{compiler} has no -fsanitize={sanitizers}")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.slow
@pytest.mark.parametrize("what", ["sizes", "callers"])
def test_the_kernel_keeps_to_its_memory(program, what):
    # What the program allocates it never frees; TSAN takes a fork of a program with threads for an error unless told.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "die_after_fork=0"}
    ran = subprocess.run([str(program), what], capture_output=True, text=True, env={**os.environ, **options})
    if "unexpected memory mapping" in ran.stderr:
        pytest.skip("this system places programs where the compiler's thread sanitizer cannot have them (vm.mmap_rnd_bits)")
    assert ran.returncode == 0, ran.stdout + ran.stderr
