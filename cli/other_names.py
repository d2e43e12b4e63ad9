"""What other programs call our flags and engines: named in a complaint, never guessed."""

from argparse import ArgumentTypeError
from collections.abc import Container

FLAGS: dict[str, tuple[str, ...]] = {
    "--quantization": ("--weights-dtype",),
    "-q": ("--weights-dtype",),
    "--dtype": ("--weights-dtype",),
    "--precision": ("--weights-dtype",),
    "--kv-dtype": ("--kv-cache-dtype",),
    "--users": ("--concurrency",),
    "--batch": ("--concurrency",),
    "--num-users": ("--concurrency",),
    "--num-gpus": ("--gpus",),
    "--tp": ("--tensor-parallel-size",),
    "--tp-size": ("--tensor-parallel-size",),
    "--pp": ("--pipeline-parallel-size",),
    "--pp-size": ("--pipeline-parallel-size",),
    "--dp": ("--data-parallel-size",),
    "--dp-size": ("--data-parallel-size",),
    "--ep": ("--enable-expert-parallel",),
    "--ep-size": ("--enable-expert-parallel",),
    "--seq-len": ("--context", "--prompt-tokens", "--sequence-length"),
    "--context": ("--prompt-tokens", "--output-tokens"),
    "--max-model-len": ("--prompt-tokens", "--output-tokens"),
    "--input-len": ("--prompt-tokens", "--context"),
    "--isl": ("--prompt-tokens", "--context"),
    "--output-len": ("--output-tokens",),
    "--osl": ("--output-tokens",),
    "--gpus": ("--data-parallel-size", "--tensor-parallel-size"),
    "--max-seq-length": ("--sequence-length",),
    "--batch-size": ("--micro-batch-size",),
    "--per-device-train-batch-size": ("--micro-batch-size",),
    "--per_device_train_batch_size": ("--micro-batch-size",),
    "--zero": ("--sharding",),
    "--zero-stage": ("--sharding",),
    "--fsdp": ("--sharding",),
    "--deepspeed": ("--sharding",),
    "--gradient-checkpointing": ("--recomputation",),
    "--gradient_checkpointing": ("--recomputation",),
    "--optim": ("--optimizer",),
    "--lora-r": ("--lora-rank",),
    "--load-in-4bit": ("--lora-base",),
    "--load_in_4bit": ("--lora-base",),
}
"""A flag of an engine or of another planner -> ours, of which a command may lack some."""
RUNS_LLAMA_CPP = ("ollama", "lm-studio", "lmstudio", "llamafile", "koboldcpp", "jan")


def ours(flag: str, known: Container[str]) -> tuple[str, ...]:
    """The flags of this command that mean what `flag` means elsewhere."""
    return tuple(name for name in FLAGS.get(flag, ()) if name in known)


def engine(name: str) -> str:
    """An engine's name as it was given; those that run llama.cpp are told apart from it."""
    if name.lower() in RUNS_LLAMA_CPP:
        raise ArgumentTypeError(
            f"{name} runs llama.cpp, with defaults of its own: give llama.cpp with its flags"
        )
    return name
