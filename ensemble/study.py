"""``python -m ensemble.study``: run studies, compare their arms, and take the best setting of all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.console import messages, print_json, results
from ensemble.runs.paths import outputs
from ensemble.settings.packaged import STUDIES, packaged, study_file
from ensemble.settings.schema import MOST, MOST_PROCESSES
from ensemble.settings.trees import SettingsError, flat, parse_assignments
from ensemble.studies.design.arms import arms_of, experiment_of, lowest_numbers, settings_of
from ensemble.studies.design.study_file import read_study
from ensemble.studies.storage.folders import known_studies, started_study, study_folder
from ensemble.studies.sweeps.sweep_file import arms_of_sweep, read_sweep, settings_of_arm

app = options.application("Studies: questions with a few answers, tuned at equal budget, on one machine or many.")

DOWN_STATUS = 3

Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="STACKDEPTH_STORAGE",
        help="postgresql://USER@HOST/DATABASE, sqlite:///FILE or journal:FILE. "
        "Default: where the study was started, else a file of its own.",
    ),
]
Study = Annotated[
    str,
    typer.Argument(metavar="STUDY", autocompletion=completion.studies, help="Name of a study that was started."),
]


@contextmanager
def storage_may_be_down() -> Iterator[None]:
    """End with one line and exit status 3 where the storage does not answer."""
    from ensemble.studies.storage.connection import StorageDownError

    try:
        yield
    except StorageDownError as error:
        messages.print(f"error: {error}", style="red")
        raise typer.Exit(DOWN_STATUS) from error


@app.command()
def run(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|NAME",
            callback=study_file,
            autocompletion=completion.ready_studies,
            help="A study (YAML): a file, or the name of a packaged one.",
        ),
    ],
    trials: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MOST, help="Trials of every arm, finished ones counted.")
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, max=MOST_PROCESSES, help="Processes; 0 runs the trials in this one.")
    ] = 1,
    storage: Storage = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Begin no trial after so many seconds.")
    ] = None,
    prepare_only: Annotated[
        bool, typer.Option("--prepare", help="Train and cache what is missing, then stop.")
    ] = False,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    experiment: options.Experiment = None,
    wandb: options.Wandb = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """Run the trials of a study that are still to be run; again after a stop, or beside others on other machines."""
    where = outputs(cache_dir)
    given = flat(parse_assignments(options.choice(None, root, config, assignments, experiment).assignments))
    study = read_study(file, config=config, assignments=given, trials=trials)
    for arm in arms_of(study):  # a mistake is told before anything heavy is imported
        settings_of(study, arm, lowest_numbers(study, arm), where, root=root)
        experiment_of(study, arm)

    from ensemble.studies.storage.addresses import has_password, storage_url

    url = storage_url(storage, study_folder(where, study.name))

    from ensemble.studies.running.launch import begin_study, run_study
    from ensemble.studies.running.trials import WorkerContext
    from ensemble.studies.storage.connection import storage_may_fail

    context = WorkerContext(study, where, url, root=root, wandb=wandb)
    with storage_may_be_down(), storage_may_fail(url):
        if prepare_only:
            begin_study(context)
            messages.print(f"{study.name}: everything is there that its trials need")
            return
        status = run_study(context, workers=workers, timeout=timeout)
    if status:
        raise typer.Exit(status)
    again = " (with the same --storage: its password is not kept)" if has_password(url) else ""
    messages.print(f"next: {where.command('study', 'compare', study.name, *options.root_words(root))}{again}")


@app.command()
def show(
    study: Study, storage: Storage = None, cache_dir: options.CacheDir = None, as_json: options.Json = False
) -> None:
    """How far a study is: every arm with its trials and its best value."""
    where = outputs(cache_dir)
    settings = started_study(where, study)

    from ensemble.studies.running.progress import progress_table, progress_tree
    from ensemble.studies.storage.addresses import storage_url
    from ensemble.studies.storage.records import begun_trials

    with storage_may_be_down():
        folder = study_folder(where, study)
        trials = begun_trials(settings, storage_url(storage, folder), folder)
    options.show(progress_table(settings, trials), plain=progress_tree(settings, trials), as_json=as_json)


@app.command("list")
def list_studies(cache_dir: options.CacheDir = None, as_json: options.Json = False) -> None:
    """Names of the studies that were started here, and what they ask."""
    where = outputs(cache_dir)
    asked = {name: started_study(where, name).about for name in known_studies(where)}
    if as_json:
        print_json([{"study": name, "about": about} for name, about in asked.items()])
        return
    for name, about in asked.items():
        results.print(f"{name:<24} {about}", soft_wrap=True)
    if not asked:
        messages.print(f"no study was started below {where.root}; ready ones: {', '.join(packaged(STUDIES))}")


@app.command()
def best(
    study: Study,
    write: Annotated[
        Path, typer.Option(metavar="FILE", callback=options.place, help="Experiment file (YAML) to write.")
    ],
    arm: Annotated[str | None, typer.Option(metavar="ARM", help="Of this arm; of all where absent.")] = None,
    storage: Storage = None,
    cache_dir: options.CacheDir = None,
) -> None:
    """Write the best setting as an experiment file that ``ensemble.meta fit --config FILE`` runs."""
    where = outputs(cache_dir)
    settings = started_study(where, study)

    from ensemble.studies.design.best import best_command, write_best
    from ensemble.studies.storage.addresses import storage_url
    from ensemble.studies.storage.records import begun_trials

    with storage_may_be_down():
        folder = study_folder(where, study)
        trials = begun_trials(settings, storage_url(storage, folder), folder)
    found = write_best(settings, trials, where, write, arm=arm)
    messages.print(f"{study}: trial {found.trial.number} of {found.trial.arm}, {found.told}")
    results.print(f"Run: {best_command(found, where, write)}", soft_wrap=True)


@app.command()
def compare(
    studies: Annotated[
        list[str], typer.Argument(metavar="STUDY", autocompletion=completion.studies, help="Studies that were started.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", callback=options.new_folder, help="Folder to write to. Default: that of the first study."
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="N,...|none", help="Fit the best of every arm again from these; none skips that.")
    ] = "1,2,3",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="BUDGET", help="Of the repeats, such as 500steps or 300seconds; that of a trial where absent."
        ),
    ] = None,
    storage: Storage = None,
    root: options.Root = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Fit the best setting of every arm from several seeds, and compare the arms on the validation scenes."""
    where = outputs(cache_dir)
    asked = [started_study(where, name) for name in studies]
    wanted = options.parse_seeds(None if seeds == "none" else seeds)
    if budget is not None and not wanted:
        raise SettingsError("--budget is that of the repeats, and --seeds none asks for none of them; leave out one")
    options.parse_budget(budget)

    from ensemble.studies.comparing.comparison import compare_studies
    from ensemble.studies.comparing.pages import arm_table, write_comparison
    from ensemble.studies.comparing.sheets import comparison_tree
    from ensemble.studies.running.trials import WorkerContext
    from ensemble.studies.storage.addresses import storage_url

    with storage_may_be_down():
        contexts = [
            WorkerContext(study, where, storage_url(storage, study_folder(where, study.name)), root=root)
            for study in asked
        ]
        found = compare_studies(contexts, seeds=wanted, budget=budget)
    folder = out or study_folder(where, studies[0]).comparison
    written = write_comparison(found, folder)
    plain = {**comparison_tree(found), "folder": str(folder), "files": written}
    options.show(arm_table(found), plain=plain, as_json=as_json)
    messages.print(f"{', '.join(written)}: {folder}")


@app.command()
def sweep(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|NAME",
            callback=study_file,
            autocompletion=completion.ready_studies,
            help="A sweep (YAML): a file, or the name of a packaged one such as dpt_cuts_small.",
        ),
    ],
    repeats: Annotated[int, typer.Option(metavar="N", min=1, max=MOST, help="Timed passes; the median counts.")] = 5,
    list_arms: Annotated[bool, typer.Option("--list", help="Check every arm and name it, then stop.")] = False,
    root: options.Root = None,
    config: options.Config = None,
    assignments: options.Assignments = None,
    cache_dir: options.CacheDir = None,
    as_json: options.Json = False,
) -> None:
    """Train one learner with its switches set in turn, at equal budget; again after a stop it goes on."""
    where = outputs(cache_dir)
    asked = read_sweep(file, config=config, assignments=flat(parse_assignments(assignments or [])))
    for arm in arms_of_sweep(asked):  # a mistake is told before anything heavy is imported
        settings_of_arm(asked, arm, root=root)

    from ensemble.studies.sweeps.pages import sweep_table, sweep_tree, write_sweep
    from ensemble.studies.sweeps.sweep import check_sweep, run_sweep

    if list_arms:
        for settings in check_sweep(asked, root=root):
            results.print(settings.learner, soft_wrap=True)
        return
    rows = run_sweep(asked, where, root=root, repeats=repeats)
    folder = study_folder(where, asked.name).comparison
    written = write_sweep(asked, rows, folder)
    plain = {**sweep_tree(asked, rows), "folder": str(folder), "files": written}
    options.show(sweep_table(asked, rows), plain=plain, as_json=as_json)
    messages.print(f"{', '.join(written)}: {folder}")


if __name__ == "__main__":
    options.run(app)
