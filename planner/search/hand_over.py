"""Between which layouts an engine hands a prompt's cache over.

vLLM's NixlConnector knows replicas of one stage only (vllm-project/vllm issues 40674 and 52913,
both open in August 2026), and sends recurrent states to as many ranks as computed them
(docs/features/nixl_connector_compatibility.md there). In SGLang answers have one stage, or as many
as prompts (sglang/srt/disaggregation/common/conn.py, _resolve_rank_mapping), and what is kept for
windows of plain attention goes to as many ranks as computed it (llm-d/llm-d PR 2442).
"""

from planner.deployment import Deployment
from planner.kinds.attention import LatentAttention
from planner.model import Model


def hands_over(engine: str, model: Model, prompts: Deployment, answers: Deployment) -> bool:
    """Whether replicas of `engine` for prompts can feed those for answers."""
    ranks = (prompts.tensor_parallel_size, answers.tensor_parallel_size)
    stages = (prompts.pipeline_parallel_size, answers.pipeline_parallel_size)
    if engine == "vllm":
        return stages == (1, 1) and (not _states(model) or ranks[0] == ranks[1])
    if engine == "sglang":
        return stages[1] in (1, stages[0]) and (not _windows(model) or ranks[0] == ranks[1])
    return True


def _states(model: Model) -> bool:
    return any(group.state() for group in model.groups)


def _windows(model: Model) -> bool:
    mixers = [mixer for group in model.groups for mixer in group.mixers]
    if any(isinstance(mixer, LatentAttention) for mixer in mixers):
        return False
    return any(tensor.window is not None for mixer in mixers for tensor in mixer.cache())
