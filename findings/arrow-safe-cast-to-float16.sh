#!/bin/sh
# pyarrow's safe cast of integers to float16 rounds and overflows without a word; to float32 it refuses.
#
# Input: whole numbers that float16 cannot hold: 2,049 (between two neighbours) and 70,000 (beyond 65,504).
# `Array.cast` is safe unless told otherwise: "check for overflows or other unsafe conversions". A good engineer would
# expect the error that the same cast to float32 raises for 16,777,217. pyarrow 25.0.1 gives 2,048 and inf, and so it
# does where a table is cast to a schema, and where a Parquet file of integers is read under one. From float32, 70,000 is inf
# too, as 1e300 is from float64 to float32: of floating-point numbers the check knows nothing, of integers it does.
#
# Exits with 0 while that is so. Seen:
#   int32   2049     -> halffloat  2048.0
#   int32   70000    -> halffloat  inf
#   int32   16777217 -> float      ArrowInvalid
#   float   70000.0  -> halffloat  inf
#   table to schema                [2048.0, inf]
#   file read under a schema       [2048.0, inf]
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/rows.parquet" <<'PYTHON'
import math
import sys

import numpy
import pyarrow
import pyarrow.dataset
import pyarrow.parquet

print(f"pyarrow {pyarrow.__version__}, numpy {numpy.__version__}")
CASTS = [
    (2_049, pyarrow.int32(), pyarrow.float16(), 2_048.0),
    (70_000, pyarrow.int32(), pyarrow.float16(), math.inf),
    (16_777_217, pyarrow.int32(), pyarrow.float32(), "ArrowInvalid"),
    (70_000.0, pyarrow.float32(), pyarrow.float16(), math.inf),
]
same = True
for value, source, target, expected in CASTS:
    try:
        found = float(pyarrow.array([value], source).cast(target, safe=True)[0].as_py())
    except pyarrow.ArrowInvalid as error:
        found = type(error).__name__
    print(f"{source!s:<7} {value:<8} -> {target!s:<10} {found}")
    same = same and found == expected

table = pyarrow.table({"scores": pyarrow.array([2_049, 70_000], pyarrow.int32())})
schema = pyarrow.schema([("scores", pyarrow.float16())])
through_schema = [float(value) for value in table.cast(schema)["scores"].to_pylist()]
print(f"{'table to schema':<30} {through_schema}")
pyarrow.parquet.write_table(table, sys.argv[1])
read = [float(value) for value in pyarrow.dataset.dataset(sys.argv[1], schema=schema).to_table()["scores"].to_pylist()]
print(f"{'file read under a schema':<30} {read}")
same = same and through_schema == read == [2_048.0, math.inf]
sys.exit(0 if same else "the behaviour has changed")
PYTHON
