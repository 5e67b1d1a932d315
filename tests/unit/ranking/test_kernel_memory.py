"""The ranker's kernel keeps to its memory, under the compiler's sanitizers, and says so where memory runs out."""

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[3] / "services" / "ranking" / "kernel"
PROGRAM = Path(__file__).with_name("kernel_memory.c")
FLAGS = ("-O1", "-g", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi", "-pthread")
NO_SANITIZER = re.compile(r"cannot find \S*(asan|ubsan|tsan)|unrecognized .*-fsanitize")


def _compiled(program: Path, *told: str) -> subprocess.CompletedProcess:
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    sources = (str(PROGRAM), *sorted(str(path) for path in KERNEL.glob("*.c")))
    command = [compiler, *FLAGS, *sources, *told, f"-I{KERNEL}", "-o", str(program), "-lm"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def sanitized(request, tmp_path_factory) -> Path:
    """The kernel and PROGRAM, compiled to notice what the parameter names."""
    program = tmp_path_factory.mktemp("kernel") / "kernel_memory"
    built = _compiled(program, f"-fsanitize={request.param}", "-fno-sanitize-recover=all")
    if NO_SANITIZER.search(built.stderr):
        pytest.skip(f"the compiler has no -fsanitize={request.param}")
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.slow
@pytest.mark.parametrize("what", ["sizes", "callers"])
def test_the_kernel_keeps_to_its_memory(sanitized, what):
    # What the program allocates it never frees; TSAN takes a fork of a program with threads for an error unless told.
    options = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "die_after_fork=0"}
    ran = subprocess.run([str(sanitized), what], capture_output=True, text=True, env={**os.environ, **options})
    if "unexpected memory mapping" in ran.stderr:
        pytest.skip("this system places programs where the compiler's thread sanitizer cannot have them (vm.mmap_rnd_bits)")
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a process's size is read as Linux tells it")
def test_it_ranks_without_threads_and_says_where_no_memory_is_left(tmp_path):
    program = tmp_path / "kernel_memory"
    built = _compiled(program)
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program), "scarce"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the linker of Linux puts a refusal in place of an allocation")
def test_a_request_is_ranked_by_the_threads_that_have_memory(tmp_path):
    program = tmp_path / "kernel_memory"
    built = _compiled(program, "-DREFUSING", "-Wl,--wrap=aligned_alloc")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program), "helpers"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
