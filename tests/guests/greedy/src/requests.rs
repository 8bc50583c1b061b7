//! Too much of `http`, and places inside. Granted: one server on this machine (its address is
//! the payload), beneath `/ok/` of its second address, and the address of metadata; 20 requests,
//! 64 KiB a body, 4 KiB of headers, 200 ms.

use bulkhead_guest::prelude::*;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
};

use crate::told;

const REQUESTS: usize = 20;
const BODY_BYTES: usize = 64 << 10;

/// One request, its answer's head.
fn ask(
    method: &Method,
    place: &str,
    path: &str,
    headers: Fields,
    body: &[u8],
) -> Result<IncomingResponse, String> {
    let request = OutgoingRequest::new(headers);
    let made = request.set_method(method).is_ok()
        && request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some(place)).is_ok()
        && request.set_path_with_query(Some(path)).is_ok();
    if !made {
        return Err("not made".to_owned());
    }
    let outgoing = (!body.is_empty()).then(|| request.body());
    let shown = |code: ErrorCode| format!("{code:?}");
    let future = outgoing_handler::handle(request, None).map_err(shown)?;
    if let Some(Ok(outgoing)) = outgoing {
        if let Ok(stream) = outgoing.write() {
            let _ = stream.blocking_write_and_flush(body);
        }
        let _ = OutgoingBody::finish(outgoing, None);
    }
    future.subscribe().block();
    match future.get() {
        Some(Ok(Ok(response))) => Ok(response),
        Some(Ok(Err(code))) => Err(shown(code)),
        _ => Err("no answer".to_owned()),
    }
}

fn get(place: &str, path: &str) -> Result<IncomingResponse, String> {
    ask(&Method::Get, place, path, Fields::new(), &[])
}

/// All of an answer's body that comes, and whether it ended well.
fn read(response: &IncomingResponse) -> (usize, bool) {
    let Ok(body) = response.consume() else { return (0, false) };
    let Ok(stream) = body.stream() else { return (0, false) };
    let mut bytes = 0;
    loop {
        match stream.blocking_read(16 << 10) {
            Ok(chunk) => bytes += chunk.len(),
            Err(wasip2::io::streams::StreamError::Closed) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

/// Asks more often than it may.
#[handler]
pub(crate) fn http_many(place: String) -> String {
    let answered = (0..REQUESTS + 10).filter(|_| get(&place, "/ok").is_ok()).count();
    told((answered > REQUESTS).then(|| format!("{answered} answers")))
}

/// Waits for a server that drips its head, one that never answers, and one that drips its body.
#[handler]
pub(crate) fn http_slow(place: String) -> String {
    let mut found = Vec::new();
    for path in ["/drip-head", "/silent"] {
        found.extend(get(&place, path).is_ok().then(|| path.to_owned()));
    }
    told(found)
}

/// Reads a body that never ends.
#[handler]
pub(crate) fn http_endless(place: String) -> String {
    let Ok(response) = get(&place, "/endless") else { return "no answer".to_owned() };
    let (bytes, well) = read(&response);
    told((bytes > BODY_BYTES || well).then(|| format!("{bytes} bytes")))
}

/// Reads heads that are too large: one long header, and thousands of short ones.
#[handler]
pub(crate) fn http_giant_head(place: String) -> String {
    let mut found = Vec::new();
    for path in ["/long-header", "/many-headers", "/endless-head"] {
        found.extend(get(&place, path).is_ok().then(|| path.to_owned()));
    }
    told(found)
}

/// Reads answers of a server that contradicts itself; none may make it read what is not there.
#[handler]
pub(crate) fn http_contradiction(place: String) -> String {
    let mut found = Vec::new();
    for path in ["/two-lengths", "/bad-chunks", "/garbage", "/negative"] {
        if let Ok(response) = get(&place, path) {
            let (bytes, well) = read(&response);
            found.extend((bytes > 5 && well).then(|| format!("{path}: {bytes} bytes")));
        }
    }
    told(found)
}

/// Follows a redirect to the metadata of a cloud, which its rules allow and its grant does not.
#[handler]
pub(crate) fn http_redirect(place: String) -> String {
    let Ok(response) = get(&place, "/redirect") else { return "no answer".to_owned() };
    let location = response.headers().get("location").into_iter().next().unwrap_or_default();
    let location = String::from_utf8_lossy(&location).into_owned();
    let rest = location.trim_start_matches("http://");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match get(authority, path) {
        Err(why) if why.contains("DestinationIpProhibited") => "nothing".to_owned(),
        Err(why) => why,
        Ok(_) => "the metadata".to_owned(),
    }
}

/// Writes addresses of this machine in every form but the one that is granted.
#[handler]
pub(crate) fn http_forms(place: String) -> String {
    let port = place.rsplit(':').next().unwrap_or_default();
    let hosts = [
        "localhost",
        "127.1",
        "127.0.1",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "2130706433",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "127.0.0.1.",
        "127.0.0.2",
        "user@127.0.0.1",
        "127.0.0.1%00.example",
        "[fe80::1%25lo]",
    ];
    // Fewer than there may be requests, so that none is refused for another reason.
    let reached = hosts.into_iter().filter(|host| get(&format!("{host}:{port}"), "/ok").is_ok());
    told(reached.map(str::to_owned))
}

/// Puts lines of its own into a head.
#[handler]
pub(crate) fn http_injection(place: String) -> String {
    let mut found = Vec::new();
    let fields = Fields::new();
    for (name, value) in [
        ("x\r\ny", "z"),
        ("x: y\r\nz", "z"),
        ("x", "y\r\nz: a"),
        ("x", "y\nz: a"),
        ("x", "y\0z"),
        ("", "y"),
        ("x y", "z"),
        ("host", "inside.example"),
        ("Connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("proxy-authorization", "x"),
        ("te", "trailers"),
    ] {
        if fields.append(name, value.as_bytes()).is_ok() {
            found.push(format!("{name:?}: {value:?}"));
        }
    }
    for path in ["/ok HTTP/1.1\r\nx: y\r\n\r\nGET /ok", "/ok\r\nx: y", "/ok\0", "/o k", "ok"] {
        found.extend(get(&place, path).is_ok().then(|| format!("{path:?}")));
    }
    let places = [format!("{place}\r\nx: y"), format!("{place}/ok"), format!("a@{place}")];
    found.extend(
        places.iter().filter(|place| get(place, "/ok").is_ok()).map(|it| format!("{it:?}")),
    );
    let method = Method::Other("GET /ok HTTP/1.1\r\nx: y\r\n\r\nGET".to_owned());
    found.extend(
        ask(&method, &place, "/ok", Fields::new(), &[]).is_ok().then(|| "a method".to_owned()),
    );
    told(found)
}

/// Sends bodies whose length is another than it says, with a second request in them.
#[handler]
pub(crate) fn http_smuggling(place: String) -> String {
    let smuggled = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut found = Vec::new();
    for lengths in
        [&["5", "40"][..], &["5"], &["0"], &["5, 40"], &["+5"], &["99999999999999999999"]]
    {
        let fields = Fields::new();
        let taken =
            lengths.iter().all(|length| fields.append("content-length", length.as_bytes()).is_ok());
        let answered = taken && ask(&Method::Post, &place, "/posted", fields, smuggled).is_ok();
        // One plain length may be less than what is there, if no more than that is sent.
        let plain = matches!(lengths, ["5"] | ["0"]);
        found.extend((answered && !plain).then(|| format!("{lengths:?}")));
    }
    let heard = get(&place, "/heard").map(|response| response.status());
    found.extend((heard != Ok(204)).then(|| "a smuggled request".to_owned()));
    told(found)
}

/// Leaves the path that its rule allows, in every spelling.
#[handler]
pub(crate) fn http_paths(place: String) -> String {
    let paths = [
        "/beside",
        "/ok/../beside",
        "/ok/%2e%2e/beside",
        "/ok/..%2fbeside",
        "/ok/..%5cbeside",
        "/ok/%252e%252e/beside",
        "/ok/..;/beside",
        "/ok\\..\\beside",
        "/okay",
        "//ok/../beside",
        "/ok/.%2e/beside",
        "/ok/%2e./beside",
    ];
    let place = place.replace("127.0.0.1", "127.0.0.2");
    told(paths.into_iter().filter(|path| get(&place, path).is_ok()).map(str::to_owned))
}
