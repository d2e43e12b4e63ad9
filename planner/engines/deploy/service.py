"""What every deployment file says: image, command, port, GPUs and nodes of one engine."""

import json
import re
import shlex
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.engines.deploy import cards
from planner.engines.engine import CONFIG_NAME, EngineFigures
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.units import ceil_div

GPUS_PER_NODE = 8
PORTS = {"vllm": 8000, "sglang": 30000, "tensorrt-llm": 8000, "llama.cpp": 8080}
CONFIG_PATH = f"/config/{CONFIG_NAME}"
MODELS = "/models"
"""Folder of GGUF files in llama.cpp's container: ./models, or the claim 'models'."""
SECRET, SECRET_KEY = "hf-token", "token"
"""Name and key of the Kubernetes secret with the Hub's token."""


@dataclass(frozen=True, slots=True)
class Service:
    """One engine as a container. args: its command line, ready to listen on `port`.

    gpus, of the kind `gpu`, are those of one node; nodes above 1 need a cluster. weights_bytes: of
    the whole model. config: text of a file that args name by CONFIG_PATH. version: the engine's.
    folders: paths of models in args, to be mounted as they are.
    """

    name: str
    model: str
    engine: str
    image: str
    args: tuple[str, ...]
    port: int
    gpus: int
    nodes: int
    gpu: Gpu
    weights_bytes: int
    replicas: int = 1
    config: str = ""
    version: str = ""
    folders: tuple[str, ...] = ()

    @property
    def reads_files(self) -> bool:
        """Whether the model is a file that must be mounted, and no repository."""
        return self.engine == "llama.cpp"

    @property
    def file(self) -> str:
        """The model's own name in MODELS, where it is read from there."""
        return self.args[2].removeprefix(f"{MODELS}/") if self.reads_files else ""

    @property
    def downloads(self) -> bool:
        """Whether the model comes from the Hub."""
        return not self.reads_files and self.model not in self.folders

    @property
    def shell(self) -> str:
        return shlex.join(self.args)


def service_of(
    figures: EngineFigures,
    model: str,
    deployment: Deployment,
    gpu: Gpu,
    weights_bytes: int,
    *,
    gpus_per_node: int = GPUS_PER_NODE,
    replicas: int = 1,
) -> Service:
    """The service of a planned engine.

    Raises PlanRefused for libraries that serve nothing, for plans that the engine would refuse,
    for cards of which no image is known, and for GPUs that fill no whole node.
    """
    if figures.name not in PORTS:
        raise PlanRefused(f"{figures.name} is a library and no server: choose another engine")
    if figures.refused is not None:
        raise PlanRefused(f"{figures.name} would not start: {figures.refused}")
    nodes = ceil_div(deployment.gpus, gpus_per_node)
    if deployment.gpus % nodes:
        raise PlanRefused(
            f"{deployment.gpus} GPUs do not fill {nodes} nodes of {gpus_per_node} evenly"
        )
    if nodes > 1 and figures.name == "llama.cpp":
        raise PlanRefused(
            "llama.cpp joins nodes by its RPC backend, which its authors call a proof of concept, "
            "fragile and insecure: use one node, or another engine"
        )
    port = PORTS[figures.name]
    words = [CONFIG_PATH if word == CONFIG_NAME else word for word in shlex.split(figures.command)]
    if figures.name == "llama.cpp":
        file = words[2].rpartition("/")[2]
        words = ["/app/llama-server", "-m", f"{MODELS}/{file}", *words[3:]]
    args = (*words, "--host", "0.0.0.0", "--port", str(port))
    return Service(
        dns_name(model), model, figures.name, cards.image(figures, gpu), args, port,
        deployment.gpus // nodes, nodes, gpu, weights_bytes, replicas, figures.config_file,
        figures.version, _folders(words),
    )  # fmt: skip


def _folders(words: list[str]) -> tuple[str, ...]:
    """Paths among the words of a command, and in the JSON of one, that are a model's."""
    if words[0].startswith("/"):
        return ()
    found = [word for word in words if word.startswith("/") and word != CONFIG_PATH]
    for word in words:
        if word.startswith("{"):
            model = json.loads(word).get("model")
            found += [model] if isinstance(model, str) and model.startswith("/") else []
    return tuple(dict.fromkeys(found))


def dns_name(model: str) -> str:
    """A name that Kubernetes takes: lower case, digits and dashes, at most 63."""
    name = re.sub(r"[^a-z0-9]+", "-", model.rsplit("/", 1)[-1].lower()).strip("-")
    name = name[:63].rstrip("-") or "model"
    return name if name[0].isalpha() else f"m-{name}"[:63]
