#!/usr/bin/env bash
# nncf 3.4.0 and OpenVINO 2026.4.1, CPU: eight bits of `weight @ x` do not compile, those of `x @ weight` do.
#
# One would guess: what nncf.quantize makes of a model that OpenVINO runs is a model that OpenVINO runs, and on which side
# of a product the weight stands is a matter of taste. nncf gives a weight one scale for each of its rows. Where it is the
# first factor, the plugin for processors takes them for scales of the columns of the product, finds another number of
# them, and compile_model ends in a RuntimeError about scale.size(); with as many rows as columns it compiles. So a
# network that mixes tokens (W of rows x tokens, times tokens x width) fails or not by its widths. Write it as the
# transposed product, or name such products in nncf.IgnoredScope.
#
# Seen on CPython 3.11, Linux x86_64:
#   weight first, 16 rows, 32 columns: RuntimeError
#   weight last, 16 rows, 32 columns: compiles
#   weight first, 32 rows, 32 columns: compiles
#   weight first, 16 rows, 32 columns, in 32 bits: compiles
#   weight first, 16 rows, 32 columns, product ignored: compiles
set -euo pipefail

here=$(realpath "$0")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet openvino==2026.4.1 nncf==3.4.0 numpy

cat >"$folder/look.py" <<'PY'
import logging

import nncf
import numpy as np
import openvino
from openvino import opset13 as op

nncf.set_log_level(logging.ERROR)
TOKENS, WIDTH = 24, 32
numbers = np.random.default_rng(0)


def drawn(*shape):
    return numbers.normal(size=shape).astype(np.float32)


def model(rows, first):
    x = op.parameter([1, TOKENS, WIDTH], np.float32, name="x")
    queries, weight = op.matmul(x, drawn(WIDTH, WIDTH), False, False), drawn(rows, TOKENS)
    if first:
        mixed = op.transpose(op.matmul(weight, queries, False, False, name="mixing"), [0, 2, 1])
    else:
        mixed = op.matmul(op.transpose(queries, [0, 2, 1]), weight, False, True, name="mixing")
    return openvino.Model([op.softmax(op.matmul(x, mixed, False, False), -1)], [x])


def look(told, rows, first, bits=8, ignored=()):
    said = model(rows, first)
    if bits == 8:
        data = nncf.Dataset([drawn(1, TOKENS, WIDTH)])
        said = nncf.quantize(said, data, subset_size=1, ignored_scope=nncf.IgnoredScope(names=list(ignored)))
    try:
        openvino.Core().compile_model(said, "CPU")
        print(f"{told}: compiles")
    except RuntimeError as error:
        assert "scale.size()" in str(error), error
        print(f"{told}: RuntimeError")


look("weight first, 16 rows, 32 columns", 16, True)
look("weight last, 16 rows, 32 columns", 16, False)
look("weight first, 32 rows, 32 columns", 32, True)
look("weight first, 16 rows, 32 columns, in 32 bits", 16, True, bits=32)
look("weight first, 16 rows, 32 columns, product ignored", 16, True, ignored=["mixing"])
PY
NNCF_CI=1 "$folder/venv/bin/python" "$folder/look.py" 2>"$folder/errors" | grep '^weight' | tee "$folder/seen" || cat "$folder/errors"
sed -n 's/^#   \(weight.*\)$/\1/p' "$here" | diff - "$folder/seen"
echo "as stated: eight bits of a product compile by the side that the weight stands on"
