//! A host's answers by HTTP: on an address, on a socket of its own, beside the embedded broker.

use std::sync::Arc;

use anyhow::{Context, Result};
use bulkhead::HostOptions;
use bulkhead::config::Config;
use bulkhead::gatehouse::Gatehouse;
use bulkhead::queue::Broker;
use bulkhead_api::auth::Guard;
use bulkhead_api::v1::Api;
use bulkhead_api::{Listener, Local, Router, Socket, Tls, service};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What answers, until it is closed.
pub(super) struct Answers {
    stop: watch::Sender<()>,
    answering: Vec<JoinHandle<()>>,
}

/// What a host is asked about by HTTP besides its broker.
pub(super) struct Known {
    pub(super) local: Arc<dyn Local>,
    /// How it runs, and so how it judges plugins.
    pub(super) options: HostOptions,
}

/// The routes of a host with this configuration.
pub(super) fn routes(config: &Config, broker: Arc<dyn Broker>, known: &Known) -> Router {
    let settings = &config.api;
    let gatehouse = Gatehouse::new(broker.clone(), known.options.clone());
    let api =
        Api::new(broker.clone(), config.submit, settings.options).keeping(Arc::new(gatehouse));
    service(api, Guard::new(broker, settings.guard.clone()), known.local.clone(), &settings.cors)
}

impl Answers {
    /// Answer where the configuration says so.
    pub(super) async fn start(
        config: &Config,
        broker: &Arc<dyn Broker>,
        known: &Known,
    ) -> Result<Self> {
        let settings = &config.api;
        let (stop, stopped) = watch::channel(());
        let mut answers = Self { stop, answering: Vec::new() };
        let router = routes(config, broker.clone(), known);
        let until = |mut stopped: watch::Receiver<()>| async move {
            // Whoever closes drops the sender.
            while stopped.changed().await.is_ok() {}
        };
        if let Some(path) = &settings.socket {
            let socket = Socket::bind_at(path).context("cannot answer on `api.socket`")?;
            tracing::info!(socket = %path.display(), "the API answers");
            let (router, until) = (router.clone(), until(stopped.clone()));
            answers.answering.push(tokio::spawn(async move {
                if let Err(error) = socket.serve(router, until).await {
                    tracing::error!(%error, "the API no longer answers");
                }
            }));
        }
        if let Some(address) = settings.listen {
            let tls = settings.tls.clone().map(Tls::load).transpose()?;
            let scheme = if tls.is_some() { "https" } else { "http" };
            let listener = Listener::bind(address, tls, settings.connections)
                .await
                .context("cannot answer on `api.listen`")?;
            if scheme == "http" && !address.ip().is_loopback() {
                tracing::warn!(
                    "the API answers without TLS where others can listen in: tokens go over the \
                     network as they are; set `api.tls`, or put a proxy with TLS before it"
                );
            }
            tracing::info!(address = %format!("{scheme}://{}", listener.address()), "the API answers");
            answers.answering.push(tokio::spawn(listener.serve(router, until(stopped))));
        }
        Ok(answers)
    }

    /// Stop answering; what is being answered may end.
    pub(super) async fn close(self) {
        drop(self.stop);
        for answering in self.answering {
            let _ = answering.await;
        }
    }
}
