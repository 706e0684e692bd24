#!/bin/sh
# math-verify takes words for products of letters, drops the base of a number, and adds where a product or a sum stands.
#
# Input: references and answers as mathematical benchmarks have them, each in \boxed{}, through `parse` and `verify` with
# their defaults. A good engineer would expect that different words differ, that a number written to base 2 is none to
# base 3, and that 7 1/2 is 7.5 and (3)(5) is 15. math-verify 0.9.0 with latex2sympy2_extended 1.11.0 calls anagrams
# equal (a word outside of \text{} is a product of its letters), leaves the subscript out, reads 7 1/2 as (7 + 1)/2 = 4
# and (3)(5) as the mixed number 3 + 5 = 8. Nothing is raised. 7\frac{1}{2} and 3 \cdot 5 are read as they are meant.
#
# Exits with 0 while that is so. Seen, reference, answer and verdict:
#   east           seat           True
#   1010_2         1010_3         True
#   7 1/2          4              True
#   7 1/2          7.5            False
#   7\frac{1}{2}   7.5            True
#   (3)(5)         8              True
#   (3)(5)         15             False
#   3 \cdot 5      15             True
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    math-verify==0.9.0 latex2sympy2_extended==1.11.0 sympy==1.14.0 antlr4-python3-runtime==4.13.2
"$folder/venv/bin/python" <<'PYTHON'
import sys
from importlib.metadata import version

from math_verify import parse, verify

print(", ".join(f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2_extended", "sympy")))
EXPECTED = [
    ("east", "seat", True),
    ("1010_2", "1010_3", True),
    ("7 1/2", "4", True),
    ("7 1/2", "7.5", False),
    (r"7\frac{1}{2}", "7.5", True),
    ("(3)(5)", "8", True),
    ("(3)(5)", "15", False),
    (r"3 \cdot 5", "15", True),
]
same = True
for reference, answer, expected in EXPECTED:
    found = verify(parse(rf"\boxed{{{reference}}}"), parse(rf"\boxed{{{answer}}}"))
    print(f"{reference:<14} {answer:<14} {found}")
    same = same and found == expected
sys.exit(0 if same else "the behaviour has changed")
PYTHON
