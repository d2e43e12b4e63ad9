"""More than one node: a LeaderWorkerSet on Kubernetes, a Ray cluster by hand, or a Slurm job.

vLLM from 0.15 and SGLang join nodes themselves (--nnodes, --node-rank); older vLLM through Ray.
TensorRT-LLM wants one MPI world over all GPUs (trtllm-llmapi-launch under srun, its documentation
of trtllm-serve).
LeaderWorkerSet gives every pod its group's size, its own index and the leader's address.
"""

from typing import Any

from planner.engines.deploy.kubernetes import front, pod
from planner.engines.deploy.service import MODELS, Service, target
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused

RAY_PORT, RENDEZVOUS_PORT = 6379, 20000
SIZE, INDEX, LEADER = "$(LWS_GROUP_SIZE)", "$(LWS_WORKER_INDEX)", "$(LWS_LEADER_ADDRESS)"


def leader_worker_set(service: Service, *, ray: bool = False) -> str:
    """leaderworkerset.x-k8s.io/v1 and the Service of its leaders."""
    return yaml_text(*leader_worker_set_data(service, ray=ray))


def leader_worker_set_data(
    service: Service, *, ray: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two documents as data. Raises PlanRefused for one node."""
    if service.nodes < 2:
        raise PlanRefused("One node needs no LeaderWorkerSet: use a Deployment")
    if service.engine == "tensorrt-llm":
        raise PlanRefused("TensorRT-LLM needs MPI over all nodes: use Slurm")
    leader, worker = _commands(service, ray=ray)
    labels = {"app.kubernetes.io/name": service.name, "role": "leader"}
    document = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": service.name},
        "spec": {
            "replicas": service.replicas,
            "leaderWorkerTemplate": {
                "size": service.nodes,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"metadata": {"labels": labels}, "spec": pod(service, leader)},
                "workerTemplate": {"spec": pod(service, worker, serves=False)},
            },
        },
    }
    return document, front(service, labels)


def _commands(service: Service, *, ray: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the leader runs, and what a worker runs."""
    if service.engine == "sglang":
        joined = (
            *service.args, "--dist-init-addr", f"{LEADER}:{RENDEZVOUS_PORT}", "--nnodes", SIZE,
            "--node-rank", INDEX,
        )  # fmt: skip
        return joined, joined
    if ray:
        serve = f"{service.shell} --distributed-executor-backend ray"
        head = f"ray start --head --port={RAY_PORT}"
        join = f"ray start --address={LEADER}:{RAY_PORT} --block"
        wait = f"until {join}; do sleep 5; done"
        return ("sh", "-c", f"{head} && {serve}"), ("sh", "-c", wait)
    joined = (
        *service.args, "--nnodes", SIZE, "--node-rank", INDEX, "--master-addr", LEADER,
    )  # fmt: skip
    return joined, (*joined, "--headless")


def slurm(service: Service) -> str:
    """A Slurm job of TensorRT-LLM over several nodes, for a cluster with the Pyxis plugin."""
    if service.engine != "tensorrt-llm" or service.nodes < 2:
        raise PlanRefused("A Slurm job is for TensorRT-LLM on several nodes")
    mounts = ["$PWD:/config"] if service.config else []
    mounts += [f"$PWD{MODELS}:{MODELS}"] if service.files else []
    mounts += [f"{folder}:{folder}" for folder in service.folders]
    if any(mark in folder for folder in service.folders for mark in ':,"$`\\'):
        raise PlanRefused("Pyxis has no way to write such a path: rename the folder of the model")
    mounted = f'--container-mounts="{",".join(mounts)}" ' if mounts else ""
    return (
        "#!/bin/sh\n"
        f"#SBATCH --job-name={service.name}\n"
        f"#SBATCH --nodes={service.nodes}\n"
        f"#SBATCH --ntasks-per-node={service.gpus}\n"
        f"#SBATCH --gres=gpu:{service.gpus}\n"
        f"exec srun --mpi=pmix --container-image={service.image.replace('/', '#', 1)} {mounted}"
        f"trtllm-llmapi-launch {service.shell}\n"
    )


def ray_cluster(service: Service) -> str:
    """A shell script that every node runs: with no argument on the head, with its address else."""
    if service.engine != "vllm" or service.nodes < 2:
        raise PlanRefused("A Ray cluster is for vLLM on several nodes")
    if service.files or any(target(folder) != folder for folder in service.folders):
        raise PlanRefused("The script runs in no container: give models by whole paths")
    return (
        "#!/bin/sh\n"
        f"# {service.nodes} nodes of {service.gpus} GPUs. On the first: sh ray-cluster.sh\n"
        "# On every other: sh ray-cluster.sh HEAD_ADDRESS\n"
        "set -e\n"
        'if [ -n "$1" ]; then\n'
        f'  exec ray start --address="$1:{RAY_PORT}" --block\n'
        "fi\n"
        f"ray start --head --port={RAY_PORT}\n"
        f"exec {service.shell} --distributed-executor-backend ray\n"
    )
