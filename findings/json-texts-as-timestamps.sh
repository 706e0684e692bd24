#!/bin/sh
# load_dataset("json") turns texts that all look like dates into timestamps, though JSON has a type for text.
#
# Input: JSON lines with two keys of text, the reference answers being dates such as "2020-01-05".
# A good engineer would expect the column to be text, as JSON says. datasets 5.2.0 with pyarrow 25.0.1 gives
# timestamp[s], without a word, and the answers come back as datetime objects: "2020-01-05" has become
# 2020-01-05 00:00:00, which no answer of a model equals. One answer of another kind ("around 1990") in the same file
# keeps all of them text, so that the type of a split depends on its rows, and two splits of one set may differ.
# Texts of digits ("0012") stay as they are.
#
# Exits with 0 while that is so. Seen:
#   dates             timestamp[s]   ['datetime', 'datetime']
#   dates, one text   string         ['str', 'str', 'str']
#   digits            string         ['str', 'str']
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==25.0.1 pandas==3.1.1
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" "$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

import datasets
import pyarrow

datasets.disable_progress_bars()
print(f"datasets {datasets.__version__}, pyarrow {pyarrow.__version__}")
ANSWERS = {
    "dates": ["2020-01-05", "2021-12-31"],
    "dates, one text": ["2020-01-05", "2021-12-31", "around 1990"],
    "digits": ["0012", "0100"],
}
found = {}
for name, answers in ANSWERS.items():
    file = Path(sys.argv[1]) / f"{len(found)}.jsonl"
    file.write_text("\n".join(json.dumps({"question": "When?", "answer": answer}) for answer in answers))
    rows = datasets.load_dataset("json", data_files=str(file), split="train")
    found[name] = rows.features["answer"].dtype, [type(answer).__name__ for answer in rows["answer"]]
    print(f"{name:<17} {found[name][0]:<14} {found[name][1]}")
expected = {
    "dates": ("timestamp[s]", ["datetime"] * 2),
    "dates, one text": ("string", ["str"] * 3),
    "digits": ("string", ["str"] * 2),
}
sys.exit(0 if found == expected else "the behaviour has changed")
PYTHON
