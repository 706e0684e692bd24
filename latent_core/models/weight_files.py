"""The one source of a checkpoint's weights: `model.safetensors`, or an index and its shards, read by their headers.

Every part of a reasoner (backbone, output head, feedback head) takes its tensors from here, and whatever else lies in
the directory is named as not read, or refused where it could mean other weights.
"""

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from latent_core.errors import UserError
from latent_core.settings import object_of_pairs

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
"""What PEFT writes. Where it is installed, transformers adds such an adapter to whatever weights lie beside it."""
PICKLE_PATTERNS = ("*.bin", "*.pt", "*.pth", "*.ckpt")
TRAINER_FILES = frozenset({"training_args.bin", "optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth"})
"""What the trainer of transformers leaves beside weights."""
_SAFETENSORS = "*.safetensors"
_OTHER_FORMATS = {
    ".gguf": "GGUF, the format of llama.cpp",
    ".h5": "a file of Keras",
    ".msgpack": "a file of Flax",
    ".onnx": "an ONNX graph",
    ".npz": "an archive of NumPy",
}
_NAMED = 3


@dataclass(frozen=True)
class Header:
    """What a weight file says about a tensor.

    Attributes:
        shape: Its sizes.
        dtype: Its type as safetensors spells it, such as F32.
        file: The file that holds it.
    """

    shape: tuple[int, ...]
    dtype: str
    file: Path


@dataclass(frozen=True)
class WeightSource:
    """The files that decide the weights, and what their headers say.

    Attributes:
        files: Those that hold tensors, and the index that names them, by name.
        headers: Every tensor of theirs.
        ignored: Names of other files in the directory that could hold weights, and are not read.
    """

    files: tuple[Path, ...]
    headers: Mapping[str, Header]
    ignored: tuple[str, ...] = ()

    @classmethod
    def find(cls, source: str, directory: Path) -> "WeightSource":
        """Find the weights of a directory.

        Args:
            source: What the user named, for messages.
            directory: Where the files are.

        Raises:
            UserError: If there are none or more than one, if adapter files lie beside them, or if a file is damaged.
        """
        files = find_weight_files(source, directory)
        if not files:
            raise UserError(f"checkpoint {source}: {_nothing_to_read(source, directory)}")
        tensor_files = [path for path in files if path.name != INDEX_FILE]
        headers = read_headers(source, tensor_files)
        if len(tensor_files) < len(files):
            _check_index(source, directory / INDEX_FILE, headers)
        return cls(tuple(sorted(files)), headers, other_files(directory, files))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors by name."""
        return {name: header.shape for name, header in self.headers.items()}

    @contextmanager
    def tensors(self, names: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Give slices of tensors by name, each of which reads its tensor when it is indexed; valid within the block."""
        with ExitStack() as stack:
            opened: dict[Path, Any] = {}
            slices: dict[str, Any] = {}
            for name in names:
                path = self.headers[name].file
                if path not in opened:
                    opened[path] = stack.enter_context(safe_open(path, "pt"))
                slices[name] = opened[path].get_slice(name)
            yield slices

    def describe(self) -> str:
        """Return in a few words which files are read."""
        read = [path.name for path in self.files if path.name != INDEX_FILE]
        return read[0] if len(read) == 1 else f"{len(read)} shards of {INDEX_FILE}"


def find_weight_files(source: str, directory: Path) -> list[Path]:
    """Return the safetensors files that are the weights of a directory, with their index; none where it has none.

    Raises:
        UserError: If there are two candidates, adapter files beside them, or an index that cannot be followed.
    """
    single, index = directory / SINGLE_FILE, directory / INDEX_FILE
    sharded = _shards(source, index) if index.is_file() else []
    adapters = [name for name in ADAPTER_FILES if (directory / name).is_file()]
    if single.is_file() and sharded and sharded != [single]:
        raise UserError(
            f"checkpoint {source}: it has weights twice, in {SINGLE_FILE} and in the {len(sharded)} files that "
            f"{INDEX_FILE} names, and nobody can tell which are meant; remove one of the two"
        )
    whole = [single] if single.is_file() else sharded
    if adapters and whole:
        raise UserError(
            f"checkpoint {source}: {some(adapters)} lie beside whole weights ({whole[0].name}), and nobody can tell "
            "whether these have the adapter in them; if they do, move the adapter files away; if not, merge them with "
            "PEFT (merge_and_unload) and save the result"
        )
    if adapters:
        raise UserError(
            f"checkpoint {source}: it has only an adapter ({some(adapters)}), and no weights that it changes; load it "
            "with PEFT on its base model, merge_and_unload, and save the result"
        )
    return [*whole, index] if sharded else whole


def read_headers(source: str, files: Iterable[Path]) -> dict[str, Header]:
    """Read what safetensors files say about their tensors, which also shows whether the files are whole.

    Raises:
        UserError: If one is damaged, or a name stands in two of them.
    """
    headers: dict[str, Header] = {}
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - the file is not a mapping
                    one = file.get_slice(name)
                    if name in headers:
                        raise UserError(
                            f"checkpoint {source}: {name} is both in {headers[name].file.name} and in {path.name}; "
                            "nobody can tell which is meant"
                        )
                    headers[name] = Header(tuple(one.get_shape()), str(one.get_dtype()), path)
        except (SafetensorError, OSError) as error:
            raise UserError(f"checkpoint {source}: the weights in {path.name} are damaged: {error}") from error
    return headers


def foreign_format(path: Path) -> str | None:
    """Say what a file of another library's format is and how its weights get here; None for any other file."""
    kind = _OTHER_FORMATS.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                kind = _OTHER_FORMATS[".gguf"]
    except OSError:
        # Whoever reads the file says what is wrong with it.
        return None
    if kind is None:
        return None
    if kind == _OTHER_FORMATS[".gguf"]:
        return (
            f"{path.name} is {kind}, whose weights are mostly quantized; load it with transformers "
            f"(AutoModelForCausalLM.from_pretrained(DIRECTORY, gguf_file={path.name!r}), and AutoTokenizer likewise; "
            "it needs the package gguf), save_pretrained both to a new directory, and name that one"
        )
    return f"{path.name} is {kind}, which is not read here; save the weights as safetensors with the library it is of"


def some(names: Iterable[str]) -> str:
    """Return the first of many names, and how many others there are."""
    listed = sorted(names)
    more = len(listed) - _NAMED
    return ", ".join(listed[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _shards(source: str, index: Path) -> list[Path]:
    weight_map = _weight_map(source, index)
    names = sorted(set(weight_map.values()))
    if not names or any(Path(name).name != name for name in names):
        raise UserError(f"checkpoint {source}: {INDEX_FILE} cannot be read: it names no files of its own directory")
    lost = [name for name in names if not (index.parent / name).is_file()]
    if lost:
        raise UserError(f"checkpoint {source}: {INDEX_FILE} names weights in {some(lost)}, which is not there")
    return [index.parent / name for name in names]


def _weight_map(source: str, index: Path) -> dict[str, str]:
    try:
        content = json.loads(index.read_text(encoding="utf-8"), object_pairs_hook=object_of_pairs)
        weight_map = content["weight_map"]
        return {str(name): str(file) for name, file in weight_map.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"checkpoint {source}: {INDEX_FILE} cannot be read: {error!r}") from error


def _check_index(source: str, index: Path, headers: Mapping[str, Header]) -> None:
    said = _weight_map(source, index)
    found = {name: header.file.name for name, header in headers.items()}
    differ = [name for name in {*said, *found} if said.get(name) != found.get(name)]
    if differ:
        raise UserError(
            f"checkpoint {source}: {INDEX_FILE} and its shards contradict each other about the weights {some(differ)}; "
            "the files are of different models, or not all are there"
        )


def other_files(directory: Path, read: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of files of a directory that could hold weights, apart from those that are read."""
    patterns = (_SAFETENSORS, *PICKLE_PATTERNS, *(f"*{suffix}" for suffix in _OTHER_FORMATS))
    found = {path.name for pattern in patterns for path in directory.glob(pattern)}
    return tuple(sorted(found - {path.name for path in read} - TRAINER_FILES))


def _nothing_to_read(source: str, directory: Path) -> str:
    """Return why a directory without weights to read is refused."""
    others = sorted(path for path in directory.glob(_SAFETENSORS))
    if others:
        return (
            f"its weights have to be in {SINGLE_FILE}, or in shards that {INDEX_FILE} names, but it has only "
            f"{some(path.name for path in others)}; rename or convert the file that holds them"
        )
    foreign = (foreign_format(path) for path in sorted(directory.iterdir()) if path.suffix in _OTHER_FORMATS)
    if (reason := next((reason for reason in foreign if reason), None)) is not None:
        return f"no {_SAFETENSORS[1:]} weights in {directory}: {reason}"
    pickled = sorted({path.name for pattern in PICKLE_PATTERNS for path in directory.glob(pattern)} - TRAINER_FILES)
    if pickled:
        return (
            f"its weights are pickled ({pickled[0]}), and reading a pickle can run code; if you trust its author, "
            f"`latentswarm convert {shlex.quote(source)} --allow-pickle --out DIRECTORY` makes a safe copy"
        )
    return f"no {_SAFETENSORS[1:]} weights in {directory}"


def stored_types(headers: Mapping[str, Header]) -> list[str]:
    """Return the types of stored tensors as safetensors spells them, the most frequent first."""
    return [dtype for dtype, _ in Counter(header.dtype for header in headers.values()).most_common()]
