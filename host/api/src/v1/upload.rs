//! A component that is uploaded: a form of several parts, read part by part within bounds.
//!
//! So many uploads are in memory at one time, one of each tenant, and each has to be here within the
//! time of any request; whoever comes beyond that is asked to come again.
//! Who is refused is heard out within bounds, because a client that still sends when the connection
//! ends never reads why.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::StatusCode;
use bulkhead_core::TenantName;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use utoipa::ToSchema;

use super::Api;
use crate::plugins::{PluginUpload, Plugins};
use crate::problem::{Kind, Problem};

/// Uploads that are in memory at one time.
const UPLOADS: usize = 2;
/// Bytes of a form beside those of its parts.
const FRAME_BYTES: u64 = 16 << 10;

/// How long who is refused is heard out.
const HEARD_OUT: Duration = Duration::from_secs(20);

/// The places of uploads.
pub(super) struct Uploads {
    places: Arc<Semaphore>,
    /// Those who have one.
    tenants: Mutex<HashSet<TenantName>>,
}

/// A place among the uploads that are in memory, until it is dropped.
pub(super) struct Place {
    uploads: Arc<Uploads>,
    tenant: Option<TenantName>,
    _permit: OwnedSemaphorePermit,
}

impl Uploads {
    pub(super) fn new() -> Arc<Self> {
        let places = Arc::new(Semaphore::new(UPLOADS));
        Arc::new(Self { places, tenants: Mutex::default() })
    }

    /// A place for somebody of this tenant, or of none.
    fn place(self: &Arc<Self>, tenant: Option<&TenantName>) -> Result<Place, Problem> {
        let busy = |of: String| Problem::busy(format!("{of} here already; come again"), 5);
        let mut tenants = self.tenants.lock();
        if let Some(tenant) = tenant.filter(|tenant| tenants.contains(*tenant)) {
            return Err(busy(format!("a plugin of the tenant `{tenant}` is uploaded")));
        }
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| busy(format!("{UPLOADS} plugins are uploaded")))?;
        tenants.extend(tenant.cloned());
        Ok(Place { uploads: self.clone(), tenant: tenant.cloned(), _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(tenant) = &self.tenant {
            self.uploads.tenants.lock().remove(tenant);
        }
    }
}

/// A component, and what goes with it.
#[derive(ToSchema)]
#[schema(as = PluginForm)]
#[expect(dead_code, reason = "it only describes the form in the OpenAPI document")]
pub(super) struct Form {
    /// The `.wasm` file.
    #[schema(value_type = String, format = Binary, content_media_type = "application/wasm")]
    component: Vec<u8>,
    /// The text of its manifest, as `NAME.toml` has it beside a file.
    #[schema(nullable = false)]
    manifest: Option<String>,
    /// The text of its signature, as `NAME.wasm.sig` has it.
    #[schema(nullable = false)]
    signature: Option<String>,
}

/// A form that has not been read yet: who may not send one is refused before it is.
pub(super) struct Upload(Request);

impl FromRequest<Api> for Upload {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let most = api.plugins.as_ref().map_or(0, |plugins| all_bytes(plugins.as_ref()));
        Ok(Self(request.map(|body| heard_out(body, most))))
    }
}

/// Bytes that a form may have.
fn all_bytes(plugins: &dyn Plugins) -> u64 {
    let texts = 2 * plugins.max_text_bytes();
    plugins.max_bytes().saturating_add(texts).saturating_add(FRAME_BYTES)
}

/// The same body. What is left of it when nobody reads it any more is read and forgotten, so many
/// bytes and for so long.
fn heard_out(body: Body, most: u64) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        let rest = async {
            let mut left = most;
            while let (1.., Some(Ok(piece))) = (left, pieces.next().await) {
                left = left.saturating_sub(piece.len() as u64);
            }
        };
        let _ = tokio::time::timeout(HEARD_OUT, rest).await;
    });
    let next = |mut receiver: mpsc::Receiver<_>| async {
        receiver.recv().await.map(|piece| (piece, receiver))
    };
    Body::from_stream(stream::unfold(receiver, next))
}

impl Upload {
    /// Read it, into a place among the uploads that are in memory, within the time of any request.
    pub(super) async fn read(
        self,
        api: &Api,
        plugins: &dyn Plugins,
        tenant: Option<&TenantName>,
        unchecked: bool,
    ) -> Result<(PluginUpload, Place), Problem> {
        let place = api.uploads.place(tenant)?;
        let timeout = api.options.timeout;
        match tokio::time::timeout(timeout, self.form(plugins, unchecked)).await {
            Ok(upload) => Ok((upload?, place)),
            Err(_) => {
                let seconds = timeout.as_secs_f64();
                let detail = format!(
                    "the upload took over {seconds} seconds and was given up; raise `api.timeout`, \
                     or use `bulkhead plugin push`"
                );
                Err(Problem::new(Kind::TimedOut, detail))
            }
        }
    }

    async fn form(self, plugins: &dyn Plugins, unchecked: bool) -> Result<PluginUpload, Problem> {
        let (most, text_most) = (plugins.max_bytes(), plugins.max_text_bytes());
        let all = all_bytes(plugins);
        let mut request = self.0;
        DefaultBodyLimit::max(usize::try_from(all).unwrap_or(usize::MAX)).apply(&mut request);
        let mut form = Multipart::from_request(request, &()).await.map_err(|error| {
            let detail = format!("send multipart/form-data: {}", error.body_text());
            Problem::new(Kind::UnsupportedMediaType, detail)
        })?;
        let (mut component, mut manifest, mut signature) = (None, None, None);
        let broken = |error: axum::extract::multipart::MultipartError| {
            let kind = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => Kind::TooLarge,
                _ => Kind::Malformed,
            };
            Problem::new(kind, format!("the form cannot be read: {}", error.body_text()))
        };
        while let Some(mut part) = form.next_field().await.map_err(broken)? {
            let name = part.name().unwrap_or_default().to_owned();
            let (slot, most) = match name.as_str() {
                "component" => (&mut component, most),
                "manifest" => (&mut manifest, text_most),
                "signature" => (&mut signature, text_most),
                _ => {
                    return Err(Problem::malformed(format!(
                        "the form has a part `{}`; there are component, manifest and signature",
                        name.escape_debug()
                    )));
                }
            };
            if slot.is_some() {
                return Err(Problem::malformed(format!("the form has the part `{name}` twice")));
            }
            let mut bytes = Vec::new();
            while let Some(piece) = part.chunk().await.map_err(broken)? {
                if (bytes.len() + piece.len()) as u64 > most {
                    let detail =
                        format!("the {name} has more than {most} bytes, the most there may be");
                    return Err(Problem::new(Kind::TooLarge, detail));
                }
                bytes.extend_from_slice(&piece);
            }
            *slot = Some(bytes);
        }
        let Some(component) = component else {
            return Err(Problem::malformed("the form has no part `component`, the .wasm file"));
        };
        let (manifest, signature) = (text("manifest", manifest)?, text("signature", signature)?);
        Ok(PluginUpload { component, manifest, signature, unchecked })
    }
}

fn text(name: &str, bytes: Option<Vec<u8>>) -> Result<Option<String>, Problem> {
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|error| Problem::malformed(format!("the {name} is no text: {error}")))
}
