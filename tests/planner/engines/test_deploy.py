"""Deployment files: valid by their schemas, and the command in them is the engine's."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.deploy import files
from planner.engines.deploy.ray_serve import engine_kwargs
from planner.engines.deploy.service import dns_name, service_of
from planner.engines.llama_cpp.figures import llama_cpp_figures
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.options import SglangOptions
from planner.engines.tensorrt_llm.figures import tensorrt_llm_figures
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.engines.transformers.figures import transformers_figures
from planner.engines.transformers.options import TransformersOptions
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import SpeculativeConfig, VllmOptions
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused
from planner.hardware import custom_gpu, gpu_with_memory
from planner.units import GIB
from presets.gpus import load_gpu
from tests.planner.models import LLAMA_8B, model

yaml = pytest.importorskip("yaml", reason="PyYAML reads the files back")
H100 = load_gpu("h100-sxm5-80gb")
WEIGHTS = 2 * 8_030_261_248
NAME = "meta-llama/Llama-3.1-8B-Instruct"


def written(engine: str, deployment: Deployment, **more: Any) -> dict[str, str]:
    llama = model(LLAMA_8B)
    if engine == "vllm":
        options = VllmOptions(version=more.pop("version", "0.28.0"), max_model_len=32768)
        figures = vllm_figures(llama, H100, deployment, options, name=NAME)
    elif engine == "sglang":
        figures = sglang_figures(llama, H100, deployment, SglangOptions(), name=NAME)
    elif engine == "tensorrt-llm":
        trt = TensorrtLlmOptions(tokens_per_block=64, free_gpu_memory_fraction=0.45)
        figures = tensorrt_llm_figures(llama, H100, deployment, trt, name=NAME)
    else:
        figures = llama_cpp_figures(llama, H100, deployment, LlamaCppOptions(), name="m.gguf")
    return files(figures, NAME, deployment, H100, WEIGHTS, **more)


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def read_by_compose(text: str) -> list[str]:
    """Names of the services, as the Compose specification's own reader finds them."""
    compose_spec = pytest.importorskip("compose_spec", reason="the Compose specification's reader")
    return list(compose_spec.PyCompose.from_yaml(text).service_names())


ENGINES = ("vllm", "sglang", "tensorrt-llm", "llama.cpp")
PORTS = {"vllm": 8000, "sglang": 30000, "tensorrt-llm": 8000, "llama.cpp": 8080}


@pytest.mark.parametrize("engine", ENGINES)
def test_compose_files_follow_the_specification(engine: str) -> None:
    text = written(engine, Deployment(tensor_parallel_size=2))["compose.yaml"]
    assert read_by_compose(text) == ["llama-3-1-8b-instruct"]
    service = documents(text)[0]["services"]["llama-3-1-8b-instruct"]
    reserved = service["deploy"]["resources"]["reservations"]["devices"][0]
    assert reserved == {"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}
    assert service["command"][-4:] == ["--host", "0.0.0.0", "--port", str(PORTS[engine])]
    assert service["ports"] == [f"{PORTS[engine]}:{PORTS[engine]}"]


@pytest.mark.parametrize("engine", ENGINES)
def test_kubernetes_files_follow_its_schemas(engine: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas")
    text = written(engine, Deployment(tensor_parallel_size=2))["kubernetes.yaml"]
    found = documents(text)
    for document in found:
        validator.validate(document, validator.latest_version(), strict=True)
    deployment, service = found[-2:]
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    assert container["ports"][0]["containerPort"] == PORTS[engine]
    named = {volume["name"] for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == named


def test_the_schema_check_can_fail() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas")
    document = documents(written("vllm", Deployment())["kubernetes.yaml"])[0]
    document["spec"]["template"]["spec"]["containers"][0]["imagge"] = "x"
    with pytest.raises(validator.ValidationError):
        validator.validate(document, validator.latest_version(), strict=True)


def test_pods_of_other_kinds_are_pods() -> None:
    """KServe's predictor and LeaderWorkerSet's templates hold a PodSpec, checked as a Pod."""
    validator = pytest.importorskip("kubernetes_validate", reason="Kubernetes' schemas")
    one = written("vllm", Deployment(tensor_parallel_size=2))
    two = written("vllm", Deployment(tensor_parallel_size=8, pipeline_parallel_size=2))
    predictor = documents(one["kserve.yaml"])[0]["spec"]["predictor"]
    pods = [{k: v for k, v in predictor.items() if k in ("containers", "volumes")}]
    pods.append(documents(one["llm-d.yaml"])[0]["spec"]["template"])
    group = documents(two["leader-worker-set.yaml"])[0]["spec"]["leaderWorkerTemplate"]
    pods += [group["leaderTemplate"]["spec"], group["workerTemplate"]["spec"]]
    for spec in pods:
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
        validator.validate(document, validator.latest_version(), strict=True)


def test_a_configuration_file_reaches_the_container() -> None:
    found = written("tensorrt-llm", Deployment())
    assert yaml.safe_load(found["config.yaml"]) == {"kv_cache_config": {"tokens_per_block": 64}}
    mapped = documents(found["kubernetes.yaml"])[0]
    assert mapped["kind"] == "ConfigMap"
    assert mapped["data"]["config.yaml"] == found["config.yaml"]
    compose = documents(found["compose.yaml"])[0]
    service = compose["services"]["llama-3-1-8b-instruct"]
    assert "/config/config.yaml" in service["command"]
    (read,) = service["configs"]
    assert read["target"] == "/config/config.yaml"
    assert compose["configs"][read["source"]] == {"content": found["config.yaml"]}


def test_a_gguf_file_is_mounted() -> None:
    found = written("llama.cpp", Deployment())
    service = documents(found["compose.yaml"])[0]["services"]["llama-3-1-8b-instruct"]
    assert service["entrypoint"] == ["/app/llama-server"]
    assert service["command"][:2] == ["-m", "/models/m.gguf"]
    assert "./models:/models:ro" in service["volumes"]
    assert "claimName: models" in found["kubernetes.yaml"]
    assert found["compose.yaml"].startswith("# m.gguf belongs into ./models.\n")


def test_a_gguf_file_is_found_in_the_container_wherever_it_is_here() -> None:
    """Only the folder of models is mounted; one file that vLLM reads is mounted as a file."""
    name, llama = "/data/my files/m.gguf", model(LLAMA_8B)
    figures = llama_cpp_figures(llama, H100, Deployment(), LlamaCppOptions(), name=name)
    found = files(figures, name, Deployment(), H100, WEIGHTS)
    service = documents(found["compose.yaml"])[0]["services"]["m-gguf"]
    assert service["command"][:2] == ["-m", "/models/m.gguf"]
    options = VllmOptions(max_model_len=8192)
    by_vllm = vllm_figures(llama, H100, Deployment(), options, name=name)
    text = files(by_vllm, name, Deployment(), H100, WEIGHTS)["kubernetes.yaml"]
    (volume,) = (v for v in volumes_of(text) if "hostPath" in v)
    assert volume["hostPath"] == {"path": name, "type": "File"}


def volumes_of(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = documents(text)[0]["spec"]["template"]["spec"]["volumes"]
    return found


def test_llm_d_says_the_parallelism() -> None:
    """Fields of LLMInferenceService as KServe documents them."""
    deployment = Deployment(tensor_parallel_size=2, pipeline_parallel_size=2)
    document = documents(written("vllm", deployment)["llm-d.yaml"])[0]
    assert (document["apiVersion"], document["kind"]) == (
        "serving.kserve.io/v1alpha1", "LLMInferenceService",
    )  # fmt: skip
    spec = document["spec"]
    assert set(spec) == {"model", "replicas", "parallelism", "router", "template"}
    assert spec["model"] == {"uri": f"hf://{NAME}", "name": NAME}
    assert spec["parallelism"] == {"tensor": 2, "pipeline": 2}
    assert set(spec["router"]) == {"gateway", "route", "scheduler"}
    args = spec["template"]["containers"][0]["args"]
    assert args[:4] == ["serve", "/mnt/models", "--served-model-name", NAME]
    assert "--max-model-len" in args


def test_kserve_runs_the_command() -> None:
    document = documents(written("sglang", Deployment())["kserve.yaml"])[0]
    assert document["apiVersion"] == "serving.kserve.io/v1beta1"
    container = document["spec"]["predictor"]["containers"][0]
    assert container["command"] + container["args"][:4] == [
        "python", "-m", "sglang.launch_server", "--model-path", NAME,
    ]  # fmt: skip


def test_ray_serve_gets_flags_as_arguments() -> None:
    document = documents(written("vllm", Deployment(tensor_parallel_size=2))["ray-serve.yaml"])[0]
    application = document["applications"][0]
    assert application["import_path"] == "ray.serve.llm:build_openai_app"
    config = application["args"]["llm_configs"][0]
    assert config["model_loading_config"] == {
        "model_id": "llama-3-1-8b-instruct", "model_source": NAME,
    }  # fmt: skip
    assert config["accelerator_type"] == "H100"
    assert config["engine_kwargs"] == {"tensor_parallel_size": 2, "max_model_len": 32768}
    words = ("--gpu-memory-utilization", "0.9", "--enforce-eager", "--no-enable-prefix-caching",
             "--speculative-config", '{"method":"ngram","num_speculative_tokens":3}')  # fmt: skip
    assert engine_kwargs(words) == {
        "gpu_memory_utilization": 0.9,
        "enforce_eager": True,
        "enable_prefix_caching": False,
        "speculative_config": {"method": "ngram", "num_speculative_tokens": 3},
    }


def test_ray_serve_has_a_builder_for_data_parallel_attention() -> None:
    text = written("vllm", Deployment(data_parallel_size=2))["ray-serve.yaml"]
    assert text.startswith("# Planned for vLLM 0.28.0.")
    application = documents(text)[0]["applications"][0]
    assert application["import_path"] == "ray.serve.llm:build_dp_openai_app"
    assert application["args"]["llm_config"]["engine_kwargs"]["data_parallel_size"] == 2


@pytest.mark.parametrize(
    ("engine", "version", "leader", "worker"),
    [
        ("vllm", "0.28.0", "--master-addr", "--headless"),
        ("vllm", "0.11.0", "ray start --head --port=6379 && vllm serve", "--block"),
        ("sglang", "", "--dist-init-addr", "--node-rank"),
    ],
)
def test_two_nodes(engine: str, version: str, leader: str, worker: str) -> None:
    deployment = Deployment(tensor_parallel_size=8, pipeline_parallel_size=2)
    more = {"version": version} if version else {}
    found = written(engine, deployment, **more)
    assert "compose.yaml" not in found
    assert "kubernetes.yaml" not in found
    document, service = documents(found["leader-worker-set.yaml"])
    assert document["apiVersion"] == "leaderworkerset.x-k8s.io/v1"
    group = document["spec"]["leaderWorkerTemplate"]
    assert group["size"] == 2
    head = group["leaderTemplate"]["spec"]["containers"][0]
    other = group["workerTemplate"]["spec"]["containers"][0]
    assert leader in " ".join(head["args"])
    assert worker in " ".join(other["args"])
    assert head["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert "readinessProbe" not in other
    assert service["spec"]["selector"] == group["leaderTemplate"]["metadata"]["labels"]
    if engine == "vllm":
        assert "sh ray-cluster.sh HEAD_ADDRESS" in found["ray-cluster.sh"]


def test_what_cannot_be_deployed_says_why() -> None:
    llama, single = model(LLAMA_8B), Deployment()
    library = transformers_figures(llama, H100, single, TransformersOptions())
    with pytest.raises(PlanRefused, match="no server"):
        files(library, NAME, single, H100, WEIGHTS)
    small = sglang_figures(llama, H100, single, SglangOptions(mem_fraction_static=0.1))
    with pytest.raises(PlanRefused, match="would not start"):
        files(small, NAME, single, H100, WEIGHTS)
    wide = Deployment(tensor_parallel_size=16)
    with pytest.raises(PlanRefused, match="proof of concept"):
        service_of(
            llama_cpp_figures(llama, H100, wide, LlamaCppOptions()), NAME, wide, H100, WEIGHTS
        )


def test_tensorrt_llm_spans_nodes_under_slurm() -> None:
    found = written("tensorrt-llm", Deployment(tensor_parallel_size=16))
    assert set(found) == {"slurm.sh", "config.yaml"}
    *head, job = found["slurm.sh"].splitlines()
    assert {"#SBATCH --nodes=2", "#SBATCH --ntasks-per-node=8", "#SBATCH --gres=gpu:8"} <= set(head)
    assert f"trtllm-llmapi-launch trtllm-serve {NAME}" in job
    assert "--tp_size 16" in job
    assert '--container-mounts="$PWD:/config"' in job
    assert "--container-image=nvcr.io#nvidia/tensorrt-llm/release:1.2.0" in job
    assert "slurm.sh" not in written("tensorrt-llm", Deployment(tensor_parallel_size=8))


@pytest.mark.parametrize(
    ("weights_bytes", "minutes"),
    [(WEIGHTS, 18), (141_107_412_992, 34), (688_586_727_753, 107)],
)
def test_a_start_may_take_as_long_as_its_weights_need(weights_bytes: int, minutes: int) -> None:
    """16.06 GB, Llama 70B's 141.1 and DeepSeek-V3's 688.6 of files at 125 MB/s, and 15 minutes."""
    deployment = Deployment(tensor_parallel_size=8)
    options = VllmOptions(max_model_len=8192)
    figures = vllm_figures(model(LLAMA_8B), H100, deployment, options, name=NAME)
    found = files(figures, NAME, deployment, H100, weights_bytes)
    container = documents(found["kubernetes.yaml"])[0]["spec"]["template"]["spec"]["containers"][0]
    probe = container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 60 * minutes
    assert f"# A start may take {minutes} minutes: " in found["kubernetes.yaml"]
    (service,) = documents(found["compose.yaml"])[0]["services"].values()
    assert service["healthcheck"]["start_period"] == f"{minutes}m"


def test_amd_s_cards_get_their_own_image_and_resource() -> None:
    """docs/deployment/k8s.md of vLLM has amd.com/gpu; ROCm's documentation the devices."""
    card, deployment = load_gpu("mi300x"), Deployment(tensor_parallel_size=2)
    options = VllmOptions(version="0.28.0", max_model_len=8192)
    figures = vllm_figures(model(LLAMA_8B), card, deployment, options, name=NAME)
    found = files(figures, NAME, deployment, card, WEIGHTS)
    assert "nvidia" not in "".join(found.values())
    container = documents(found["kubernetes.yaml"])[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "vllm/vllm-openai-rocm:v0.28.0"
    assert container["resources"]["limits"] == {"amd.com/gpu": "2"}
    (service,) = documents(found["compose.yaml"])[0]["services"].values()
    assert service["devices"] == ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"]
    assert read_by_compose(found["compose.yaml"]) == ["llama-3-1-8b-instruct"]
    first = VllmOptions(version="0.14.0", max_model_len=8192)
    figures = vllm_figures(model(LLAMA_8B), card, deployment, first, name=NAME)
    assert (
        "vllm-openai-rocm:v0.14.0"
        in files(figures, NAME, deployment, card, WEIGHTS)["compose.yaml"]
    )
    sglang = sglang_figures(model(LLAMA_8B), card, deployment, SglangOptions(), name=NAME)
    with pytest.raises(PlanRefused, match=r"no image of SGLang .* for .*MI300X is known"):
        files(sglang, NAME, deployment, card, WEIGHTS)


def test_a_custom_card_is_told_what_its_files_need() -> None:
    """Its memory on the listed card that it is like gives them."""
    llama, mine = model(LLAMA_8B), custom_gpu(80 * GIB)
    for gpu in (mine, gpu_with_memory(H100, mine.memory_bytes)):
        figures = vllm_figures(llama, gpu, Deployment(), VllmOptions(version="0.28.0"), name=NAME)
        if gpu is mine:
            with pytest.raises(PlanRefused, match="choose the listed card that it is most like"):
                files(figures, NAME, Deployment(), gpu, WEIGHTS)
        else:
            found = files(figures, NAME, Deployment(), gpu, WEIGHTS)
            assert "vllm/vllm-openai:v0.28.0" in found["kubernetes.yaml"]


def test_a_slice_is_asked_for_by_its_profile() -> None:
    """Names of NVIDIA's device plugin with its mixed strategy."""
    card = load_gpu("h100-sxm5-80gb-mig-3g.40gb")
    options = VllmOptions(max_model_len=8192)
    figures = vllm_figures(model(LLAMA_8B), card, Deployment(), options, name=NAME)
    found = files(figures, NAME, Deployment(), card, WEIGHTS)
    container = documents(found["kubernetes.yaml"])[0]["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/mig-3g.40gb": "1"}
    assert "count" not in found["compose.yaml"]
    assert read_by_compose(found["compose.yaml"]) == ["llama-3-1-8b-instruct"]


def test_names_suit_kubernetes() -> None:
    assert dns_name("Qwen/Qwen3-30B-A3B_FP8.v2") == "qwen3-30b-a3b-fp8-v2"
    assert dns_name("1bit/7b") == "m-7b"
    assert len(dns_name("x" * 90)) == 63


def test_text_survives_the_trip_through_yaml() -> None:
    data = {
        "plain": "text", "yes": "no", "number": "8", "colon": "a: b", "empty": {}, "none": None,
        "list": [{"a": 1, "b": ["x", "- y", "#"]}, [], ["é", "${X:-}"]], "on": True, "f": 0.5,
        "lines": "a\nb\n", "quote": 'say "hi"', "1": ["~", "null", "0x1F", "1e3", "2026-01-01"],
    }  # fmt: skip
    assert yaml.safe_load(yaml_text(data)) == data
    assert documents(yaml_text(data, {"b": 1})) == [data, {"b": 1}]


def test_a_folder_is_mounted_and_a_placeholder_is_named() -> None:
    llama = model(LLAMA_8B)
    options = VllmOptions(
        max_model_len=8192,
        speculative_config=SpeculativeConfig(
            method="draft_model", model="/path/to/draft", num_speculative_tokens=3
        ),
    )
    figures = vllm_figures(llama, H100, Deployment(), options, draft=llama, name="/data/mine")
    found = files(figures, "/data/mine", Deployment(), H100, WEIGHTS)
    compose, kubernetes = found["compose.yaml"], found["kubernetes.yaml"]
    for text in (compose, kubernetes):
        assert text.startswith(
            "# Replace /path/to/draft: no name was given for it.\n"
            "# /data/mine must be there on every node.\n"
        )
    service = documents(compose)[0]["services"]["mine"]
    assert service["volumes"][1:] == [bound("/data/mine"), bound("/path/to/draft")]
    assert read_by_compose(compose) == ["mine"]
    pod = documents(kubernetes)[0]["spec"]["template"]["spec"]
    mounted = {m["mountPath"]: m["name"] for m in pod["containers"][0]["volumeMounts"]}
    paths = {v["name"]: v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}
    assert {path: paths[name] for path, name in mounted.items() if name in paths} == {
        "/data/mine": "/data/mine",
        "/path/to/draft": "/path/to/draft",
    }
    assert "llm-d.yaml" not in found


def bound(source: str, target: str = "") -> dict[str, Any]:
    """The long form of Compose's volumes, which splits nothing at ':'."""
    return {"type": "bind", "source": source, "target": target or source, "read_only": True}


def of_paths(name: str, draft: str, **sizes: int) -> dict[str, str]:
    options = VllmOptions(
        max_model_len=8192,
        speculative_config=SpeculativeConfig(
            method="draft_model", model=draft, num_speculative_tokens=3
        ),
    )
    llama, deployment = model(LLAMA_8B), Deployment(**sizes)
    figures = vllm_figures(llama, H100, deployment, options, draft=llama, name=name)
    return files(figures, name, deployment, H100, WEIGHTS)


def test_paths_from_here_are_read_in_the_folder_of_models() -> None:
    """They mean nothing in a container, whose own folder is the image's; a Hub id has one slash."""
    found = of_paths("./mine", "../drafts/small", pipeline_parallel_size=1)
    said = "# mine and drafts/small belong into "
    for name, where in (("compose.yaml", "./models"), ("kubernetes.yaml", "the claim 'models'")):
        assert found[name].startswith(f"{said}{where}.")
        assert "hf-cache is its own" not in found[name]
    (service,) = documents(found["compose.yaml"])[0]["services"].values()
    command = service["command"]
    assert command[:2] == ["serve", "/models/mine"]
    assert '"model": "/models/drafts/small"' in command[command.index("--speculative-config") + 1]
    assert service["volumes"][1:] == ["./models:/models:ro"]
    mounts = {m["mountPath"] for m in container_of(found["kubernetes.yaml"])["volumeMounts"]}
    assert "/models" in mounts
    assert not {"llm-d.yaml", "ray-serve.yaml"} & set(found)
    of_hub = of_paths("a/b", "c/d")["compose.yaml"]
    assert "/models" not in of_hub
    assert documents(of_hub)[0]["services"]["b"]["volumes"] == ["hf-cache:/root/.cache/huggingface"]


def container_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = documents(text)[0]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_a_colon_and_a_dollar_in_a_path_are_no_syntax() -> None:
    """Compose's short form splits at ':' and takes $NAME for a variable; a mountPath "must not
    contain ':'" (Kubernetes' API)."""
    found = of_paths("/data/q:4/$best", "c/d")
    (service,) = documents(found["compose.yaml"])[0]["services"].values()
    assert service["command"][:2] == ["serve", "/data/q-4/$$best"]
    assert service["volumes"][1:] == [bound("/data/q:4/$$best", "/data/q-4/$$best")]
    assert read_by_compose(found["compose.yaml"]) == ["best"]
    container = container_of(found["kubernetes.yaml"])
    assert container["args"][:2] == ["serve", "/data/q-4/$best"]
    assert "/data/q-4/$best" in {m["mountPath"] for m in container["volumeMounts"]}
    (volume,) = (v for v in volumes_of(found["kubernetes.yaml"]) if "hostPath" in v)
    assert volume["hostPath"]["path"] == "/data/q:4/$best"


def test_a_slurm_job_mounts_a_folder() -> None:
    """Pyxis: --container-mounts=SRC:DST,..."""
    deployment = Deployment(tensor_parallel_size=16)
    llama, trt = model(LLAMA_8B), TensorrtLlmOptions(free_gpu_memory_fraction=0.45)
    figures = tensorrt_llm_figures(llama, H100, deployment, trt, name="/data/mine")
    job = files(figures, "/data/mine", deployment, H100, WEIGHTS)["slurm.sh"]
    assert '--container-mounts="/data/mine:/data/mine" ' in job


@pytest.mark.parametrize(
    ("gpu", "nodes"), [("h100-sxm5-80gb", 1), ("gb200-186gb", 2), ("gb300-288gb", 2)]
)
def test_a_node_has_as_many_gpus_as_its_machine(gpu: str, nodes: int) -> None:
    """NVIDIA's trays of GB200 and GB300 have four each, joined by NVLink over nodes."""
    card, deployment = load_gpu(gpu), Deployment(tensor_parallel_size=8)
    options = VllmOptions(max_model_len=8192)
    figures = vllm_figures(model(LLAMA_8B), card, deployment, options, name=NAME)
    found = files(figures, NAME, deployment, card, WEIGHTS)
    assert ("compose.yaml" in found) is (nodes == 1)
    assert ("leader-worker-set.yaml" in found) is (nodes == 2)
    if nodes == 2:
        text = found["leader-worker-set.yaml"]
        group = documents(text)[0]["spec"]["leaderWorkerTemplate"]
        head = group["leaderTemplate"]["spec"]["containers"][0]
        assert head["resources"]["limits"] == {"nvidia.com/gpu": "4"}
        assert "needs a ComputeDomain" in text
    service = service_of(figures, NAME, deployment, card, WEIGHTS, gpus_per_node=8)
    assert service.nodes == 1


def test_a_jetson_has_the_image_that_nvidia_runs_there() -> None:
    """vLLM's own from 0.20, under JetPack 7.2; docker run --runtime nvidia (jetson-llm-serve)."""
    card, llama, deployment = load_gpu("jetson-agx-orin-64gb"), model(LLAMA_8B), Deployment()
    for version, name in (("0.33.0", "vllm/vllm-openai:v0.33.0"), ("0.19.1", None)):
        options = VllmOptions(version=version, max_model_len=8192)
        figures = vllm_figures(llama, card, deployment, options, name=NAME)
        if name is None:
            with pytest.raises(PlanRefused, match="nvidia-ai-iot/vllm:latest-jetson-orin"):
                files(figures, NAME, deployment, card, WEIGHTS)
            continue
        text = files(figures, NAME, deployment, card, WEIGHTS)["compose.yaml"]
        assert text.startswith("# A Jetson Orin needs JetPack 7.2")
        (service,) = documents(text)[0]["services"].values()
        assert (service["image"], service["runtime"]) == (name, "nvidia")
        assert "deploy" not in service
        assert read_by_compose(text) == ["llama-3-1-8b-instruct"]
    local = llama_cpp_figures(llama, card, deployment, LlamaCppOptions(), name="m.gguf")
    with pytest.raises(PlanRefused, match="nvidia-ai-iot/llama_cpp"):
        files(local, "m.gguf", deployment, card, WEIGHTS)
    by_sglang = sglang_figures(llama, card, deployment, SglangOptions(), name=NAME)
    with pytest.raises(PlanRefused, match="jetson-containers"):
        files(by_sglang, NAME, deployment, card, WEIGHTS)


def test_a_v100_has_llama_cpps_image() -> None:
    """server-cuda is built by CUDA 12.8 (cuda.Dockerfile), with PTX for 7.0 (ggml-cuda's CMake)."""
    card, llama, deployment = load_gpu("v100-sxm2-32gb"), model(LLAMA_8B), Deployment()
    figures = llama_cpp_figures(llama, card, deployment, LlamaCppOptions(), name="m.gguf")
    text = files(figures, "m.gguf", deployment, card, WEIGHTS)["compose.yaml"]
    assert "ghcr.io/ggml-org/llama.cpp:server-cuda" in text


def test_a_repository_needs_no_remark() -> None:
    text = written("vllm", Deployment())["compose.yaml"]
    assert text.startswith("name: ")
    assert "/path/to" not in text
