"""What people load models and datasets with, in a program that knows nothing of llmpt: one name per library.

Run by the Python of an environment that has them: `libraries.py transformers datasets` prints a JSON object, name → what was
loaded. `libraries.py table FILE` writes the table that the dataset consists of. LLMPT_TEST_WAY takes the way to the Hub away, as
tests/support/questions.py has it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
DATASET = "org/table"
ROWS = 200_000


def transformers() -> dict[str, Any]:
    from transformers import AutoConfig, AutoTokenizer  # type: ignore[import-not-found,unused-ignore]

    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    return {"model_type": AutoConfig.from_pretrained(MODEL).model_type, "tokens": tokenizer("A quick fox")["input_ids"]}


def auto_model() -> dict[str, Any]:
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(MODEL), AutoModel.from_pretrained(MODEL)
    shown = model(**tokenizer("A quick fox", return_tensors="pt")).last_hidden_state
    return {"model_type": model.config.model_type, "shape": list(shown.shape)}


def safetensors() -> dict[str, Any]:
    from huggingface_hub import hf_hub_download
    from safetensors import safe_open  # type: ignore[import-not-found,unused-ignore]

    with safe_open(hf_hub_download(MODEL, "model.safetensors"), framework="np") as weights:
        found = {name: weights.get_tensor(name) for name in weights.keys()}  # noqa: SIM118 (it is no dict)
    return {"tensors": len(found), "parameters": sum(one.size for one in found.values())}


def datasets() -> dict[str, Any]:
    from datasets import load_dataset  # type: ignore[import-not-found,unused-ignore]

    loaded = load_dataset(DATASET, split="train")
    return {"rows": loaded.num_rows, "sum": sum(loaded["number"])}


def streaming() -> dict[str, Any]:
    from datasets import load_dataset

    loaded = load_dataset(DATASET, split="train", streaming=True)
    numbers = [row["number"] for row in loaded]
    return {"rows": len(numbers), "sum": sum(numbers)}


def sentence_transformers() -> dict[str, Any]:
    from sentence_transformers import SentenceTransformer  # type: ignore[import-not-found,unused-ignore]

    model = SentenceTransformer(MODEL, device="cpu")
    near, far = model.similarity(model.encode(["a dog"]), model.encode(["a puppy", "an invoice"]))[0].tolist()
    return {"dimensions": model.get_sentence_embedding_dimension(), "near": near, "far": far}


def diffusers() -> dict[str, Any]:
    from diffusers import UNet2DModel  # type: ignore[import-not-found,unused-ignore]

    model = UNet2DModel.from_pretrained("org/unet")
    return {"parameters": sum(parameter.numel() for parameter in model.parameters())}


LIBRARIES: dict[str, Callable[[], dict[str, Any]]] = {
    "transformers": transformers,
    "auto_model": auto_model,
    "safetensors": safetensors,
    "datasets": datasets,
    "streaming": streaming,
    "sentence_transformers": sentence_transformers,
    "diffusers": diffusers,
}


def table(target: str) -> None:
    """Write numbers that do not compress to less than a blob that has a swarm by default."""
    import random

    import pyarrow  # type: ignore[import-not-found,unused-ignore]
    import pyarrow.parquet  # type: ignore[import-not-found,unused-ignore]

    numbers = random.Random(1)
    column = pyarrow.array([numbers.getrandbits(62) for _ in range(ROWS)])
    pyarrow.parquet.write_table(pyarrow.table({"number": column}), target)
    print(json.dumps({"rows": ROWS, "sum": sum(column.to_pylist())}))


def unet(target: str) -> None:
    """Write a small model as its library saves it."""
    from diffusers import UNet2DModel

    channels = (32, 64)
    model = UNet2DModel(
        sample_size=8, block_out_channels=channels, down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2
    )
    model.save_pretrained(target)
    print(json.dumps({"parameters": sum(parameter.numel() for parameter in model.parameters())}))


def main(arguments: list[str]) -> None:
    if way := os.environ.get("LLMPT_TEST_WAY"):
        from questions import cut_off  # type: ignore[import-not-found,unused-ignore]

        cut_off(os.environ["HF_ENDPOINT"], way)
    makers: dict[str, Callable[[str], None]] = {"table": table, "unet": unet}
    if arguments[0] in makers:
        return makers[arguments[0]](arguments[1])
    return print(json.dumps({name: LIBRARIES[name]() for name in arguments}))


if __name__ == "__main__":
    main(sys.argv[1:])
