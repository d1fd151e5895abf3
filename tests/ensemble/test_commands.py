"""One style in the help of every command, names that a shell completes, and what is said of unknown names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_lines import Job, call, done
from test_cli import COMMANDS, SINGLE_COMMANDS

from ensemble.__main__ import TOOLS
from ensemble.settings.trees import near_names, nearest

CHECKOUT = Path(__file__).parents[2]
EVERY = [*((tool, name) for tool, names in COMMANDS.items() for name in names), *((tool,) for tool in SINGLE_COMMANDS)]
ONE = r"[A-Z][A-Z]*|HxW|COLUMN,ROW|KEY=VALUE|LEARNER=DIR|FX,FY,CX,CY|NEAR,FAR|FILE\.[a-z0-9]+"  # to be replaced
LITERAL = r"[a-z0-9+-]+"  # to be typed as it is
METAVAR = re.compile(rf"(?:(?:{ONE})(?:,\.\.\.)?|{LITERAL})(?:\|(?:(?:{ONE})(?:,\.\.\.)?|{LITERAL}))*")


def stackdepth(*words: object, cwd: Path = CHECKOUT, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a person who types the console command gets to see; the words of no shell have lost their quotes."""
    command = [sys.executable, "-m", "ensemble", *map(str, words)]
    kept = {name: value for name, value in os.environ.items() if name not in ("NYU_ROOT", "STACKDEPTH_CACHE")}
    environment = {**kept, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "80", **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


def completed(*words: str, **environment: str) -> list[str]:
    """What bash offers for the last of the words."""
    typed = {"COMP_WORDS": " ".join(("stackdepth", *words)), "COMP_CWORD": str(len(words))}
    answer = stackdepth(**typed, _STACKDEPTH_COMPLETE="complete_bash", **environment)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout.split()


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize("tool", COMMANDS)
def test_no_sentence_of_a_list_of_commands_is_cut(tool: str, columns: str):
    shown = done(tool, "--help", COLUMNS=columns).out
    assert "..." not in shown.partition("Commands:")[2]
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= int(columns)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_word_to_be_replaced_is_in_capitals(words: tuple[str, ...]):
    narrow, shown = (stackdepth(*words, "-h", COLUMNS=columns).stdout for columns in ("60", "80"))
    assert [max(map(len, text.splitlines())) <= most for text, most in ((narrow, 60), (shown, 80))] == [True, True]
    plain = shown.replace("{train,test}/<scene>", "")
    assert not re.search("<[a-z]|INTEGER|TEXT|PATH|FLOAT|[{}]", plain), shown
    options = re.findall(r"^  (--[a-z-]+)(?: (?!/)(\S+))?(?:  |$)", shown, re.MULTILINE)
    assert options
    for option, metavar in options:
        assert not metavar or METAVAR.fullmatch(metavar), (option, metavar)
    arguments = shown.partition("Arguments:\n")[2].partition("\n\n")[0]
    for argument in re.findall(r"^  (\S+)", arguments, re.MULTILINE):
        bare = argument.removesuffix("...").strip("[]")
        assert METAVAR.fullmatch(bare), argument
        assert argument in shown.partition("\n\n")[0], "the usage line has the same word"


def test_the_console_command_names_itself_in_its_help():
    shown = stackdepth("base", "train", "--help").stdout
    assert shown.startswith("Usage: stackdepth base train [OPTIONS] LEARNER\n")
    assert stackdepth("report", "--help").stdout.startswith("Usage: stackdepth report [OPTIONS] RUN|DIR...\n")


def test_a_command_without_its_tool_is_answered_with_the_tool():
    both = "stackdepth base evaluate or stackdepth meta evaluate"
    meant = {"fit": "stackdepth meta fit", "doctor": "stackdepth data doctor", "evaluate": both}
    told = {word: stackdepth(word).stderr for word in meant}
    assert told == {word: f"error: unknown tool {word!r}; did you mean {tool}?\n" for word, tool in meant.items()}
    assert "did you mean 'meta'?" in stackdepth("mta").stderr


def test_no_help_breaks_a_name_at_its_hyphen():
    shown = [
        stackdepth(*words, "-h", COLUMNS="60").stdout for words in (("meta",), ("meta", "fit"), ("base", "import"))
    ]
    assert not [line for text in shown for line in text.splitlines() if line.endswith("-") and len(line) > 3]


def test_an_unknown_option_is_answered_with_the_nearest():
    answer = call("base", "train", "bts", "--cach-dir", "x")
    assert answer.status == 2
    assert answer.err.startswith("error: unknown option '--cach-dir'; did you mean '--cache-dir'? Known: --cache-dir, ")


def test_near_names_are_few_and_like():
    assert near_names("meta-e", ["meta-d", "meta-rgb", "meta-f", "bts"]) == ["meta-d", "meta-f"]
    assert near_names("lt", ["select", "lr"]) == ["lr"]
    assert near_names("zzz", ["select", "lr"]) == []
    assert near_names("composed", ["good", "other", "meta-d"]) == [], "a few letters in common are no likeness"
    many = [f"run{number:02}" for number in range(30)]
    assert nearest("zz", many, listing="list them") == (
        f"Known: {', '.join(many[:20])}, and 10 more. To list them\nRun: list them"
    )


def test_an_unknown_run_is_answered_with_the_near_ones_and_the_command_that_lists_them(job: Job):
    for words in (("meta", "evaluate"), ("report",)):
        answer = call(*words, "meta-e", "--cache-dir", job.cache)
        assert answer.status == 2
        assert "there is no run 'meta-e'; did you mean 'meta-d'? Known: adabins, bts, ldrn, " in answer.err
        listed = done(*answer.advised[:2], *answer.advised[2:]).out
        assert "tiny/meta-d" in listed
        assert "tiny/bts/fold-1" in listed
    answer = call("report", "tinny", "--cache-dir", job.cache)
    assert "did you mean 'tiny'?" in answer.err, "the report of an experiment goes by its name"
    answer = call("study", "show", "smoke", "--cache-dir", job.cache)
    assert answer.advised == ["study", "list", "--cache-dir", str(job.cache)]


def test_a_mistyped_saved_file_is_answered_with_the_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitchen.stack").touch()
    for tool in ("meta", "base"):
        answer = call(tool, "predict", "kitchn.stack", tmp_path, "--out", tmp_path / "out")
        assert answer.status == 2
        assert "there is no such file (did you mean the file kitchen.stack?), and no such run either" in answer.err
        assert "Known: nyu-small." in answer.err
        answer = call(tool, "predict", "three.stack", tmp_path, "--out", tmp_path / "out")
        assert "did you mean" not in answer.err, "an ending in common is no likeness"


def test_a_setting_of_a_stack_is_named_as_its_command_takes_it(job: Job):
    words = ("--inputs", "d", "--config", job.config, "--cache-dir", job.cache)
    answer = call("meta", "fit", *words, "--set", "meta.training.max_steps=30")
    assert answer.status == 2
    assert "--set meta.training.max_steps=30: a stack has no setting meta.training.max_steps; " in answer.err
    assert answer.err.endswith(": --set training.max_steps=30\n")


def test_runs_are_listed_with_how_far_they_are(job: Job, tmp_path: Path):
    rows = done("base", "runs", "--json", "--cache-dir", job.cache).out
    assert '"run": "tiny/bts"' in rows
    assert '"state": "complete"' in rows
    (job.cache / "runs/tiny/ldrn/fold-0/result.json").rename(tmp_path / "result.json")
    table = done("base", "runs", "--cache-dir", job.cache).out
    (tmp_path / "result.json").rename(job.cache / "runs/tiny/ldrn/fold-0/result.json")
    assert re.search(r"tiny/ldrn/fold-0 +begun", table)
    assert "there is no run below" in done("base", "runs", "--cache-dir", tmp_path / "none").err


def test_a_shell_completes_tools_commands_and_options():
    assert completed("") == list(TOOLS)
    assert completed("base", "ver") == ["verify"]
    assert completed("meta", "fit", "--see") == ["--seeds"]
    assert (
        "verify" in stackdepth(_STACKDEPTH_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="stackdepth base ver").stdout
    )


def test_a_shell_completes_names(job: Job, tmp_path: Path):
    cache = ("--cache-dir", str(job.cache))
    assert completed("base", "train", "b") == ["bts", "bts_fast"]
    assert completed("meta", "fit", "--learners", "bts,l") == ["bts,ldrn", "bts,ldrn_fast"]
    assert completed("meta", "evaluate", *cache, "meta-rgb") == ["meta-rgb", "meta-rgb+d"]
    assert completed("base", "predict", "tiny/b", STACKDEPTH_CACHE=str(job.cache)) == [
        "tiny/bts/fold-0",
        "tiny/bts/fold-1",
        "tiny/bts",
    ]
    assert completed("report", *cache, "ti")[-1] == "tiny"
    assert completed("base", "verify", *cache, "") == ["tiny"]
    assert "nyu_stacking" in completed("base", "train", "--config", "nyu")
    assert completed("study", "run", "smo") == ["smoke"]
    assert completed("study", "show", *cache, "") == []
    (tmp_path / "file").write_text("")
    assert completed("meta", "evaluate", "--cache-dir", str(tmp_path / "file"), "m") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_for_every_shell(shell: str):
    shown = stackdepth(_STACKDEPTH_COMPLETE=f"source_{shell}").stdout
    assert "_STACKDEPTH_COMPLETE=complete_" + shell in shown
    assert "stackdepth" in shown


def test_completion_is_installed_for_the_shell_that_runs(tmp_path: Path):
    words = [sys.executable, "-m", "ensemble", "--install-completion"]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    line = " ".join(words) + "; exit $?"  # a shell that has more to do stays the parent
    ran = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "complete_bash" in (tmp_path / ".bash_completions/stackdepth.sh").read_text()


ADDRESS = "postgresql://bob:hunter2@db.example/x?password=hunter2"


@pytest.mark.parametrize(
    "words",
    [
        ("study", "show", ADDRESS),
        ("study", "run", "kitchen", ADDRESS),
        ("study", "run", "--storag", ADDRESS),
        ("base", "train", "bts", "--cache-dir", ADDRESS),
        ("base", "train", "bts", "--set", f"data.root={ADDRESS}"),
        ("meta", "evaluate", ADDRESS),
        ("report", ADDRESS),
        ("data", "doctor", ADDRESS),
        ("base", "train", "bts", "--set", f'data.root="{ADDRESS}"'),
        ("base", "train", "bts", "--set", f"data.size=[{ADDRESS}"),
        ("study", "show", "--", "--storage", ADDRESS),
        (ADDRESS,),
    ],
)
def test_an_address_in_the_wrong_place_is_never_repeated(words: tuple[str, ...], tmp_path: Path):
    answer = stackdepth(*words, cwd=tmp_path)
    assert answer.returncode == 2
    assert "hunter2" not in answer.stdout + answer.stderr
    assert "found an address" in answer.stderr
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_too_long_is_a_mistake_of_whoever_typed_it():
    assert call("data", "doctor", "x", "--config", 300 * "x").status == 2


def test_a_range_stands_in_words_and_without_the_end_that_only_refuses_nonsense():
    shown = " ".join(stackdepth("base", "cache", "--help", COLUMNS="140").stdout.split())
    assert "[at least 0, at most 256]" in shown
    assert "x<=" not in shown
    assert "[default: 5; at least 1]" in " ".join(stackdepth("base", "profile", "--help").stdout.split())


def test_advice_is_given_in_the_words_that_were_typed(tmp_path: Path):
    missing = ("base", "cache", "bts", "--role", "test", "--cache-dir", str(tmp_path), "--data", "rooms")
    ours = stackdepth(*missing).stderr
    theirs = subprocess.run(
        [sys.executable, "-m", f"ensemble.{missing[0]}", *missing[1:]], cwd=CHECKOUT, capture_output=True, text=True
    ).stderr
    ours, theirs = (told[told.index("error: ") :] for told in (ours, theirs))  # dots of a busy machine may come first
    assert "python -m ensemble.base train bts" in theirs
    assert ours == theirs.replace("python -m ensemble.", "stackdepth ")


def test_what_fish_shows_beside_a_word_is_one_line():
    asked = {"_STACKDEPTH_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    tools = stackdepth(_TYPER_COMPLETE_ARGS="stackdepth ", **asked).stdout.splitlines()
    assert [line.split("\t")[0] for line in tools] == list(TOOLS)
    options = stackdepth(_TYPER_COMPLETE_ARGS="stackdepth base cache --", **asked).stdout.splitlines()
    assert len(options) > 10
    assert all(line.startswith("--") and "\t" in line and len(line.split("\t")[1]) <= 56 for line in options)


@pytest.mark.parametrize("variable", ["STACKDEPTH_CACHE", "NYU_ROOT"])
def test_an_address_in_a_variable_is_never_repeated(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    answer = call("base", "train", "bts", **{variable: ADDRESS})
    assert answer.status == 2
    assert "hunter2" not in answer.out + answer.err
    assert answer.err.startswith(f"error: {variable}: expected a file or a folder, found an address")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["x", "1e9", "0", ""])
def test_a_value_of_an_option_that_is_no_number_is_named(value: str):
    answer = call("base", "profile", "--repeats", value)
    assert answer.status == 2
    assert re.match(rf"error: --repeats: expected a .+, found '{value}'", answer.err)


@pytest.mark.parametrize(
    "words",
    [
        ("report", "x", "--out"),
        ("base", "predict", "x", "FILE", "--out"),
        ("meta", "fuse", "x", "--maps", "bts=.", "--out"),
        ("study", "compare", "x", "--out"),
        ("data", "rooms"),
        ("data", "pack", "."),
        ("base", "runs", "--cache-dir"),
    ],
)
@pytest.mark.parametrize("below", ["", "folder/below"])
def test_a_folder_to_write_to_that_is_a_file_is_refused(words: tuple[str, ...], below: str, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("kept")
    answer = call(*(str(file) if word == "FILE" else word for word in words), file / below)
    assert answer.status == 2
    assert re.search(rf"(--out|out|OUT|--cache-dir) {file / below}: expected a folder, found .* in {file}", answer.err)
    assert file.read_text() == "kept"
    assert list(tmp_path.iterdir()) == [file]
