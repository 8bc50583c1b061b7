//! Who may upload plugins, how many at once and for how long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::Request;
use bulkhead_api::auth::Scope;
use bulkhead_api::document::{CanaryDocument, InspectionDocument, KeptPlugin, PluginVersion};
use bulkhead_api::v1::ApiOptions;
use bulkhead_api::{
    CanaryAsk, PluginActivated, PluginPushed, PluginRef, PluginUpload, Plugins, Problem,
};
use bulkhead_core::Digest;
use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use super::{Answer, Talk, soon};

/// Takes all that is uploaded and keeps none of it.
struct Sink;

fn nothing<T>() -> Result<T, Problem> {
    Err(Problem::not_found("nothing is kept"))
}

#[async_trait]
impl Plugins for Sink {
    fn max_bytes(&self) -> u64 {
        1 << 20
    }

    fn max_text_bytes(&self) -> u64 {
        1 << 10
    }

    fn gates_take(&self) -> Duration {
        Duration::from_secs(3_600)
    }

    async fn kept(&self) -> Result<Vec<KeptPlugin>, Problem> {
        Ok(Vec::new())
    }

    async fn meant(&self, _: &PluginRef, _: &str) -> Result<PluginVersion, Problem> {
        nothing()
    }

    async fn inspect(&self, _: &PluginRef, _: &str) -> Result<InspectionDocument, Problem> {
        nothing()
    }

    async fn push(
        &self,
        _: &PluginRef,
        upload: PluginUpload,
        actor: &str,
    ) -> Result<PluginPushed, Problem> {
        let version = PluginVersion {
            digest: Digest::of(&upload.component),
            version: None,
            size_bytes: upload.component.len() as u64,
            has_manifest: upload.manifest.is_some(),
            is_signed: upload.signature.is_some(),
            pushed_at: 0,
            pushed_by: actor.to_owned(),
        };
        Ok(PluginPushed { version, was_known: false, forgotten: Vec::new() })
    }

    async fn activate(&self, _: &PluginRef, _: &str, _: &str) -> Result<PluginActivated, Problem> {
        nothing()
    }

    async fn roll_back(&self, _: &PluginRef, _: &str) -> Result<PluginActivated, Problem> {
        nothing()
    }

    async fn begin_canary(
        &self,
        _: &PluginRef,
        _: &str,
        _: CanaryAsk,
        _: &str,
    ) -> Result<CanaryDocument, Problem> {
        nothing()
    }

    async fn end_canary(&self, _: &PluginRef, _: bool, _: &str) -> Result<CanaryDocument, Problem> {
        nothing()
    }

    async fn remove(&self, _: &PluginRef, _: &str) -> Result<usize, Problem> {
        nothing()
    }
}

const WHOLE: &str =
    "--b\r\ncontent-disposition: form-data; name=\"component\"\r\n\r\nx\r\n--b--\r\n";

fn talk(options: ApiOptions) -> Talk {
    Talk::over(options, |api| api.keeping(Arc::new(Sink)))
}

fn of(talk: &Talk, tenant: &str) -> Talk {
    talk.by(&[Scope::Operate], Some(tenant))
}

async fn upload(talk: &Talk, manner: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(format!("/v1/plugins/resize/versions{manner}"))
        .header("content-type", "multipart/form-data; boundary=b");
    talk.send(request.body(body.into()).unwrap()).await
}

/// An upload of which only the beginning comes. It tells each time that more of it is asked for.
fn slow() -> (Body, mpsc::UnboundedReceiver<()>) {
    let (tell, asked) = mpsc::unbounded_channel();
    // Of two pieces, because one is read ahead.
    let pieces = [&WHOLE[..8], &WHOLE[8..16]].map(|piece| Bytes::from_static(piece.as_bytes()));
    let begin = stream::iter(pieces.map(Ok::<_, std::io::Error>));
    let rest = stream::poll_fn(move |_| {
        let _ = tell.send(());
        std::task::Poll::Pending
    });
    (Body::from_stream(begin.chain(rest)), asked)
}

#[tokio::test]
async fn a_tenant_has_one_place_and_leaves_the_others_to_others() {
    let talk = talk(ApiOptions::default());
    let (acme, globex) = (of(&talk, "acme"), of(&talk, "globex"));
    let (body, mut asked) = slow();
    let slow = {
        let acme = of(&talk, "acme");
        tokio::spawn(async move { upload(&acme, "", body).await.status })
    };
    soon(asked.recv()).await.unwrap();
    let second = upload(&acme, "", WHOLE).await.problem(429);
    assert!(second.contains("the tenant `acme`"), "{second}");
    upload(&globex, "", WHOLE).await.with(201);
    upload(&talk, "", WHOLE).await.with(201);
    slow.abort();
    assert!(slow.await.unwrap_err().is_cancelled());
    upload(&acme, "", WHOLE).await.with(201);
}

#[tokio::test]
async fn an_upload_has_the_time_of_a_request_and_not_that_of_the_gates() {
    let timeout = Duration::from_millis(50);
    let talk = talk(ApiOptions { timeout, ..ApiOptions::default() });
    let acme = of(&talk, "acme");
    let late = soon(upload(&acme, "", slow().0)).await.problem(408);
    assert!(late.contains("api.timeout"), "{late}");
    upload(&acme, "", WHOLE).await.with(201);
}

#[tokio::test]
async fn a_tenants_token_leaves_out_no_gate() {
    let talk = talk(ApiOptions::default());
    let refused = upload(&of(&talk, "acme"), "?unchecked=true", WHOLE).await.problem(403);
    assert!(refused.contains("goes through the gates"), "{refused}");
    upload(&talk, "?unchecked=true", WHOLE).await.with(201);
    let theirs = upload(&talk, "?unchecked=true&tenant=acme", WHOLE).await.with(201);
    assert_eq!(theirs["plugin"], "acme/resize");
}
