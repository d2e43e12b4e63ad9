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

PORTS = {"vllm": 8000, "sglang": 30000, "tensorrt-llm": 8000, "llama.cpp": 8080}
CONFIG_PATH = f"/config/{CONFIG_NAME}"
MODELS = "/models"
"""Folder in the container of models that are named by a path from here, and of llama.cpp's GGUF
files: ./models, or the claim 'models'."""
FROM_HERE = re.compile(r"^(?:~?/|\.{1,2}/)+")
"""What leads from here to a path."""
SECRET, SECRET_KEY = "hf-token", "token"
"""Name and key of the Kubernetes secret with the Hub's token."""


@dataclass(frozen=True, slots=True)
class Service:
    """One engine as a container. args: its command line, ready to listen on `port`.

    gpus, of the kind `gpu`, are those of one node; nodes above 1 need a cluster. weights_bytes: of
    the whole model. config: text of a file that args name by CONFIG_PATH. version: the engine's.
    folders: whole paths of models, to be mounted where args have them. files: models in MODELS, by
    their paths there.
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
    files: tuple[str, ...] = ()

    @property
    def downloads(self) -> bool:
        """Whether the model comes from the Hub."""
        return self.engine != "llama.cpp" and not _is_path(self.model)

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
    gpus_per_node: int | None = None,
    replicas: int = 1,
) -> Service:
    """The service of a planned engine. gpus_per_node: else as many as a machine has of `gpu`.

    Raises PlanRefused for libraries that serve nothing, for plans that the engine would refuse,
    for cards of which no image is known, and for GPUs that fill no whole node.
    """
    if figures.name not in PORTS:
        raise PlanRefused(f"{figures.name} is a library and no server: choose another engine")
    if figures.refused is not None:
        raise PlanRefused(f"{figures.name} would not start: {figures.refused}")
    gpus_per_node = gpus_per_node or gpu.gpus_of_machine
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
        words = ["/app/llama-server", "-m", f"./{words[2].rpartition('/')[2]}", *words[3:]]
    words, folders, found = _in_container(words)
    args = (*words, "--host", "0.0.0.0", "--port", str(port))
    return Service(
        dns_name(model), model, figures.name, cards.image(figures, gpu), args, port,
        deployment.gpus // nodes, nodes, gpu, weights_bytes, replicas, figures.config_file,
        figures.version, folders, found,
    )  # fmt: skip


def _in_container(words: list[str]) -> tuple[list[str], tuple[str, ...], tuple[str, ...]]:
    """The command with the paths that its models have in the container; whole paths among them,
    and those in MODELS.

    A path from here means nothing there.
    """
    folders: dict[str, None] = {}
    files: dict[str, None] = {}

    def there(path: str) -> str:
        if path.startswith("/"):
            folders[path] = None
            return target(path)
        name = FROM_HERE.sub("", path)
        files[name] = None
        return f"{MODELS}/{name}"

    moved = [words[0]]
    for word in words[1:]:
        if word.startswith("{"):
            found = json.loads(word)
            if isinstance(found.get("model"), str) and _is_path(found["model"]):
                word = json.dumps({**found, "model": there(found["model"])})
        elif word != CONFIG_PATH and _is_path(word):
            word = there(word)
        moved.append(word)
    return moved, tuple(folders), tuple(files)


def target(folder: str) -> str:
    """Where a whole path is mounted: the same, but for ':', which Kubernetes refuses."""
    return folder.replace(":", "-")


def _is_path(word: str) -> bool:
    """A file or folder, and no repository of the Hub: those have one slash and no dot before it."""
    if word.startswith(("-", "<")) or "://" in word:
        return False
    return (
        word.startswith(("/", "./", "../", "~/")) or word.endswith(".gguf") or word.count("/") > 1
    )


def dns_name(model: str) -> str:
    """A name that Kubernetes takes: lower case, digits and dashes, at most 63."""
    name = re.sub(r"[^a-z0-9]+", "-", model.rsplit("/", 1)[-1].lower()).strip("-")
    name = name[:63].rstrip("-") or "model"
    return name if name[0].isalpha() else f"m-{name}"[:63]
