"""Classes of vLLM that keep the embedding, and the head, on every stage of a pipeline.

Most make them where they are used; the others on each rank, read or not. Qwen3-30B at TP 4 and PP 2
so takes 7.3272 GiB on either stage, an embedding's 0.145 more than the half that a stage needs
(0.10.1). Source: model_executor/models and its registry of vLLM 0.8.5 to 0.33.0, between which some
model types got another class.
"""

from planner.engines.vllm.versions import Rules
from planner.model import Model

BOTH = frozenset({
    "baichuan", "bamba", "bloom", "chameleon", "dbrx", "deepseek", "falcon", "gemma4_text", "gpt2",
    "gpt_bigcode", "gpt_neox", "gpt_oss", "granitemoe", "granitemoehybrid", "granitemoeshared",
    "hy_v3", "internlm2", "jamba", "mamba", "mamba2", "minicpm", "mixtral", "muse_glimmer_text",
    "nemotron_h", "olmo",
    "olmo2", "olmo3", "olmo_hybrid", "olmoe", "opt", "orion", "persimmon", "phi", "phimoe",
    "plamo3", "qwen", "qwen2_moe", "qwen3_moe", "qwen3_next", "qwen3_vl_moe_text", "stablelm",
    "starcoder2", "zamba2",
})  # fmt: skip
EMBEDDING_ALONE = frozenset({
    "chatglm", "cohere", "cohere2", "cohere2_moe", "cohere_compass_text", "gemma", "gemma2",
    "gemma3_text",
    "gemma3n_text", "lfm2", "lfm2_moe", "mpt", "qwen3_5_text", "qwen3_5_moe_text",
})  # fmt: skip


LEFT_SINCE = {
    "deepseek": 13, "gpt_bigcode": 25, "starcoder2": 25, "olmo": 26, "olmo2": 26, "olmo3": 29,
    "gpt_neox": 32, "phi": 32,
}  # fmt: skip
"""model_type -> the minor version whose registry gives it a class that does not: DeepSeek-V2's, or
that for any model of Transformers."""


def ends_of(model: Model, stage: int, stages: int, rules: Rules) -> tuple[bool, bool]:
    """Whether a rank of that pipeline stage holds the embedding, and the head."""
    left = rules.since(LEFT_SINCE.get(model.model_type, 99))
    both = model.model_type in BOTH and not left
    embeds = both or model.model_type in EMBEDDING_ALONE
    return stage == 0 or embeds, stage == stages - 1 or both
