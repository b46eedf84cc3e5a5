"""Faults of the machine and of its operator: odd files, closed streams, two runs at once. Bytes are whole or absent."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from capsim.base import files
from capsim.base.errors import CapsimError
from capsim.base.files import SUMS, folder, write_text
from capsim.cli import main

COUNTS = "timestamp,count\n2026-03-02T18:00:00Z,540\n2026-03-02T18:01:00Z,610\n2026-03-02T18:02:00Z,640\n"
LONGEST = 255  # bytes of a file name, on the usual file systems
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    (tmp_path / "load.csv").write_text(COUNTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(*words: str) -> tuple[int, str]:
    """The exit code, and what is said on stderr."""
    done = CliRunner().invoke(main, words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr


def test_a_link_is_written_through_and_stays(here):
    (here / "link.csv").symlink_to("true.csv")

    write_text(Path("link.csv"), "new")

    assert Path("link.csv").is_symlink() and Path("true.csv").read_text() == "new"
    assert sorted(p.name for p in here.iterdir()) == ["link.csv", "load.csv", "true.csv"]


def test_a_pipe_is_not_replaced_by_a_file(here):
    """Nor is a device: as root, `--out /dev/null` would put a file where everybody expects none."""
    os.mkfifo("pipe")

    code, text = said("trace", "import", "load.csv", "--out", "pipe")

    assert code == 2 and text.startswith("capsim: pipe: is a device, a pipe or a socket")
    assert stat.S_ISFIFO(os.stat("pipe").st_mode)
    with pytest.raises(CapsimError, match="/dev/null: is a device"):
        files._named(Path("/dev/null"))


def test_an_output_without_a_name_is_refused(here):
    code, text = said("trace", "import", "load.csv", "--out", "")

    assert (code, text) == (2, "capsim: .: is a folder; name a file in it\n")


def test_a_loop_of_links_is_one_line(here):
    (here / "loop").symlink_to("loop")

    assert said("trace", "import", "load.csv", "--out", "loop")[1].startswith("capsim: loop: Too many levels")
    assert said("trace", "describe", "loop")[0] == 2
    assert said("run", "loop")[0] == 2


@pytest.mark.parametrize(("link", "out"), [("nowhere", "link"), ("nowhere", "link/in/it"), ("link", "link")])
def test_a_folder_behind_a_link_to_nothing_is_refused_before_the_work(here, link, out):
    (here / "link").symlink_to(link)

    with pytest.raises(CapsimError, match="link: is a link that leads to nothing"), folder(Path(out)):
        pytest.fail("the work has begun")


def test_a_folder_behind_a_link_is_written(here):
    (here / "true").mkdir()
    (here / "link").symlink_to("true")

    with folder(Path("link")) as staging:
        write_text(staging / "a", "new")

    assert sorted(p.name for p in (here / "true").iterdir()) == [SUMS, "a"]


@pytest.mark.parametrize("name", ["x" * LONGEST, "é" * (LONGEST // 2), "a\nb c", "\udcff", "\x1b[31m", "-"])
def test_whatever_can_be_a_name_can_be_written(here, name):
    write_text(here / name, "whole")

    assert (here / name).read_text() == "whole" and len(list(here.iterdir())) == 2


@pytest.mark.parametrize("words", ["scenario check NAME", "trace describe NAME", "trace import load.csv --out NAME"])
def test_a_terminal_is_shown_control_characters_and_obeys_none(here, words):
    """On stdout and stderr: a valid file, one that is none, one that is written."""
    name = "\x1b]0;owned\x07\x9b31m\u202egnp"
    (here / name).write_text('name = "x"\n[workload]\nrate_hz = 5\nduration_s = 60\n[billing]\nfrom = "2026-02-03"\n')
    script = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-m', 'capsim', *sys.argv[1:]]) >> 8)"
    done = subprocess.run([sys.executable, "-c", script, *(name if word == "NAME" else word for word in words.split())],
                          capture_output=True, stdin=subprocess.DEVNULL, cwd=here)  # fmt: skip
    shown = done.stdout.decode()

    assert r"\x1b]0;owned\x07\x9b31m\u202egnp" in shown
    assert not set(shown) & set("\x1b\x07\x9b\u202e")


def test_a_name_that_is_too_long_is_told_by_the_name_that_was_given(here):
    code, text = said("trace", "import", "load.csv", "--out", "x" * (LONGEST + 1))

    assert code == 2 and text.startswith("capsim: xxx") and text.count("\n") == 1


HOLD = """
import sys, time
from pathlib import Path
from capsim.base.files import folder, write_text
with folder(Path(sys.argv[1])) as staging:
    write_text(staging / "a", "half")
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(here):
    """Begins a run into a folder, in a process of its own, and leaves it there."""
    begun = []

    def begin(out: str) -> subprocess.Popen[str]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, out], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)  # fmt: skip
        begun.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("there", [True, False], ids=["a folder that is there", "a new folder"])
def test_what_a_killed_run_left_is_removed_by_the_next(here, holder, there):
    if there:
        (here / "out").mkdir()
    process = holder("out")
    process.kill()
    process.wait()
    assert [p for p in here.rglob(f"{files.STAGING}*") if p.is_dir()]
    (here / f"{files.STAGING}another").mkdir()  # of a run into another folder

    with folder(Path("out")) as staging:
        write_text(staging / "b", "new")

    assert sorted(p.name for p in (here / "out").iterdir()) == [SUMS, "b"]
    assert there or sorted(p.name for p in here.iterdir()) == ["load.csv", "out"]


def test_a_run_that_lives_keeps_its_folder_and_bars_a_second_into_the_same(here, holder):
    process = holder("out")

    with pytest.raises(CapsimError, match="out: another run is writing there; wait for it"), folder(here / "out"):
        pytest.fail("the work has begun")
    with folder(Path("other")) as staging:  # beside it, with the first one's hidden folder in sight
        write_text(staging / "a", "new")
    process.communicate()

    assert process.returncode == 0 and (here / "out" / "a").read_text() == "half"
    with folder(Path("out")) as staging:  # it has ended
        write_text(staging / "a", "new")
    assert (here / "out" / "a").read_text() == "new"


def test_two_runs_that_made_the_folder_meanwhile_leave_one_of_them_whole(here, monkeypatch):
    """The second comes when the first has moved half of its files."""
    first, begun, half = threading.Event(), threading.Event(), threading.Event()
    names = [f"{n}.txt" for n in range(6)]

    def run(who: str) -> None:
        if who == "second":  # somebody has made the folder: its hidden one is another one
            first.wait(20)
            (here / "out").mkdir()
        with folder(Path("out")) as staging:
            first.set()
            for name in names:
                write_text(staging / name, who)
            if who == "second":
                begun.set()
                half.wait(20)
            else:
                begun.wait(20)

    real, moved = Path.replace, []

    def slow(self: Path, target: Path) -> Path:
        done = real(self, target)
        if threading.current_thread().name == "first" and Path(target).parent.name == "out":
            moved.append(target)
            if len(moved) == 3:
                half.set()
                threads[1].join(0.3)  # without a lock it is done by then
        return done

    monkeypatch.setattr(Path, "replace", slow)
    threads = [threading.Thread(target=run, args=(who,), name=who) for who in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len({(here / "out" / name).read_text() for name in names}) == 1


@pytest.mark.skipif(not Path("/bin/sh").exists(), reason="needs a shell")
@pytest.mark.parametrize(
    ("closed", "words", "code", "stderr"),
    [
        (">&-", "--version", 2, "capsim: output: Bad file descriptor; check the path, its rights and the free space\n"),
        (">&- 2>&-", "--version", 2, ""),
        ("2>&-", "trace describe nothing.csv", 2, ""),
        ("<&-", "trace describe load.csv >/dev/null", 0, ""),
    ],
)
def test_closed_streams(here, closed, words, code, stderr):
    """An answer that nobody gets is no success; what was for stderr does not turn up on stdout."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m capsim {words} {closed}', sys.executable], capture_output=True, text=True, cwd=here
    )

    assert (done.returncode, done.stderr) == (code, stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "changed",
    [
        {"LC_ALL": "C", "TZ": "Asia/Kathmandu", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns", "COLUMNS": "1"},
        {"LC_ALL": "ar", "TZ": "Nowhere/Never", "HOME": "/nonexistent", "PYTHONTZPATH": ""},
        {"LC_ALL": "de_DE.ISO-8859-1", "PYTHONIOENCODING": "ascii", "TERM": "dumb"},
    ],
    ids=lambda changed: changed["LC_ALL"],
)
def test_the_answer_is_the_same_wherever_it_is_asked(here, changed):
    """Locale, time zone, home and width of the terminal change no byte of a document."""
    here.joinpath("größe.csv").write_text(COUNTS)
    words = [sys.executable, "-m", "capsim", "trace", "describe", "größe.csv", "--json"]
    plain = CliRunner().invoke(main, words[3:]).stdout_bytes

    env = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    done = subprocess.run(words, capture_output=True, env=env | changed, cwd=here)

    assert done.returncode == 0, done.stderr
    assert done.stdout == plain


def test_kernels_are_compiled_where_nothing_can_be_kept(monkeypatch):
    """numba raises when it finds no folder for its cache; the kernels then cost some seconds, and no traceback."""
    caching = pytest.importorskip("numba.core.caching")
    from capsim.base.compiled import compiled

    monkeypatch.setattr(caching.FunctionCache._impl_class, "_locator_classes", [])

    assert compiled(_twice)(21) == 42


def _twice(x: int) -> int:
    return 2 * x


def test_a_file_name_that_is_no_text_is_no_traceback(here):
    (here / "n\udcff.csv").write_text(COUNTS)
    env = os.environ | {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8:strict"}

    done = subprocess.run(
        [sys.executable, "-m", "capsim", "trace", "describe", b"n\xff.csv", "--json"], capture_output=True, env=env
    )

    assert (done.returncode, done.stderr) == (0, b"") and b'"n\xff' in done.stdout


@needs_root
@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
def test_a_full_disk_leaves_nothing(here):
    """A folder of 64 KiB, with a file on it that the run may not lose."""
    script = f"""
mount -t tmpfs -o size=64k none {here} || exit 77
cd {here} && echo old > kept.txt
"$0" -c '
from pathlib import Path
from capsim.cli import worded
from capsim.base.files import folder, write_text
with worded(), folder(Path("out")) as staging:
    for n in range(99):
        write_text(staging / str(n), "x" * 4096)
'
code=$?
"$0" -c 'from capsim.base.files import *; write_text(Path("kept.txt"), "x" * 99999)' 2>&1 | tail -1
cat kept.txt; ls -A; exit $code"""
    done = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", script, sys.executable], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no mount of our own here")

    assert done.stdout.splitlines() == [
        "OSError: [Errno 28] No space left on device: 'kept.txt'",
        "old",
        "kept.txt",
    ]
    told = re.findall(r"^capsim: out/\d+: cannot be written \(No space left on device\); free .*", done.stderr, re.M)
    assert len(told) == 1 and done.stderr.rstrip().endswith("Exit: 3")


@needs_root
@pytest.mark.skipif(sys.platform != "linux", reason="needs a mount")
def test_a_read_only_folder_is_one_line_before_the_work(here):
    script = f"""
mount -t tmpfs -o ro none {here} || exit 77
cd {here}; "$0" -m capsim run after --out out; echo $?
"$0" -m capsim trace import {Path(__file__).parent}/none.csv --out x.csv; echo $?"""
    done = subprocess.run(
        ["unshare", "--mount", "/bin/sh", "-c", script, sys.executable], capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("no mount of our own here")

    assert done.stdout.split() == ["2", "2"]
    assert done.stderr.splitlines()[0] == "capsim: out: cannot be written (Read-only file system); choose another --out"
    assert len(done.stderr.splitlines()) == 2
