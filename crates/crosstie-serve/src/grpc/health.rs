//! gRPC's own health service, by the state of the server.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_server};

use crate::state::State;

/// How often the state is looked at for those who watch.
const LOOK: Duration = Duration::from_millis(500);

/// Tells whether the server is ready, and whether a model is: their names pass for
/// services, as does that of the inference service.
pub(super) struct Health(pub Arc<State>);

impl Health {
    fn status(&self, service: &str) -> ServingStatus {
        let serves = match service {
            "" | "inference.GRPCInferenceService" => self.0.is_ready(),
            model => match self.0.repository.catalogue().models.get(model) {
                Some(found) => self.0.is_ready() && found.newest().is_some(),
                None => return ServingStatus::ServiceUnknown,
            },
        };
        if serves { ServingStatus::Serving } else { ServingStatus::NotServing }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.status(&service) {
            ServingStatus::ServiceUnknown => {
                Err(Status::not_found(format!("neither a service nor a model: `{service}`")))
            }
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    /// Ends with the server, so that nobody who watches keeps it open.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let watched = Health(Arc::clone(&self.0));
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            let mut told = None;
            loop {
                let (ending, status) = (watched.0.is_draining(), watched.status(&service));
                if told != Some(status) {
                    told = Some(status);
                    if sender.send(Ok(HealthCheckResponse { status: status.into() })).await.is_err() {
                        return;
                    }
                }
                if ending {
                    return;
                }
                tokio::select! {
                    () = sender.closed() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
