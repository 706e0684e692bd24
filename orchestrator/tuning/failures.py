"""Failure of a sweep: what ended its trials for good, in the words of its cause."""

from collections.abc import Sequence
from pathlib import Path

from ray.tune.experiment import Trial as TuneTrial

from orchestrator.files import write_atomically
from orchestrator.pipeline.dispatch import user_error

_PROBE = "writable"


def sweep_failure(failed: Sequence[TuneTrial], trials: int, folder: Path) -> Exception:
    """Return the error to raise where trials have failed again and again.

    Tune keeps the text of an error in a file of its folder. Where that cannot be written, on a full disk, there is no
    text, and the disk is the cause: of the trials, or of nobody's ever knowing.

    Args:
        failed: The trials that Tune has given up, at least one.
        trials: How many trials there are.
        folder: Tune's folder, in which it keeps state and errors.

    Returns:
        The user's error behind the first text that has one; else a RuntimeError with the first text.

    Raises:
        OSError: If the folder cannot be written, and no text names an error of the user's.
    """
    # Declared as an error, it is the text of one.
    texts = [str(error) for trial in failed if (error := trial.get_error())]
    for text in texts:
        if known := user_error(text):
            return known
    write_atomically(folder / _PROBE, "x" * 4096)
    (folder / _PROBE).unlink()
    return RuntimeError(f"{len(failed)} of {trials} trials failed; " + (texts[0] if texts else "no error is on record"))
