"""The end of the forward pass: logits over the vocabulary, cross-entropy and their gradients.

eager: PyTorch's cross_entropy on logits in fp32. At its backward three fp32 tensors are alive (log
probabilities, their gradient, the logits' gradient): 12 B per logit; 10 in the forward pass, 18
where the caller keeps logits in both formats. in_place: Megatron-LM's vocabulary-parallel loss,
which its report counts with 4 B. chunked: fused head and loss over chunks of tokens (Liger).
"""

from planner.estimate import Estimate
from planner.model import Model
from planner.training.recipe import Recipe
from planner.units import ceil_div

EAGER = (10, 12, 18)
IN_PLACE = (4, 4, 8)
SOURCES = {
    "eager": "10 to 18 B per logit: log-probabilities and gradients of PyTorch's cross_entropy",
    "in_place": "4 B per logit as Megatron-LM reports; 8 where bf16 logits and gradient overlap",
    "chunked": "a chunk of logits, the hidden states' and the head's gradient (Liger Kernel)",
}


def loss_bytes(model: Model, recipe: Recipe) -> Estimate:
    """What is alive besides the layers' activations while the loss is differentiated."""
    tokens, tp = recipe.micro_batch_tokens, recipe.tensor_parallel_size
    logits = tokens * ceil_div(model.vocab_size, tp)
    source = SOURCES[recipe.loss]
    if recipe.loss != "chunked":
        low, central, high = EAGER if recipe.loss == "eager" else IN_PLACE
        return Estimate(logits * central, logits * low, logits * high, source)
    hidden, e = model.hidden_size, recipe.element_bytes
    rows = ceil_div(tokens, ceil_div(model.vocab_size, hidden))
    chunk = rows * ceil_div(model.vocab_size, tp)
    kept = tokens * hidden * e
    kept += 0 if recipe.lora else ceil_div(model.vocab_size, tp) * hidden * e
    return Estimate(kept + chunk * 6, kept + chunk * 4, kept + chunk * 12, source)


def outside_bytes(model: Model, recipe: Recipe, *, first: bool, last: bool) -> int:
    """Kept per micro-batch outside the layers: token ids, and the inputs of final norm and head."""
    tokens, width = recipe.micro_batch_tokens, model.hidden_size
    cut = recipe.tensor_parallel_size if recipe.sequence_parallel else 1
    size = 0
    if first:
        size += 8 * tokens + (tokens * width // cut if recipe.dropout else 0)
    if last:
        size += 2 * tokens * width * recipe.element_bytes // cut
    return size
