"""ONNX Runtime as a model of mlserver, whose settings `bench/serve.py` writes."""
from exported import Exported
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Ranker(MLModel):
    async def load(self):
        self.exported = Exported(self.settings.parameters.uri)
        return True

    async def predict(self, payload):
        columns = {tensor.name: tensor.data.root for tensor in payload.inputs}
        scores, compute_ms = self.exported.score(columns)
        outputs = [NumpyCodec.encode_output(name, values) for name, values in scores.items()]
        return InferenceResponse(model_name=self.name, parameters={"compute_ms": compute_ms}, outputs=outputs)
