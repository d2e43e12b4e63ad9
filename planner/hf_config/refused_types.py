"""Model types that Sizewell knows and does not size, each with the reason."""

from planner.errors import ConfigRefused

ENCODER_DECODER = (
    "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "encoder-decoder",
    "florence2", "fsmt", "gptsan-japanese", "led", "longt5", "m2m_100", "marian", "mbart",
    "mt5", "musicgen", "musicgen_melody", "mvp", "nllb-moe", "pegasus", "pegasus_x", "plbart",
    "pix2struct", "pop2piano", "pp_formulanet", "prophetnet", "seamless_m4t",
    "seamless_m4t_v2", "speech-encoder-decoder",
    "speech_to_text", "switch_transformers", "t5", "t5gemma", "t5gemma2", "trocr", "udop",
    "umt5", "vision-encoder-decoder", "whisper", "xlm-prophetnet",
)  # fmt: skip
ENCODER = (
    "albert", "bert", "bert-generation", "big_bird", "camembert", "canine", "clip",
    "convbert", "data2vec-text", "deberta", "deberta-v2", "distilbert", "electra", "ernie",
    "ernie_m", "esm", "flaubert", "fnet", "funnel", "ibert", "layoutlm", "layoutlmv2",
    "layoutlmv3", "longformer", "luke", "megatron-bert", "mobilebert", "modernbert", "mpnet",
    "mra", "nezha", "nomic_bert", "nystromformer", "qdqbert", "rembert", "roberta",
    "roberta-prelayernorm", "roc_bert", "roformer", "siglip", "splinter", "squeezebert",
    "vit", "xlm-roberta", "xlm-roberta-xl", "xmod", "yoso",
)  # fmt: skip
HEADS = (
    "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice",
    "MaskedLM", "Reward",
)  # fmt: skip
WITH_A_HEAD = ("chatglm", "h2ovl_chat", "internvl_chat", "NVLM_D", "skywork_chat", "ultravox")
"""Families whose class with a language-model head is called just Model."""
CROSS = ("mllama", "mllama_text_model", "mllama_text", "idefics", "evolla")
MASKED = "fills masked tokens in many steps, and does not write one at a time"
V41 = (
    "looks n-grams up in tables (engram_layer_ids) and keeps compressed entries in some layers for "
    "all (kv_source_layer_ids), which Sizewell does not count yet"
)
OTHERS = {
    "blt": "decodes patches of bytes, and the text decides how many bytes are in each",
    "deepseek_v41": V41,
    "deepseek_v41_text": V41,
    "diffusion_gemma": "fills a canvas of tokens in many steps, and does not write one at a time",
    "Dream": MASKED,
    "dory": "runs n_recurrent_layers of its layers n_recurrent_loops times, with a cache for each",
    "hrm_text": "runs its layers H_cycles times L_cycles, with a cache for each",
    "inkling2_text": (
        "mixes the residuals of earlier blocks (n_layers_per_attn_res_block) with convolutions "
        "that every token makes for itself, which Sizewell does not count yet"
    ),
    "inkling2_loop_text": "runs some of its layers loop_num_passes times a token",
    "llada": MASKED,
    "llada2_moe": MASKED,
    "moshi": "has a second decoder for the sound of each step, which no plan runs",
    "openai-gpt": "keeps no cache: its class reads all tokens again for each new one",
    "ouro": "runs its layers total_ut_steps times a token, with a cache for each",
    "pi0": "answers with actions, and not with text",
    "reformer": "keeps hashed buckets of hidden states, and no keys and values",
    "unlimited_ocr_text": (
        "keeps the whole prompt beside its window (reference_sliding_attention), so what it keeps "
        "depends on the prompt's length"
    ),
    "xlm": "keeps no cache: its class reads all tokens again for each new one",
    "xlnet": "keeps hidden states of earlier segments (mem_len), and no keys and values",
}
"""Model types that stand alone in how they work."""
ASSISTANT = ("gemma4_assistant", "gemma4_unified_assistant")


def refuse_other_heads(architectures: object) -> None:
    """Refuse a decoder whose language-model head was exchanged for one of another size."""
    for name in architectures if isinstance(architectures, list) else ():
        if isinstance(name, str) and any(head in name for head in HEADS):
            raise ConfigRefused(
                f"architectures: {name[:60]} has another head in place of the language model's, "
                "which no field sizes",
                field="architectures",
            )


def headless(architectures: object, *model_types: str) -> str | None:
    """The class that a checkpoint was saved from, if it is a decoder without a head.

    model_types: of the text decoder and of the whole file.
    """
    if not (isinstance(architectures, list) and len(architectures) == 1):
        return None
    name = architectures[0]
    bare = isinstance(name, str) and name.endswith("Model") and not name.endswith("LMHeadModel")
    return name if bare and not set(model_types) & set(WITH_A_HEAD) else None


def refusal(model_type: str) -> ConfigRefused | None:
    """The refusal that says why this model type is not sized, if it is a known one."""
    reason = OTHERS.get(model_type)
    if model_type in ENCODER_DECODER:
        reason = "is an encoder-decoder, which caches two sequences; only decoders are sized"
    elif model_type in ENCODER:
        reason = (
            "is an encoder, which generates no text and keeps no cache; only decoders are sized"
        )
    elif model_type in CROSS:
        reason = "has layers that cache the image, whose length no field of the text model states"
    elif model_type in ASSISTANT:
        reason = (
            "drafts for another model, whose hidden states and caches it reads; only models that "
            "generate alone are sized"
        )
    if reason is None:
        return None
    return ConfigRefused(f"model_type: {model_type} {reason}", field="model_type")
