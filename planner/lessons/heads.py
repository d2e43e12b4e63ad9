"""One model with every form of attention: bytes a token leaves behind, FLOPs of reading them.

for form in forms(model, deployment, tokens=32768):
    print(form.name, form.cache_bytes, form.flops)
"""

from dataclasses import dataclass, replace

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.formats.gguf_tensors import reshaped
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.linear_attention import LightningAttention
from planner.kv_cache import cache_terms, state_bytes, whole
from planner.model import Mixer, Model
from planner.parameters import count
from planner.timing.passes import decode_pass
from planner.variants import WINDOW, Variant, at_parameters, attention_variants

LINEAR = "Linear"


@dataclass(frozen=True, slots=True)
class Form:
    """One form, for one sequence of `tokens`.

    parameters: of the whole model. bytes_per_token: what one more token adds while windows have
    room. cache_bytes: cache and state. flops: attention of one decode step over the whole model.
    """

    name: str
    description: str
    parameters: int
    bytes_per_token: int
    cache_bytes: int
    flops: int


def forms(
    model: Model,
    deployment: Deployment,
    tokens: int,
    window: int = WINDOW,
    *,
    same_parameters: bool = False,
) -> tuple[Form, ...]:
    """As published, MHA, GQA, MQA, MLA, a window and linear attention, as far as they apply.

    Raises PlanRefused for a model without softmax attention that could be exchanged. A form that
    the cache format has no layout for is left out; so is one, with same_parameters, that the
    feed-forward layers cannot bring to the published number.
    """
    found = []
    variants = attention_variants(model, window)
    if len(variants) == 1:
        raise PlanRefused("this model has no softmax attention that another form could replace")
    linear, own = _linear(model)
    changed = [
        *variants,
        Variant(LINEAR, "a matrix of d × d per head instead of a cache, updated by every token",
                linear),
    ]  # fmt: skip
    if same_parameters:
        total = count(model).total
        changed = [same for v in changed if (same := at_parameters(v, total)) is not None]
    for variant in changed:
        try:
            form = _form(variant.name, variant.description, variant.model, deployment, tokens)
        except PlanRefused:
            continue
        found.append(form)
    return tuple(replace(f, flops=own) if f.name == LINEAR else f for f in found)


def _form(name: str, text: str, model: Model, deployment: Deployment, tokens: int) -> Form:
    terms = cache_terms(whole(model), kv_format(deployment.kv_cache_dtype, model.dtype))
    alone = Deployment(
        weights_dtype=deployment.weights_dtype, kv_cache_dtype=deployment.kv_cache_dtype
    )
    step = decode_pass(model, alone, 1, tokens)
    return Form(
        name=name,
        description=text,
        parameters=count(model).total,
        bytes_per_token=sum(term.bytes_per_entry // term.stride for term in terms),
        cache_bytes=sum(term.bytes(tokens) for term in terms)
        + state_bytes(whole(model), model.dtype),
        flops=sum(int(stage.attention.flops) for stage in step.stages),
    )


def _linear(model: Model) -> tuple[Model, int]:
    """Every softmax layer with a state instead, and the FLOPs of one step of all of them.

    A head adds the product of key and value to its d x d state and multiplies it by the query:
    2 d^2 FLOPs each.
    """
    step = 0

    def changed(mixer: Mixer) -> Mixer:
        if not isinstance(mixer, (Attention, LatentAttention)):
            return mixer
        return LightningAttention(num_heads=mixer.num_attention_heads, head_dim=mixer.value_dim)

    groups = []
    for group in model.groups:
        mixers = tuple(changed(mixer) for mixer in group.mixers)
        for before, after in zip(group.mixers, mixers, strict=True):
            if before is not after and isinstance(after, LightningAttention):
                step += group.count * 4 * after.num_heads * after.head_dim**2
        groups.append(group.model_copy(update={"mixers": mixers}))
    fields = {field: getattr(model, field) for field in Model.model_fields}
    return Model(**{**fields, "groups": tuple(groups), **reshaped(model)}), step
