"""Large blocks are kept for the next step, here and in processes that are started, unless a person says otherwise."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource, subprocess, sys
if {settled}:
    from ensemble.options import settle
    settle()
import numpy as np

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    del [np.ones(2 << 20, np.uint8) for _ in range(40)][:]

work()
before = faults()
work()
print(faults() - before)
if len(sys.argv) == 1:
    program = open(__file__).read().replace("if True:", "if False:")
    print(subprocess.run([sys.executable, "-c", program, "child"], capture_output=True, text=True, check=True).stdout)
"""


def faults_of(tmp_path, *, settled: bool, **changed: str) -> list[int]:
    """Page faults of using 80 MiB in blocks of 2 MiB once more: in a process, and in one that it starts."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(settled=settled))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    ended = subprocess.run(
        [sys.executable, str(program)],
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path), **changed},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(word) for word in ended.stdout.split()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_freed_blocks_are_used_again(tmp_path) -> None:
    assert all(count > 10_000 for count in faults_of(tmp_path, settled=False))
    assert all(count < 1_000 for count in faults_of(tmp_path, settled=True))
    own = faults_of(tmp_path, settled=True, MALLOC_MMAP_THRESHOLD_="65536")
    assert all(count > 10_000 for count in own), "a person's own settings win"


LOADING = """
import resource, ensemble
import numpy as np
stack, image = ensemble.load("nyu-small", device="cpu"), np.zeros((480, 640, 3), np.uint8)
counts = []
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    stack(image).depth
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(counts[-1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(("own", "few"), [({}, True), ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536"}, False)])
def test_a_program_of_ones_own_uses_freed_blocks_of_a_loaded_network_again(own: dict[str, str], few: bool) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), **own}
    command = [sys.executable, "-W", "ignore", "-c", LOADING]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert (int(ended.stdout) < 300) == few


THREAD = """
import resource, sys, threading
from ensemble.options import settle
from ensemble.runs.allocator import keep_one_arena
settle()
if {one}:
    keep_one_arena()
import numpy as np

def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    del [np.ones(2 << 20, np.uint8) for _ in range(40)][:]
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

counts = []
thread = threading.Thread(target=lambda: (work(), work()))
thread.start()
thread.join()
print(counts[1])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
@pytest.mark.parametrize(("one", "few"), [(True, True), (False, False)])
def test_freed_blocks_of_a_thread_are_used_again_where_there_is_one_arena(tmp_path, one: bool, few: bool) -> None:
    program = tmp_path / "program.py"
    program.write_text(THREAD.format(one=one))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    ended = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=True)
    assert (int(ended.stdout) < 1_000) == few
