"""Types of settings that several sections share: numbers of things, seeds, precisions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

Dtype = Literal["float32", "bfloat16", "float16"]
Overrides = Mapping[str, Any]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""How many of something are made one by one; beyond a million it is a slip, and memory would end before the work."""
MAX_SEED = 2**63 - 1
