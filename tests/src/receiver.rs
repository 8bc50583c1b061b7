//! A web server inside the test, which keeps what it is sent: webhooks, exported spans.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body, unpacked.
    pub body: Vec<u8>,
}

/// The server. It ends with the test.
pub struct Receiver {
    address: SocketAddr,
    kept: Arc<Kept>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Kept {
    requests: Mutex<Vec<Received>>,
    /// What the next requests are answered; then 200.
    answers: Mutex<VecDeque<u16>>,
}

/// A span as it was exported.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Itself.
    pub id: String,
    /// The span above it; empty if there is none.
    pub parent: String,
    /// The number of its kind in OTLP.
    pub kind: i32,
    /// The code of its status in OTLP.
    pub status: i32,
    /// Its attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// Its events: names and attributes.
    pub events: Vec<(String, BTreeMap<String, String>)>,
    /// When it began and ended, in nanoseconds.
    pub time: (u64, u64),
    /// The name of the service.
    pub service: String,
}

impl Receiver {
    /// Listen on a free port.
    ///
    /// # Panics
    /// If there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::<Kept>::default();
        let keeping = kept.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, keeping.clone()));
            }
        });
        Self { address, kept, accepting }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answer the next requests so, and those after them with 200.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    pub fn answer(&self, statuses: &[u16]) {
        self.kept.answers.lock().expect("a lock").extend(statuses);
    }

    /// What came in so far.
    ///
    /// # Panics
    /// If a test panicked meanwhile.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.kept.requests.lock().expect("a lock").clone()
    }

    /// The spans that came in so far.
    ///
    /// # Panics
    /// If something else came in.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.received() {
            assert_eq!(request.path, "/v1/traces");
            assert_eq!(request.headers["content-type"], "application/x-protobuf");
            let exported = ExportTraceServiceRequest::decode(&*request.body).expect("OTLP");
            for resource in exported.resource_spans {
                let about = resource.resource.map(|resource| resource.attributes);
                let about = texts(about.unwrap_or_default());
                let service = about.get("service.name").cloned().unwrap_or_default();
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    let events = span.events.into_iter();
                    spans.push(Span {
                        name: span.name,
                        trace: hex(&span.trace_id),
                        id: hex(&span.span_id),
                        parent: hex(&span.parent_span_id),
                        kind: span.kind,
                        status: span.status.map_or(0, |status| status.code),
                        attributes: texts(span.attributes),
                        events: events.map(|it| (it.name, texts(it.attributes))).collect(),
                        time: (span.start_time_unix_nano, span.end_time_unix_nano),
                        service: service.clone(),
                    });
                }
            }
        }
        spans
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(is)) => is.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|pair| (pair.key, text(pair.value))).collect()
}

/// Answer the requests of one connection.
async fn serve(stream: TcpStream, kept: Arc<Kept>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = request(&mut stream).await {
        kept.requests.lock().expect("a lock").push(request);
        let status = kept.answers.lock().expect("a lock").pop_front().unwrap_or(200);
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length =
        headers.get("content-length").map_or(0, |length| length.parse().expect("a number"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    if headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip") {
        let mut plain = Vec::new();
        GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        body = plain;
    }
    Some(Received { path, headers, body })
}
