import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import cache_samples as samples
import pytest

SHARD_FRAMES = 16


def start(*arguments: str, **streams: int | None) -> subprocess.Popen[str]:
    command = [sys.executable, samples.__file__, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=samples.environment(), **streams)


def cache_until_killed(root: Path, frames: int, generator: random.Random, *, most_rows: int) -> tuple[list[str], bool]:
    """Run the caching process up to a random point; returns what it told and whether it was killed before its end."""
    process = start("cache", str(root), str(frames), str(SHARD_FRAMES))
    told: list[str] = []
    wanted = generator.randrange(most_rows)
    while len(told) < wanted and (line := process.stdout.readline()):
        told.append(line.strip())
    time.sleep(generator.random() * (0.02 if wanted else 0.3))
    process.send_signal(signal.SIGKILL)
    told.extend(process.communicate()[0].splitlines())
    return told, process.returncode == -signal.SIGKILL and "done" not in told


def rows_told(told: list[str], what: str) -> list[str]:
    return [line.removeprefix(what + " ") for line in told if line.startswith(what + " ")]


def stored_rows(root: Path, frames: int) -> set[str]:
    rows = set()
    for learner in samples.LEARNERS:
        with samples.writer(root / learner, frames, learner=learner) as store:
            rows.update(f"{learner} {frame_id}" for frame_id in set(store.frame_ids) - set(store.missing()))
    return rows


def check_kills(root: Path, *, frames: int, kills: int, seed: int) -> None:
    generator = random.Random(seed)
    acknowledged: set[str] = set()
    computed: set[str] = set()
    killed = 0
    while killed < kills:
        told, was_killed = cache_until_killed(root, frames, generator, most_rows=2 * 3 * frames // kills)
        if not was_killed:  # a busy machine let the job end first: take the remaining kills on another one
            root = root / "again"
            acknowledged, computed = set(), set()
            continue
        killed += 1
        again = rows_told(told, "computed")
        assert len(computed.intersection(again)) <= SHARD_FRAMES, "more than one shard was computed again"
        computed.update(again)
        acknowledged.update(rows_told(told, "acknowledged"))
        stored = stored_rows(root, frames)
        assert acknowledged <= stored, f"lost after kill {killed}: {sorted(acknowledged - stored)[:3]}"
        computed &= stored | set(again)
    last = start("cache", str(root), str(frames), str(SHARD_FRAMES))
    assert last.communicate()[0].endswith("done\n")
    for learner in samples.LEARNERS:
        samples.fill(root / "undisturbed" / learner, frames, learner=learner, shard_frames=SHARD_FRAMES)
        assert samples.contents(root / learner) == samples.contents(root / "undisturbed" / learner)
        assert samples.damaged_shards(root / learner) == []


@pytest.mark.slow
def test_twenty_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    check_kills(tmp_path, frames=160, kills=20, seed=1)


@pytest.mark.long
@pytest.mark.slow
def test_a_hundred_kills_lose_no_acknowledged_row(tmp_path: Path) -> None:
    check_kills(tmp_path, frames=400, kills=100, seed=2)


def check_races(root: Path, *, races: int) -> None:
    for number in range(races):
        directory = root / f"race-{number}"
        processes = [start("race", str(directory), stdin=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("go\n")
            process.stdin.flush()
        started = time.monotonic()
        answers = [process.stdout.readline() for process in processes]  # ends for the loser when it ends
        assert time.monotonic() - started < 5
        assert sorted(answers) == ["", "won\n"]
        winner, loser = sorted(processes, key=lambda process: answers[processes.index(process)], reverse=True)
        _, complaint = loser.communicate(timeout=5)
        assert loser.returncode not in (0, None)
        assert f"is being written by pid {winner.pid} on " in complaint
        winner.communicate(timeout=30)
        assert winner.returncode == 0
        assert samples.stored(directory) == samples.frame_ids(4)
        assert samples.damaged_shards(directory) == []


def test_of_two_writers_exactly_one_works(tmp_path: Path) -> None:
    check_races(tmp_path, races=5)


@pytest.mark.long
@pytest.mark.slow
def test_of_two_writers_exactly_one_works_fifty_times(tmp_path: Path) -> None:
    check_races(tmp_path, races=50)


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path: Path) -> None:
    owner = start("race", str(tmp_path), stdin=subprocess.PIPE)
    owner.stdin.write("go\n")
    owner.stdin.flush()
    assert [owner.stdout.readline(), owner.stdout.readline()] == ["ready\n", "won\n"]
    with pytest.raises(ValueError, match=f"is being written by pid {owner.pid} on "):
        samples.fill(tmp_path, 4)
    owner.kill()
    owner.communicate()
    assert f'"pid": {owner.pid}' in (tmp_path / "writer.lock").read_text()
    assert samples.fill(tmp_path, 4) == samples.frame_ids(4)


def test_leftovers_of_a_killed_writer_are_cleared_away(tmp_path: Path) -> None:
    samples.fill(tmp_path, 8)
    whole = (tmp_path / "shard-00000.h5").read_bytes()
    (tmp_path / ".shard-00001.h5.1-abcd.partial").write_bytes(whole[: len(whole) // 2])
    samples.fill(tmp_path, 16)
    assert sorted(samples.contents(tmp_path)) == ["shard-00000.h5", "shard-00001.h5"]


def test_a_full_disk_loses_nothing_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = samples.writer(tmp_path, 16)
    real_write = Path.write_bytes

    def full_disk(self: Path, content: bytes) -> int:
        real_write(self, content[:100])
        raise OSError(28, "No space left on device", str(self))

    with store:
        for frame_id in samples.frame_ids(16)[:15]:
            store.append(frame_id, samples.depth_of("bts", frame_id))
        monkeypatch.setattr(Path, "write_bytes", full_disk)
        with pytest.raises(OSError, match=r"shard-00001\.h5: .*No space left on device.*run the same command again"):
            store.append(samples.frame_ids(16)[15], samples.depth_of("bts", samples.frame_ids(16)[15]))
        assert sorted(samples.contents(tmp_path)) == ["shard-00000.h5"]
        assert samples.stored(tmp_path) == samples.frame_ids(8)
        monkeypatch.undo()
    assert samples.stored(tmp_path) == samples.frame_ids(16)
    assert samples.damaged_shards(tmp_path) == []
    assert os.access(tmp_path / "shard-00001.h5", os.R_OK)
