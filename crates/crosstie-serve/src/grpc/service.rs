//! The inference service.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tonic::codegen::BoxStream;
use tonic::codegen::tokio_stream::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::generated::grpc_inference_service_server::GrpcInferenceService;
use super::generated::model_metadata_response::TensorMetadata;
use super::generated::repository_index_response::ModelIndex;
use super::generated::{
    InferStatistics, ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelInferRequest, ModelInferResponse,
    ModelInput, ModelMetadataRequest, ModelMetadataResponse, ModelOutput, ModelReadyRequest, ModelReadyResponse,
    ModelRepositoryParameter, ModelStatistics, ModelStatisticsRequest, ModelStatisticsResponse,
    ModelStreamInferResponse, ModelTransactionPolicy, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse, StatisticDuration,
};
use super::{Heard, convert, unread, wanted_within};
use crate::failure::Failure;
use crate::http::{EXTENSIONS, PLATFORM};
use crate::observe::Protocol;
use crate::repository::{State as Condition, Version};
use crate::stages::Stage;
use crate::state::{State, Target};
use crate::statistics::Tally;
use crate::tensor::{self, Datatype};

/// Answers by the server's state.
pub(super) struct Inference(pub Arc<State>);

/// Answers one message. `timeout` is what the call's head says.
async fn infer(
    state: &State,
    mut message: ModelInferRequest,
    timeout: Option<Duration>,
) -> Result<ModelInferResponse, Failure> {
    let version = std::mem::take(&mut message.model_version);
    let target = Target {
        protocol: Protocol::Grpc,
        model: std::mem::take(&mut message.model_name),
        version: Some(version).filter(|version| !version.is_empty()),
        timeout,
    };
    let candidates = state.settings.limits.candidates;
    let (_, done) = state
        .answer(&target, move |turn| {
            let id = std::mem::take(&mut message.id);
            let request = turn.stage(Stage::Decode, |_| convert::request_of(message))?;
            let answer = tensor::infer(turn, request, candidates)?;
            Ok(turn.stage(Stage::Encode, |turn| convert::answer_of(answer, turn.version(), id)))
        })
        .await?;
    Ok(done.value)
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Result<Response<ServerLiveResponse>, Status> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Result<Response<ServerReadyResponse>, Status> {
        Ok(Response::new(ServerReadyResponse { ready: self.0.is_ready() }))
    }

    async fn model_ready(&self, asked: Request<ModelReadyRequest>) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = asked.into_inner();
        let ready = self.0.repository.version(&name, Some(&version)).is_ok();
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: "crosstie".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: EXTENSIONS.map(String::from).into(),
        }))
    }

    async fn model_metadata(
        &self,
        asked: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = asked.into_inner();
        let catalogue = self.0.repository.catalogue();
        let found = catalogue.version(&name, Some(&version))?;
        let tensor = |name: &String, datatype: Datatype, shape: &[i64]| TensorMetadata {
            name: name.clone(),
            datatype: datatype.name().into(),
            shape: shape.into(),
        };
        let versions = catalogue.models.get(&name).into_iter().flat_map(|model| model.ready.keys());
        Ok(Response::new(ModelMetadataResponse {
            name,
            versions: versions.map(u64::to_string).collect(),
            platform: PLATFORM.into(),
            inputs: found.inputs().iter().map(|input| tensor(&input.name, input.datatype(), &[-1, 1])).collect(),
            outputs: found.outputs().iter().map(|output| tensor(output, Datatype::Fp64, &[-1])).collect(),
        }))
    }

    async fn model_infer(&self, asked: Request<ModelInferRequest>) -> Result<Response<ModelInferResponse>, Status> {
        if let Some(Heard(heard)) = asked.extensions().get() {
            heard.store(true, Ordering::Relaxed);
        }
        let timeout = wanted_within(asked.metadata().as_ref().get("grpc-timeout"));
        Ok(Response::new(infer(&self.0, asked.into_inner(), timeout).await?))
    }

    type ModelStreamInferStream = BoxStream<ModelStreamInferResponse>;

    async fn model_stream_infer(
        &self,
        asked: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let state = Arc::clone(&self.0);
        let answers = asked.into_inner().then(move |message| {
            let state = Arc::clone(&state);
            async move {
                let refused = |model: &str, failure: &Failure| state.refused(Protocol::Grpc, model, failure);
                let message = message.inspect_err(|status| refused("", &unread(&state, status)))?;
                let id = message.id.clone();
                let answer = match state.enter() {
                    Ok(_permit) => infer(&state, message, None).await,
                    Err(busy) => {
                        refused(&message.model_name, &busy);
                        Err(busy)
                    }
                };
                Ok(match answer {
                    Ok(answer) => ModelStreamInferResponse { infer_response: Some(answer), ..Default::default() },
                    Err(failure) => ModelStreamInferResponse {
                        error_message: failure.to_string(),
                        infer_response: Some(ModelInferResponse { id, ..Default::default() }),
                    },
                })
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(&self, asked: Request<ModelConfigRequest>) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = asked.into_inner();
        let found = self.0.repository.version(&name, Some(&version))?;
        let inputs = found.inputs().iter().map(|input| ModelInput {
            name: input.name.clone(),
            data_type: convert::type_of(input.datatype()).into(),
            dims: vec![1],
            ..Default::default()
        });
        let outputs = found.outputs().iter().map(|output| ModelOutput {
            name: output.clone(),
            data_type: convert::type_of(Datatype::Fp64).into(),
            dims: vec![1],
        });
        let config = ModelConfig {
            name,
            platform: PLATFORM.into(),
            backend: PLATFORM.into(),
            max_batch_size: i32::try_from(self.0.settings.limits.candidates).unwrap_or(i32::MAX),
            input: inputs.collect(),
            output: outputs.collect(),
            model_transaction_policy: Some(ModelTransactionPolicy { decoupled: false }),
        };
        Ok(Response::new(ModelConfigResponse { config: Some(config) }))
    }

    async fn model_statistics(
        &self,
        asked: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = asked.into_inner();
        let catalogue = self.0.repository.catalogue();
        let all = || catalogue.models.values().flat_map(|model| model.ready.values());
        let model_stats = match (name.is_empty(), version.is_empty()) {
            (true, _) => all().map(|version| statistics_of(version)).collect(),
            (false, false) => vec![statistics_of(catalogue.version(&name, Some(&version))?)],
            (false, true) => {
                catalogue.version(&name, None)?;
                all().filter(|version| **version.model() == *name).map(|version| statistics_of(version)).collect()
            }
        };
        Ok(Response::new(ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        asked: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let only_ready = asked.into_inner().ready;
        let entries = self.0.repository.catalogue().index().into_iter();
        let wanted = entries.filter(|entry| !only_ready || entry.state == Condition::Ready);
        let models = wanted.map(|entry| ModelIndex {
            name: entry.model,
            version: entry.version.to_string(),
            state: entry.state.name().into(),
            reason: entry.state.reason().into(),
        });
        Ok(Response::new(RepositoryIndexResponse { models: models.collect() }))
    }

    async fn repository_model_load(
        &self,
        asked: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        let RepositoryModelLoadRequest { model_name, parameters, .. } = asked.into_inner();
        no_parameters(parameters.into_iter().next())?;
        self.0.repository.load(&model_name).await?;
        Ok(Response::new(RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        asked: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        // Clients send `unload_dependents`, of which a model here has none.
        self.0.repository.unload(&asked.into_inner().model_name).await?;
        Ok(Response::new(RepositoryModelUnloadResponse {}))
    }
}

/// What is loaded is what is in the repository.
fn no_parameters(first: Option<(String, ModelRepositoryParameter)>) -> Result<(), Failure> {
    match first {
        Some((name, _)) => {
            Err(Failure::field(name, "a parameter", "none: a model is loaded from the repository, as it lies there"))
        }
        None => Ok(()),
    }
}

fn statistics_of(version: &Version) -> ModelStatistics {
    let counted = version.statistics();
    let duration = |tally: &Tally| Some(StatisticDuration { count: tally.count(), ns: tally.nanoseconds() });
    ModelStatistics {
        name: version.model().to_string(),
        version: version.number().to_string(),
        last_inference: counted.last(),
        inference_count: counted.rows(),
        execution_count: counted.success.count(),
        inference_stats: Some(InferStatistics {
            success: duration(&counted.success),
            fail: duration(&counted.fail),
            queue: duration(&counted.queue),
            compute_input: duration(&counted.decode),
            compute_infer: duration(&counted.compute),
            compute_output: duration(&counted.encode),
        }),
    }
}
