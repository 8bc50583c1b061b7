//! The API in an application on actix-web: a scope that hands each request to the axum router and
//! gives its answer back, both as they come, so that nothing is implemented twice.
//!
//! A body is read on only as fast as the router reads it, and an answer is made only as fast as it
//! is fetched. Bounds are the router's own.

use actix_web::error::ErrorBadRequest;
use actix_web::http::StatusCode;
use actix_web::web::{self, Payload};
use actix_web::{Error, HttpRequest, HttpResponse, Scope};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::OriginalUri;
use axum::http::{HeaderName, HeaderValue, Method, Request, Uri};
use futures::{StreamExt, stream};
use tokio::sync::mpsc;
use tower::ServiceExt;

use crate::auth::Peer;

/// Everything of a router below a path, as [`crate::router`] or [`crate::v1::router`] makes it.
///
/// Each request carries the address that it comes from, for the guard.
pub fn scope(path: &str, router: Router) -> Scope {
    let answer = move |request: HttpRequest, payload: Payload| {
        let router = router.clone();
        async move { answer(router, &request, payload).await }
    };
    web::scope(path).default_service(web::route().to(answer))
}

async fn answer(
    router: Router,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    let asked = asked(request, payload)?;
    let Ok(answer) = router.oneshot(asked).await;
    let (parts, body) = answer.into_parts();
    let status = StatusCode::from_u16(parts.status.as_u16());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &parts.headers {
        // Lengths are told by who sends them.
        if name != axum::http::header::CONTENT_LENGTH {
            response.append_header((name.as_str(), value.as_bytes()));
        }
    }
    Ok(response.streaming(body.into_data_stream()))
}

/// The request as the router knows it.
fn asked(request: &HttpRequest, payload: Payload) -> Result<Request<Body>, Error> {
    let whole: Uri = request.uri().to_string().parse().map_err(ErrorBadRequest)?;
    let path = match request.match_info().unprocessed() {
        "" => "/",
        path => path,
    };
    let uri: Uri = match whole.query() {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    }
    .map_err(ErrorBadRequest)?;
    let method =
        Method::from_bytes(request.method().as_str().as_bytes()).map_err(ErrorBadRequest)?;
    let mut asked = Request::new(body(payload));
    *asked.method_mut() = method;
    *asked.uri_mut() = uri;
    for (name, value) in request.headers() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(ErrorBadRequest)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(ErrorBadRequest)?;
        asked.headers_mut().append(name, value);
    }
    asked.extensions_mut().insert(OriginalUri(whole));
    if let Some(from) = request.peer_addr() {
        asked.extensions_mut().insert(Peer::Address(from));
    }
    Ok(asked)
}

/// The body of a request. A payload stays on its thread; its pieces may go.
fn body(mut payload: Payload) -> Body {
    let (sender, receiver) = mpsc::channel::<Result<Bytes, String>>(1);
    actix_web::rt::spawn(async move {
        while let Some(piece) = payload.next().await {
            if sender.send(piece.map_err(|error| error.to_string())).await.is_err() {
                return;
            }
        }
    });
    let next = |mut receiver: mpsc::Receiver<_>| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    };
    Body::from_stream(stream::unfold(receiver, next))
}
