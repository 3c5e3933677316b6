"""Scores golden rows with tritonclient, and asks all else that it can ask.

Usage: triton.py CASE.json, where CASE names the server's addresses, and for every model
its version, the golden rows as inputs and the scores that the library gives.
"""

import json
import sys
import threading

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from google.protobuf import descriptor_pb2
from tritonclient.grpc import model_config_pb2, service_pb2
from tritonclient.utils import InferenceServerException

TYPES = {"FP64": np.float64, "INT64": np.int64, "BYTES": np.object_}
THREADS = 32
checks = 0


def check(holds, what):
    global checks
    assert holds, what
    checks += 1


def arrays(inputs):
    """The inputs with what is missing as NaN or empty text; a column of whole numbers of
    which some are missing is one of numbers."""
    for given in inputs:
        data, datatype = given["data"], given["datatype"]
        if datatype == "INT64" and None in data:
            datatype = "FP64"
        missing = "" if datatype == "BYTES" else float("nan")
        data = [missing if value is None else value for value in data]
        if datatype == "BYTES":
            data = [value.encode() for value in data]
        yield given["name"], datatype, np.array(data, dtype=TYPES[datatype]).reshape(given["shape"])


def http_inputs(model, binary):
    for name, datatype, array in arrays(model["inputs"]):
        tensor = http.InferInput(name, array.shape, datatype)
        # JSON has no NaN.
        whole = datatype != "FP64" or not np.isnan(array).any()
        tensor.set_data_from_numpy(array, binary_data=binary or not whole)
        yield tensor


def grpc_inputs(model):
    for name, datatype, array in arrays(model["inputs"]):
        tensor = grpc.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array)
        yield tensor


def check_scores(result, model, what):
    for name, scores in model["outputs"].items():
        scores = np.array(scores, dtype=np.float64)
        found = result.as_numpy(name)
        check(found is not None and found.shape == scores.shape, f"{what}: {name} is {found}")
        check(np.allclose(found, scores, rtol=0, atol=1e-6, equal_nan=True), f"{what}: {name}")


def fails(call, *words):
    try:
        call()
    except InferenceServerException as error:
        for word in words:
            check(word in str(error), f"{error}: {word}")
        return
    raise AssertionError(f"no error with {words}")


def over_http(case):
    client = http.InferenceServerClient(case["http"], concurrency=4)
    check(client.is_server_live() and client.is_server_ready(), "server")
    check(client.get_server_metadata()["name"] == "crosstie", "server metadata")
    for name, model in case["models"].items():
        check(client.is_model_ready(name) and client.is_model_ready(name, model["version"]), name)
        check(not client.is_model_ready(name, "99"), "a version that is not there")
        metadata = client.get_model_metadata(name)
        check({output["name"] for output in metadata["outputs"]} == set(model["outputs"]), metadata)
        check(client.get_model_config(name)["name"] == name, "config")
        outputs = {
            "all": None,
            "binary": [http.InferRequestedOutput(output) for output in model["outputs"]],
            "json": [http.InferRequestedOutput(output, binary_data=False) for output in model["outputs"]],
        }
        for binary in (True, False):
            for packed in (None, "gzip", "deflate"):
                for kind, wanted in outputs.items():
                    result = client.infer(
                        name,
                        list(http_inputs(model, binary)),
                        outputs=wanted,
                        request_id="seven",
                        request_compression_algorithm=packed,
                        response_compression_algorithm=packed,
                        timeout=60_000_000,
                    )
                    check_scores(result, model, f"http, binary {binary}, packed {packed}, outputs {kind}")
                    answer = result.get_response()
                    check(answer["model_version"] == model["version"] and answer["id"] == "seven", answer)
        pending = [client.async_infer(name, list(http_inputs(model, True))) for _ in range(8)]
        for request in pending:
            check_scores(request.get_result(), model, "http, async")
        statistics = client.get_inference_statistics(name)["model_stats"][0]
        check(statistics["inference_stats"]["success"]["count"] >= 26, statistics)
    first = next(iter(case["models"]))
    inputs = list(http_inputs(case["models"][first], True))
    fails(lambda: client.infer("nobody", inputs), "there is no model `nobody`")
    fails(lambda: client.infer(first, inputs[:-1]), inputs[-1].name())
    fails(lambda: client.infer(first, inputs, timeout=1), "time was over")
    fails(lambda: client.get_trace_settings(), "no tracing")
    check({model["name"] for model in client.get_model_repository_index()} == set(case["models"]), "index")
    client.unload_model(first)
    check(not client.is_model_ready(first), "unloaded")
    client.load_model(first)
    check(client.is_model_ready(first), "loaded")
    fails(lambda: client.load_model("nobody"), "nobody")
    client.close()


def over_grpc(case):
    client = grpc.InferenceServerClient(case["grpc"])
    check(client.is_server_live() and client.is_server_ready(), "server")
    check(client.get_server_metadata().name == "crosstie", "server metadata")
    for name, model in case["models"].items():
        check(client.is_model_ready(name) and client.is_model_ready(name, model["version"]), name)
        check(not client.is_model_ready(name, "99"), "a version that is not there")
        metadata = client.get_model_metadata(name)
        check({output.name for output in metadata.outputs} == set(model["outputs"]), metadata)
        config = client.get_model_config(name).config
        check(config.name == name and len(config.input) == len(model["inputs"]), config)
        wanted = [grpc.InferRequestedOutput(output) for output in model["outputs"]]
        inputs = list(grpc_inputs(model))
        for packed in (None, "gzip", "deflate"):
            for outputs in (None, wanted):
                result = client.infer(
                    name,
                    inputs,
                    outputs=outputs,
                    request_id="seven",
                    compression_algorithm=packed,
                    client_timeout=60,
                    timeout=60_000_000,
                )
                check_scores(result, model, f"grpc, packed {packed}")
                answer = result.get_response()
                check(answer.model_version == model["version"] and answer.id == "seven", answer)
        answers = []
        done = threading.Semaphore(0)

        def keep(result, error):
            answers.append((result, error))
            done.release()

        for _ in range(8):
            client.async_infer(name, inputs, callback=keep)
        client.start_stream(callback=keep)
        for _ in range(8):
            client.async_stream_infer(name, inputs, request_id="stream")
        for _ in range(16):
            check(done.acquire(timeout=60), "an answer")
        client.stop_stream()
        for result, error in answers:
            check(error is None, error)
            check_scores(result, model, "grpc, async or stream")
        statistics = client.get_inference_statistics(name).model_stats[0]
        check(statistics.inference_stats.success.count >= 22, statistics)
    first = next(iter(case["models"]))
    inputs = list(grpc_inputs(case["models"][first]))
    fails(lambda: client.infer("nobody", inputs), "NOT_FOUND", "there is no model `nobody`")
    fails(lambda: client.infer(first, inputs[:-1]), "INVALID_ARGUMENT", inputs[-1].name())
    fails(lambda: client.infer(first, inputs, timeout=1), "DEADLINE_EXCEEDED")
    fails(lambda: client.get_trace_settings(), "UNIMPLEMENTED", "TraceSetting")
    check({model.name for model in client.get_model_repository_index().models} == set(case["models"]), "index")
    client.unload_model(first)
    check(not client.is_model_ready(first), "unloaded")
    client.load_model(first)
    check(client.is_model_ready(first), "loaded")
    fails(lambda: client.load_model("nobody"), "nobody")
    client.close()


def in_threads(case):
    """One client per thread, models in turns: every answer is its own model's."""
    wrong = []

    def work(index):
        try:
            module = (http, grpc)[index % 2]
            client = module.InferenceServerClient(case[("http", "grpc")[index % 2]])
            for turn in range(4):
                name = list(case["models"])[(index // 2 + turn) % len(case["models"])]
                model = case["models"][name]
                inputs = list(http_inputs(model, turn % 2 == 0) if module is http else grpc_inputs(model))
                # The server refuses what it cannot answer at once: a client tries again.
                while True:
                    try:
                        result = client.infer(name, inputs)
                        break
                    except InferenceServerException as error:
                        assert "busy" in str(error), error
                check_scores(result, model, f"thread {index}")
            client.close()
        except BaseException as error:  # noqa: BLE001
            wrong.append(f"thread {index}: {error!r}")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, wrong)


def same_on_the_wire(case):
    """Every field of our messages has the number, the type and the label that it has in theirs."""
    with open(case["descriptors"], "rb") as file:
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    theirs = {}
    for module in (service_pb2, model_config_pb2):
        described = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(described)
        theirs.update({message.name: message for message in described.message_type})
        theirs.update({enum.name: enum for enum in described.enum_type})
        theirs.update({service.name: service for service in described.service})

    def compare(mine, other):
        fields = {field.name: field for field in other.field}
        for field in mine.field:
            same = fields[field.name]
            shape = lambda field: (field.number, field.type, field.label, field.type_name, field.HasField("oneof_index"))
            check(shape(field) == shape(same), f"{mine.name}.{field.name}")
        nested = {message.name: message for message in other.nested_type}
        for message in mine.nested_type:
            compare(message, nested[message.name])

    for message in ours.file[0].message_type:
        compare(message, theirs[message.name])
    for enum in ours.file[0].enum_type:
        values = {value.name: value.number for value in theirs[enum.name].value}
        check({value.name: value.number for value in enum.value} == values, enum.name)
    for service in ours.file[0].service:
        methods = {method.name: method for method in theirs[service.name].method}
        for method in service.method:
            other = methods[method.name]
            shape = lambda method: (
                method.input_type,
                method.output_type,
                method.client_streaming,
                method.server_streaming,
            )
            check(shape(method) == shape(other), method.name)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        case = json.load(file)
    same_on_the_wire(case)
    over_http(case)
    over_grpc(case)
    in_threads(case)
    print(f"{checks} checks hold")


main()
