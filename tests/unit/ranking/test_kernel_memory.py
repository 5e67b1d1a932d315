"""The ranker's kernel keeps to its memory, under the compiler's sanitizers, and says so where memory runs out."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import pytest

KERNEL = Path(__file__).parents[3] / "services" / "ranking" / "kernel"
PROGRAM = Path(__file__).with_name("kernel_memory.c")
FLAGS = ("-O1", "-g", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi", "-pthread")
NO_SANITIZER = re.compile(r"cannot find \S*(asan|ubsan|tsan)|unrecognized .*-fsanitize")


COMPILER = (sysconfig.get_config_var("CC") or "cc").split()[0]


@pytest.fixture(scope="module")
def programs(pytestconfig) -> Path:
    """The folder of the compiled programs, which outlives the run: they are compiled again where a source has changed."""
    return pytestconfig.cache.mkdir("kernel-programs")


def _compiled(programs: Path, kind: str, *told: str) -> Path:
    """The kernel and PROGRAM, compiled with the options `told`; of each kind the newest is kept."""
    sources = (PROGRAM, *sorted(KERNEL.glob("*.c")))
    command = [COMPILER, *FLAGS, *map(str, sources), *told, f"-I{KERNEL}", "-lm"]
    program = programs / f"{kind}-{_version(command, (*sources, *sorted(KERNEL.glob('*.h'))))}"
    if program.exists():
        return program
    with tempfile.TemporaryDirectory(dir=programs) as scratch:
        built = subprocess.run([*command, "-o", f"{scratch}/program"], capture_output=True, text=True)
        if NO_SANITIZER.search(built.stderr):
            pytest.skip(f"the compiler has no {told[0]}")
        assert built.returncode == 0, built.stderr
        for outdated in programs.glob(f"{kind}-*"):
            outdated.unlink()
        Path(scratch, "program").replace(program)
    return program


def _version(command: list[str], files: tuple[Path, ...]) -> str:
    """16 hex digits that change with the compiler, its options and the content of the files."""
    compiler = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True).stdout
    content = [compiler.encode(), "\n".join(command).encode(), *(file.read_bytes() for file in files)]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in content)).hexdigest()[:16]


@pytest.fixture(scope="module", params=["address,undefined", "thread"])
def sanitized(request, programs) -> Path:
    """The kernel and PROGRAM, compiled to notice what the parameter names."""
    return _compiled(programs, request.param, f"-fsanitize={request.param}", "-fno-sanitize-recover=all")


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
def test_it_ranks_without_threads_and_says_where_no_memory_is_left(programs):
    ran = subprocess.run([str(_compiled(programs, "plain")), "scarce"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the linker of Linux puts a refusal in place of an allocation")
def test_a_request_is_ranked_by_the_threads_that_have_memory(programs):
    program = _compiled(programs, "refusing", "-DREFUSING", "-Wl,--wrap=aligned_alloc")
    ran = subprocess.run([str(program), "helpers"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_a_program_is_compiled_again_where_a_source_or_an_option_has_changed(tmp_path):
    source = tmp_path / "source.c"
    source.write_text("int main(void) { return 0; }")
    first = _version(["-O1"], (source,))
    assert _version(["-O1"], (source,)) == first != _version(["-O2"], (source,))
    source.write_text("int main(void) { return 1; }")
    assert _version(["-O1"], (source,)) != first
