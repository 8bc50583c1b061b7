//! An application of its own that has Bulkhead's API, and its dashboard, below `/jobs`.
//!
//! `cargo run -p bulkhead-api --example mounted` listens on any port of this machine, and prints
//! where, and a token. The broker is in memory; an application names its own.

#![allow(clippy::print_stdout, reason = "it tells where it listens")]

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::routing::get;
use bulkhead_api::auth::{Guard, GuardOptions, NewToken, Peer, Scope, Tokens};
use bulkhead_api::v1::{Api, ApiOptions};
use bulkhead_queue::{Broker, EmbeddedBroker, SubmitLimits};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::in_memory());
    let api = Api::new(broker.clone(), SubmitLimits::default(), ApiOptions::default());
    let guard = Guard::new(broker.clone(), GuardOptions::default());

    let app: Router = Router::new()
        .route("/", get(async || "an application of its own\n"))
        .nest("/jobs", bulkhead_api::router(api, guard))
        // The guard knows callers from the same machine by their address.
        .layer(from_fn(async |mut request: Request, next: Next| {
            let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|from| from.0);
            from.map(|from| request.extensions_mut().insert(Peer::Address(from)));
            next.run(request).await
        }));

    let new =
        NewToken { name: "example".into(), scopes: vec![Scope::Admin], tenant: None, ttl_ms: None };
    let now_ms = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
    let (_, token) = Tokens::new(broker).create(new, "the example", now_ms).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}\n{}", listener.local_addr()?, token.as_str());
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}
