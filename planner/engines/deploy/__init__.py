"""Files that deploy a planned engine: pure text, one builder for each kind.

files(figures, "Qwen/Qwen3-8B", deployment, gpu, plan.weights_bytes)  # {"compose.yaml": ...}
"""

import re
from collections.abc import Callable

from planner.deployment import Deployment
from planner.engines.deploy import startup
from planner.engines.deploy.cards import ORIN_NEEDS, is_orin
from planner.engines.deploy.compose import compose
from planner.engines.deploy.kserve import inference_service, llm_inference_service
from planner.engines.deploy.kubernetes import kubernetes
from planner.engines.deploy.multi_node import leader_worker_set, ray_cluster, slurm
from planner.engines.deploy.ray_serve import ray_serve
from planner.engines.deploy.service import Service, service_of
from planner.engines.engine import CONFIG_NAME, EngineFigures
from planner.engines.platforms import minor
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.units import format_bytes

STAND_IN = re.compile(r"/path/to/(?:model|draft)|<[^<>\n]*: its id here>")
"""What a command has where no name is known: placeholders of paths and of quantised checkpoints."""
NATIVE_NODES = 15
"""vLLM's minor version from which --nnodes joins nodes without Ray."""
PODS = ("kubernetes.yaml", "kserve.yaml", "llm-d.yaml", "leader-worker-set.yaml")
WHERE = {
    "compose.yaml": "./models", "slurm.sh": "./models",
    **dict.fromkeys(PODS, "the claim 'models'"),
}  # fmt: skip
"""Where a file keeps the models that are read and not downloaded."""
COMPUTE_DOMAIN = (
    "NVLink between nodes needs a ComputeDomain of NVIDIA's DRA driver, which the pods then claim."
)
"""docs.nvidia.com/datacenter/cloud-native/gpu-operator/latest/dra-cds.html"""


def files(
    figures: EngineFigures,
    model: str,
    deployment: Deployment,
    gpu: Gpu,
    weights_bytes: int,
    *,
    gpus_per_node: int | None = None,
    replicas: int = 1,
) -> dict[str, str]:
    """Every file that suits the engine and the number of nodes, by its name.

    weights_bytes: of the whole model, which every node reads. gpus_per_node: else as many as a
    machine has of `gpu`. Raises PlanRefused where no file can
    be written at all.
    """
    service = service_of(
        figures, model, deployment, gpu, weights_bytes, gpus_per_node=gpus_per_node,
        replicas=replicas,
    )  # fmt: skip
    ray = figures.name == "vllm" and minor(figures.version) < NATIVE_NODES
    builders: dict[str, Callable[[], str]] = {
        "compose.yaml": lambda: compose(service),
        "kubernetes.yaml": lambda: kubernetes(service),
        "kserve.yaml": lambda: inference_service(service),
        "llm-d.yaml": lambda: llm_inference_service(service, deployment),
        "leader-worker-set.yaml": lambda: leader_worker_set(service, ray=ray),
        "ray-serve.yaml": lambda: ray_serve(service, gpu.id),
        "ray-cluster.sh": lambda: ray_cluster(service),
        "slurm.sh": lambda: slurm(service),
    }
    found = {}
    for name, build in builders.items():
        try:
            found[name] = _with_remarks(build(), service, name)
        except PlanRefused:
            continue
    if service.config:
        found[CONFIG_NAME] = service.config
    return found


def _with_remarks(text: str, service: Service, name: str) -> str:
    """The file with comments on what a person has to replace, to bring or to know, at its head."""
    remarks = []
    if stand_ins := sorted(set(STAND_IN.findall(text))):
        remarks.append(f"# Replace {' and '.join(stand_ins)}: no name was given for it.")
    others = [folder for folder in service.folders if not STAND_IN.fullmatch(folder)]
    if others:
        remarks.append(f"# {' and '.join(others)} must be there on every node.")
    if is_orin(service.gpu):
        remarks.append(f"# {ORIN_NEEDS}")
    if service.files and name in WHERE:
        belong = "belongs" if len(service.files) == 1 else "belong"
        remarks.append(f"# {' and '.join(service.files)} {belong} into {WHERE[name]}.")
    if service.nodes > 1 and service.gpu.link_domain_gpus is not None and name in PODS:
        remarks.append(f"# {COMPUTE_DOMAIN}")
    if name in PODS:
        remarks.append(f"# {startup.remark(service.weights_bytes)}")
        if service.downloads and name != "llm-d.yaml":
            size = format_bytes(service.weights_bytes)
            remarks.append(f"# Every new pod downloads {size} or more: hf-cache is its own.")
    if not remarks:
        return text
    shebang, end, rest = text.partition("\n") if text.startswith("#!") else ("", "", text)
    return shebang + end + "".join(f"{remark}\n" for remark in remarks) + rest
