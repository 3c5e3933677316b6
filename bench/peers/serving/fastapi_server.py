"""ONNX Runtime behind a plain FastAPI server: what most people write first. It reads the JSON requests of the Open
Inference Protocol and answers in kind.

    python3 bench/peers/serving/fastapi_server.py DIRECTORY PORT
"""
import sys

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from exported import Exported

model = Exported(sys.argv[1])
app = FastAPI()


@app.get("/v2/health/ready")
async def ready():
    return {}


@app.post("/v2/models/ranker/infer")
async def infer(request: Request):
    asked = orjson.loads(await request.body())
    scores, compute_ms = model.score({tensor["name"]: tensor["data"] for tensor in asked["inputs"]})
    outputs = [
        {"name": name, "datatype": "FP32", "shape": [len(values)], "data": values} for name, values in scores.items()
    ]
    answer = {"model_name": "ranker", "parameters": {"compute_ms": compute_ms}, "outputs": outputs}
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", access_log=False)
