"""Files that deploy the chosen engine: shown one at a time, downloaded one at a time."""

import streamlit as st

from planner.engines.deploy import files
from planner.engines.engine import EngineFigures
from planner.errors import SizewellError
from planner.plan import Plan
from ui.inputs import Chosen
from ui.model_source import name_in_command
from ui.sentence import as_sentence
from ui.whole import count

WHAT = {
    "compose.yaml": "Docker Compose",
    "kubernetes.yaml": "Kubernetes Deployment",
    "kserve.yaml": "KServe InferenceService",
    "llm-d.yaml": "KServe LLMInferenceService (llm-d)",
    "ray-serve.yaml": "Ray Serve LLM",
    "leader-worker-set.yaml": "LeaderWorkerSet, several nodes",
    "ray-cluster.sh": "Ray cluster, several nodes",
    "slurm.sh": "Slurm job, several nodes",
    "config.yaml": "TensorRT-LLM's config.yaml",
}


def show(chosen: Chosen, plan: Plan, figures: EngineFigures) -> None:
    """A picker, the file, its download; or why there is none."""
    if figures.refused is not None:
        st.caption("No deployment files: it would not start.")
        return
    name = name_in_command(chosen.model.source)
    left, per_node = st.container(), 1
    if chosen.deployment.gpus > 1:
        left, right = st.columns((3, 1), vertical_alignment="bottom")
        with right:
            own = chosen.gpu.gpus_of_machine
            per_node = count(
                "GPUs of a node", f"gpus_per_node_of_{own}", 1, 72, own, persist_state="session"
            )
    try:
        found = files(
            figures, name, chosen.deployment, chosen.gpu, plan.weights_bytes,
            gpus_per_node=per_node,
        )  # fmt: skip
    except SizewellError as error:
        left.caption(as_sentence(f"No deployment files: {error}"))
        return
    shown = left.selectbox(
        "Deployment file", list(found), format_func=lambda n: f"{WHAT[n]}: {n}", key="deploy_file"
    )
    text = found[shown or next(iter(found))]
    st.download_button(
        f"Download {shown}", text, file_name=shown, mime="text/plain",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip
    with st.expander(f"{shown}", key="open_file"):
        st.code(text, language="yaml" if str(shown).endswith("yaml") else "bash")
