#!/bin/sh
# How cache.tar.gz was made. Do not make it again: it is to stay what commit 98bccfb wrote.
#
#     sh make_fixture.sh PYTHON        in this folder, within a checkout of that commit; PYTHON is that of its .venv
#
# cache/      what the tests go on with: three learners with the models of two folds, one further seed, a run that was
#             killed, rows of all roles, a stack that was evaluated, a study with a trial in each of two arms
# expected/   what the same commit made of it when it went on: the new runs' logs and scores, the study's trials,
#             photographs and their depth
set -eu
python=$1
here=$(pwd)
work=$(mktemp -d)
export PYTHONPATH="$here/../../.." OMP_NUM_THREADS=1
unset NYU_ROOT STACKDEPTH_CACHE STACKDEPTH_STORAGE || true
cp legacy.yaml study.yaml "$work"
cd "$work"

# 1. The experiment.
for learner in adabins bts ldrn; do
    $python -m ensemble.base train $learner --folds 2 --config legacy.yaml --cache-dir cache
done
$python -m ensemble.base train bts --seeds 1 --config legacy.yaml --cache-dir cache
for role in oof fit validation test; do
    $python -m ensemble.base cache adabins bts ldrn --role $role --config legacy.yaml --cache-dir cache
done
$python -m ensemble.base cache bts --role test --seeds 0,1 --config legacy.yaml --cache-dir cache
$python -m ensemble.meta fit --inputs d --config legacy.yaml --cache-dir cache
$python -m ensemble.meta evaluate meta-d --cache-dir cache
$python -m ensemble.study run study.yaml --workers 0 --cache-dir cache

# 2. A run that dies at the end of its second epoch, before that is saved: the last checkpoint is of step 3 of 6, in the
#    middle of the epoch, and the log has what came after it.
train_until_killed() {
    $python - "$@" <<'END'
import os
import signal

from ensemble import base, options
from ensemble.training.checkpoints import KeepCheckpoints


def die(self, trainer, module, save=KeepCheckpoints.on_train_epoch_end):
    if trainer.current_epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    save(self, trainer, module)


KeepCheckpoints.on_train_epoch_end = die
options.run(base.app)
END
}
train_until_killed train adabins --seeds 3 --config legacy.yaml --set training.checkpoint_every=1 --cache-dir cache || true
test -f cache/runs/legacy/adabins/seed-3/last.ckpt
test ! -e cache/runs/legacy/adabins/seed-3/result.json

# 3. What comes next, on a copy; the killed run once from the start, without a kill.
cp -R cache later
rm -r later/runs/legacy/adabins/seed-3
$python -m ensemble.base train adabins --seeds 3 --config legacy.yaml --cache-dir later
$python -m ensemble.meta fit --inputs rgb+d --config legacy.yaml --cache-dir later
$python -m ensemble.study run study.yaml --trials 2 --workers 0 --cache-dir later
mkdir expected
$python -c "
import numpy as np
from PIL import Image
down, right = np.mgrid[0:80, 0:120].astype(np.uint8)
Image.fromarray(np.stack([2 * down, 2 * right, 255 - down - right], axis=2)).save('expected/large.png')
small = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
Image.fromarray(small).save('expected/small.png')"
$python -m ensemble.meta predict meta-d expected/small.png expected/large.png --out predicted --cache-dir later
mv predicted/*_depth.npy predicted/*_uncertainty.npy expected
for run in runs/legacy/adabins/seed-3 runs/legacy/meta-rgb+d; do
    mkdir -p expected/$run
    for file in settings.json sources.json log.jsonl result.json; do cp later/$run/$file expected/$run; done
done
for trial in frozen/1 finetune/1; do
    mkdir -p expected/studies/legacy/trials/$trial
    cp later/studies/legacy/trials/$trial/settings.json later/studies/legacy/trials/$trial/outcome.json \
        expected/studies/legacy/trials/$trial
done

# 4. The archive, without pictures and without the checkpoints of runs that are complete, but for that of the stack:
#    nothing reads them any more.
find cache -name '*.png' -delete
find cache -name result.json | while read -r result; do
    case $result in
        */runs/legacy/meta-d/*) ;;
        *) rm -f "$(dirname "$result")/last.ckpt" ;;
    esac
done
tar --sort=name --mtime='2000-01-01 00:00Z' --owner=root:0 --group=root:0 --numeric-owner --mode='u=rwX,go=rX' \
    -cf - cache expected | gzip -9n > "$here/cache.tar.gz"
[ -n "${KEEP:-}" ] || rm -r "$work"
