"""``python -m ensemble.view``: a page in the browser that shows what a stack sees in photographs."""

import os
from typing import Annotated

import typer

from ensemble import options
from ensemble.commands import completion
from ensemble.pretrained import DEFAULT
from ensemble.runs.allocator import keep_one_arena
from ensemble.runs.paths import outputs
from ensemble.settings.trees import SettingsError

PASSWORD = "STACKDEPTH_VIEW_PASSWORD"
LEAST_PASSWORD = 8
app = options.application("A page in the browser: photographs, their depth, and the learners behind it.")


@app.command()
def view(
    stack: Annotated[
        str,
        typer.Argument(
            metavar="STACK|RUN",
            autocompletion=completion.runs,
            help="A saved stack or learner, file or folder; a run; or what comes with the package.",
        ),
    ] = DEFAULT,
    student: Annotated[
        str | None,
        typer.Option(metavar="STACK|RUN", autocompletion=completion.runs, help="A small network to compare it with."),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="0 takes any that is free.")] = 7860,
    share_on: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help=f"Let others come to this address of this machine, such as 0.0.0.0, with the password in {PASSWORD}.",
        ),
    ] = None,
    device: options.Device = "auto",
    no_flip: options.NoFlip = False,
    cache_dir: options.CacheDir = None,
) -> None:
    """A page of this machine: drop a photograph, see depth, weights and points, switch learners on and off."""
    keep_one_arena()  # photographs are read and drawn in threads
    options.Wanted.of("depth", "npy", None, device, no_flip=no_flip)
    password = None if share_on is None else _password()

    from ensemble.data.formats.packages import needed
    from ensemble.deploy.named import named

    for source in filter(None, (stack, student)):
        named(source, cache_dir)
    needed("gradio", extra="view", kind="the page", where="view")

    from ensemble.deploy.loading import load
    from ensemble.deploy.page.serving import Address, found_reports, serve

    how = {"device": device, "flip": False if no_flip else None, "cache_dir": cache_dir}
    small = None if student is None else load(student, **how)
    reports = found_reports(outputs(cache_dir).root)
    serve(load(stack, **how), Address(share_on or "127.0.0.1", port, password), student=small, reports=reports)


def _password() -> str:
    """Of the page, where others may come."""
    password = os.environ.get(PASSWORD, "")
    if len(password) < LEAST_PASSWORD:
        raise SettingsError(
            f"--share-on: expected a password of at least {LEAST_PASSWORD} characters in {PASSWORD}, found "
            f"{'none' if not password else 'a shorter one'}"
        )
    return password


if __name__ == "__main__":
    options.run(app)
