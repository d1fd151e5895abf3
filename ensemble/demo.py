"""``python -m ensemble.demo``: the whole job on generated rooms in one command."""

import time

from ensemble import options
from ensemble.console import messages
from ensemble.runs.paths import Run, outputs, stack_name
from ensemble.settings.layers import Choice, config_folder, learner_settings, stack_settings
from ensemble.settings.names import stacked_learners

app = options.application("The whole job on generated rooms: train, cache, fit, evaluate.")

INPUTS = ("d", "rgb", "rgb+d")


@app.command()
def demo(
    assignments: options.Assignments = None,
    fresh: options.Fresh = False,
    cache_dir: options.CacheDir = None,
    json: options.Json = False,
) -> None:
    """Train three learners on generated rooms, cache their depth, fit three stacks, and compare everything."""
    started = time.monotonic()
    where = outputs(cache_dir)
    config = config_folder() / "demo.yaml"
    choice = Choice("rooms", config=config, assignments=assignments or ())
    learners = [learner_settings(name, choice) for name in stacked_learners()]
    stacks = [stack_settings(inputs, choice, learners=stacked_learners()) for inputs in INPUTS]

    messages.rule("1/4  three learners and the models of their folds")
    from ensemble.data.loaders import KeptFrames
    from ensemble.stacking.fit import fit_meta
    from ensemble.training.learners import train_learner

    kept: KeptFrames = {}
    for settings in learners:
        for fold in (None, *range(settings.data.folds)):
            train_learner(settings.model_copy(update={"fold": fold}), where, fresh=fresh, kept=kept)

    messages.rule("2/4  their depth of every frame")
    from ensemble.evaluation.held_out_rows import cache_test_predictions
    from ensemble.predictions.learners import trained_learner
    from ensemble.predictions.level_zero import cache_level_zero, level_zero

    experiment = learners[0].experiment
    names = [settings.learner for settings in learners]
    whole = [level_zero(where, experiment, name, rows="oof", level0="full") for name in names]
    for role in ("oof", "validation"):
        cache_level_zero(whole, where, role, rebuild=fresh)
    cache_test_predictions([trained_learner(where, experiment, name) for name in names], where, rebuild=fresh)

    messages.rule("3/4  three stacks")
    runs = []
    for stack in stacks:
        run = where.meta_run(experiment, stack_name(stack))
        runs.append(fit_meta(stack, run, where, fresh=fresh, kept=kept))

    messages.rule("4/4  side by side")
    from ensemble.evaluation.evaluate import evaluate_stacks
    from ensemble.report.evaluated import draw_evaluation
    from ensemble.stacking.stack import load_stack

    folder = where.report(experiment)
    evaluate_stacks([load_stack(run, where) for run in runs], where, folder)
    tables = draw_evaluation(Run(folder))
    options.show(*tables, plain=Run(folder).scores.read_text("utf-8"), as_json=json)
    messages.print(f"table and pictures: {folder}   {time.monotonic() - started:.0f} s")
    messages.print(f"next: {where.command('meta', 'predict', where.name_of(runs[-1]), 'IMAGE', '--out', 'DIR')}")


if __name__ == "__main__":
    options.run(app)
