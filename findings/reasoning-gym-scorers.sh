#!/bin/sh
# Some scorers of reasoning-gym give full marks to answers that are wrong.
#
# reasoning-gym 0.1.25, from PyPI, in a virtual environment of its own. The package makes 20 problems of each data set and
# its own `score_answer` judges one answer to each that is wrong for all of them:
#
#   data set               answer                                     full marks, seen with 0.1.25
#   coin_flip              "0", where the probability is not 0        18 of 20
#   game_of_life_halting   "I do not know"                            20 of 20
#   gsm_symbolic           the reference with the opposite sign       20 of 20
#   puzzle24               the solution of the next problem           20 of 20
#   leg_counting           the reference plus one                     0 of 20 (a sound one, to compare with)
#
# A good engineer would expect that the scorer of a data set tells right from wrong, all the more in a package whose
# scores are rewards. Curves over such a data set look like any others. Exits non-zero as soon as this changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$folder/venv/bin/python" - <<'PROGRAM'
import contextlib
import io
from importlib.metadata import version

from reasoning_gym import create_dataset

print("reasoning-gym", version("reasoning-gym"))


def opposite(entries, index):
    reference = entries[index]["answer"].strip()
    return reference[1:] if reference.startswith("-") else "-" + reference


wrong = {
    "coin_flip": lambda entries, index: "0",
    "game_of_life_halting": lambda entries, index: "I do not know",
    "gsm_symbolic": opposite,
    "puzzle24": lambda entries, index: entries[(index + 1) % len(entries)]["answer"],
    "leg_counting": lambda entries, index: str(int(entries[index]["answer"]) + 1),
}
changed = []
for name, answer in wrong.items():
    source = create_dataset(name, seed=0, size=20)
    entries = [source[index] for index in range(20)]
    asked = [index for index in range(20) if entries[index]["answer"] not in ("0", "0.0", answer(entries, index))]
    with contextlib.redirect_stdout(io.StringIO()):
        full = sum(source.score_answer(answer(entries, index), entries[index]) >= 1.0 for index in asked)
    print(f"{name:<22} {full} of {len(asked)} wrong answers have full marks")
    if full != {"leg_counting": 0, "coin_flip": 18}.get(name, len(asked)):
        changed.append(name)
raise SystemExit(f"no longer so: {', '.join(changed)}" if changed else 0)
PROGRAM
