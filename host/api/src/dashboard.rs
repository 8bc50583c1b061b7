//! The dashboard: files that a browser shows, and nothing that a host knows.
//!
//! They are part of the binary and hold no data; what they show they ask the API for, with the
//! token of whoever sits before them. Their policy lets no script run but theirs.

use axum::Router;
use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

/// What a page may load and do: nothing from anywhere else, nothing inline, and
/// no text ever read as script or as HTML.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file: its path below the dashboard, its media type, its bytes.
type File = (&'static str, &'static str, &'static [u8]);

macro_rules! files {
    ($($path:literal: $kind:expr;)*) => {
        &[$(($path, $kind, include_bytes!(concat!("../dashboard/", $path)))),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const FILES: &[File] = files! {
    "index.html": HTML;
    "icon.svg": "image/svg+xml";
    "app.css": CSS;
    "parts.css": CSS;
    "app.js": SCRIPT;
    "api.js": SCRIPT;
    "chart.js": SCRIPT;
    "dialogs.js": SCRIPT;
    "dom.js": SCRIPT;
    "format.js": SCRIPT;
    "frame.js": SCRIPT;
    "keys.js": SCRIPT;
    "metrics.js": SCRIPT;
    "msgpack.js": SCRIPT;
    "rows.js": SCRIPT;
    "viewer.js": SCRIPT;
    "pages/canary.js": SCRIPT;
    "pages/dead.js": SCRIPT;
    "pages/hosts.js": SCRIPT;
    "pages/journal.js": SCRIPT;
    "pages/overview.js": SCRIPT;
    "pages/plugins.js": SCRIPT;
    "pages/queues.js": SCRIPT;
    "pages/schedules.js": SCRIPT;
    "pages/task.js": SCRIPT;
    "pages/tasks.js": SCRIPT;
    "pages/tenants.js": SCRIPT;
};

/// `/dashboard/` and its files; `/` leads there.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new().route("/", get(begin)).route("/dashboard", get(begin));
    for file in FILES {
        let path = if file.0 == "index.html" { "" } else { file.0 };
        let tag = tag(file.2);
        router = router.route(
            &format!("/dashboard/{path}"),
            get(async move |request: Request| answer(*file, &tag, &request)),
        );
    }
    router
}

/// Lead to the dashboard, wherever it is nested.
async fn begin(request: Request) -> Redirect {
    let whole = request.extensions().get::<OriginalUri>().map_or("", |uri| uri.path());
    let place = whole.strip_suffix(request.uri().path()).unwrap_or(whole);
    Redirect::temporary(&format!("{}/dashboard/", place.trim_end_matches('/')))
}

fn tag(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    let hex: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

fn answer((_, kind, bytes): File, tag: &str, request: &Request) -> Response {
    let known = request.headers().get(header::IF_NONE_MATCH);
    let mut response = if known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        bytes.into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/dashboard");
        let mut found = Vec::new();
        for folder in [folder.to_owned(), format!("{folder}/pages")] {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    found.push(path);
                }
            }
        }
        assert_eq!(found.len(), FILES.len());
        for path in found {
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
            assert!(FILES.iter().any(|(served, ..)| *served == name), "{name} is not served");
        }
    }

    #[test]
    fn no_file_asks_for_what_the_policy_forbids() {
        for (name, _, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
            {
                assert!(!text.contains(word), "{name} has {word}");
            }
            for word in [" style=\"", " onclick=\"", "https://", "<style"] {
                assert!(!text.contains(word), "{name} has {word}");
            }
        }
    }
}
