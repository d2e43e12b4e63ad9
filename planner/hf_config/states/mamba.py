"""State-space decoders: Mamba, Falcon-Mamba and Mamba-2.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.reader import Fields
from planner.kinds.recurrent import Mamba1, Mamba2
from planner.model import Mixer, Model
from planner.tensors import norm
from planner.units import ceil_div

HARMLESS = (
    "time_step_min", "time_step_max", "time_step_limit", "time_step_floor", "time_step_scale",
    "time_step_init_scheme", "rescale_prenorm_residual", "residual_in_fp32", "use_mambapy",
    "use_associative_scan", "use_mamba_kernels", "chunk_size", "mixer_rms_eps", "ssm_cfg",
    "fused_add_norm", "pad_vocab_size_multiple",
)  # fmt: skip


@family("mamba", "falcon_mamba", "mamba2")
def mamba(fields: Fields) -> Model:
    """A decoder of state-space layers and nothing else."""
    model_type = fields.text("model_type")
    hidden_size = fields.integer("hidden_size", "d_model")
    count = fields.integer("num_hidden_layers", "n_layer")
    fields.ignore(*HARMLESS)
    mixer: Mixer
    if model_type == "mamba2":
        mixer = mamba2(fields, hidden_size)
        tied = False
    else:
        mixer = mamba1(fields, hidden_size)
        tied = True
    one = norm("norm", hidden_size)

    def layer(index: int) -> Layer:
        return (mixer,), None, one

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=tied)


def mamba1(fields: Fields, hidden_size: int) -> Mamba1:
    """A Mamba layer under the names of the Mamba configuration."""
    fields.expect("rms_norm", True)
    own = fields.optional("intermediate_size", "d_inner")
    inner = inner_size(fields, hidden_size)
    return Mamba1(
        intermediate_size=inner if own is None else own,
        state_size=fields.integer("state_size", default=16),
        conv_kernel=fields.integer("conv_kernel", default=4),
        time_step_rank=rank(fields, "time_step_rank", hidden_size),
        conv_bias=fields.flag("use_conv_bias", default=True),
        proj_bias=fields.flag("use_bias", default=False),
    )


def mamba2(fields: Fields, hidden_size: int) -> Mamba2:
    """A Mamba-2 layer under the names of the Mamba-2 configuration."""
    heads = fields.integer("num_heads", default=128)
    head_dim = fields.integer("head_dim", default=64)
    inner = inner_size(fields, hidden_size)
    fields.expect("intermediate_size", inner)
    if heads * head_dim != inner:
        product = f"{heads} x {head_dim} (head_dim)"
        raise fields.refuse("num_heads", f"{product} is not the inner size {inner}")
    fields.expect("norm_before_gate", True, False)
    fields.ignore("time_step_rank")
    fields.expect("rms_norm", True)
    return Mamba2(
        num_heads=heads,
        head_dim=head_dim,
        state_size=fields.integer("state_size", default=128),
        n_groups=fields.integer("n_groups", default=8),
        conv_kernel=fields.integer("conv_kernel", default=4),
        conv_bias=fields.flag("use_conv_bias", default=True),
        proj_bias=fields.flag("use_bias", default=False),
    )


def inner_size(fields: Fields, hidden_size: int) -> int:
    """expand x hidden_size."""
    expand = fields.raw("expand")
    if expand is None:
        expand = 2
    if isinstance(expand, bool) or not isinstance(expand, (int, float)) or not 0 < expand < 1024:
        raise fields.refuse("expand", "is not a positive number")
    return int(expand * hidden_size)


def rank(fields: Fields, name: str, hidden_size: int) -> int:
    """The rank of the time-step projection; "auto" is hidden_size / 16."""
    if fields.raw(name) in (None, "auto"):
        return ceil_div(hidden_size, 16)
    return fields.integer(name)
